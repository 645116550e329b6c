"""Reported transitions on the wire: the detailed and the simple form, checked strictly, each fault with its field."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Required

from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from angelia.model.errors import InvalidInput, TooLarge
from angelia.model.experiment import EXPERIMENT, STATES, Transition

MOST_IN_BATCH = 1_000
MOST_DATA = 16_384
_LATEST = 7_258_118_400  # 2200, as elsewhere
_WORD = r"[A-Za-z0-9_-]{1,64}"
EVENT_TYPES = ("create", "state", "update", "delete")
_STRICT = ConfigDict(extra="forbid", strict=True)

Word = Annotated[str, StringConstraints(pattern=rf"^{_WORD}$")]
State = Annotated[str, StringConstraints(pattern=rf"^{_WORD}(\.{_WORD})?$")]
Path = Annotated[str, StringConstraints(max_length=255, pattern=r"^/[^\s\x00-\x1f\x7f]*$")]
Name = Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$")]
Seconds = Annotated[int | float, Field(ge=0, lt=_LATEST, description="Unix seconds; now where it is left out")]


@with_config(_STRICT)
class DetailedFields(TypedDict, total=False):
    """A transition in the detailed form. `state` may have a substate behind a dot."""

    timestamp: Seconds
    objectType: Required[Annotated[Word, Field(description="experiment, compute, network, storage, site_link, or what the site has beside")]]
    eventType: Required[Literal["create", "state", "update", "delete"]]
    objectId: Required[Annotated[Path, Field(description="path in the testbed's API: /experiments/1234")]]
    source: Annotated[Word, Field(description="module or site that says so")]
    groupId: Name
    userId: Name
    state: State
    substate: Word
    objectData: dict[str, Any]


@with_config(_STRICT)
class SimpleFields(TypedDict, total=False):
    """A transition in the simple form."""

    timestamp: Seconds
    type: Required[Word]
    status: Required[State]
    path: Required[Path]


_detailed: TypeAdapter[Any] = TypeAdapter(DetailedFields)
_simple: TypeAdapter[Any] = TypeAdapter(SimpleFields)


def transition_schemas(references: str) -> dict[str, dict[str, Any]]:
    """The JSON schemas of both forms, by name; `references` is how parts of them are named."""
    adapters = {"DetailedTransition": _detailed, "SimpleTransition": _simple}
    return {name: adapter.json_schema(ref_template=references) for name, adapter in adapters.items()}


def parse_transitions(body: bytes, now: datetime) -> tuple[list[Transition], bool]:
    """One transition or a batch from JSON bytes, and whether it is a batch."""
    read = _json(body)
    if not isinstance(read, list):
        return [_one(read, now)], False
    if not 1 <= len(read) <= MOST_IN_BATCH:
        raise InvalidInput(f"a batch has 1 to {MOST_IN_BATCH} transitions")
    found = []
    for index, entry in enumerate(read):
        try:
            found.append(_one(entry, now))
        except InvalidInput as error:
            error.field = f"{index}.{error.field}".rstrip(".")
            raise
    return found, True


def _json(body: bytes) -> Any:
    try:
        return json.loads(body.decode(), object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise InvalidInput("this is not JSON that we can read", is_syntax=True) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two parsers must never read two things in one text."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise InvalidInput("a name stands twice in one object; which one should count?", is_syntax=True)
    return made


def _no_number(text: str) -> Any:
    raise ValueError(text)


def _one(entry: Any, now: datetime) -> Transition:
    if not isinstance(entry, dict):
        raise InvalidInput("a transition is an object")
    is_simple = "objectType" not in entry and not {"path", "status"}.isdisjoint(entry)
    return transition_from(_valid(_simple if is_simple else _detailed, entry), now)


def _valid(adapter: TypeAdapter[Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    try:
        valid: dict[str, Any] = adapter.validate_python(entry)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        text = "there is no such field" if first["type"] == "extra_forbidden" else first["msg"]
        raise InvalidInput(text, str(first["loc"][0]) if first["loc"] else "") from None
    return valid


def transition_from(fields: Mapping[str, Any], now: datetime) -> Transition:
    """The transition of checked fields of either form."""
    at = datetime.fromtimestamp(fields["timestamp"], UTC) if "timestamp" in fields else now
    if "path" in fields:
        return _checked(_from_simple(fields, at), "status")
    state, _, substate = fields.get("state", "").partition(".")
    if substate and "substate" in fields:
        raise InvalidInput("the state names a substate already", "substate")
    substate = substate or fields.get("substate", "")
    if substate and not state:
        raise InvalidInput("a substate needs a state", "state")
    data = dict(fields.get("objectData", {}))
    is_experiment = fields["objectType"] == EXPERIMENT
    transition = Transition(
        at=at,
        object_type=fields["objectType"],
        event_type=fields["eventType"],
        path=fields["objectId"],
        source=fields.get("source", ""),
        state=state,
        substate=substate,
        group=fields.get("groupId", ""),
        user=fields.get("userId", ""),
        experiment=fields["objectId"] if is_experiment else _parent(data),
        data=_fitting(data),
    )
    if transition.event_type == "state" and not state:
        raise InvalidInput("an event of type state says which", "state")
    return _checked(transition, "state")


def _from_simple(fields: Mapping[str, Any], at: datetime) -> Transition:
    status = fields["status"]
    is_event = status in EVENT_TYPES
    state, _, substate = ("" if is_event else status).partition(".")
    is_experiment = fields["type"] == EXPERIMENT
    return Transition(
        at=at,
        object_type=fields["type"],
        event_type=status if is_event else "state",
        path=fields["path"],
        state=state,
        substate=substate,
        experiment=fields["path"] if is_experiment else "",
    )


def _parent(data: Mapping[str, Any]) -> str:
    """The experiment that a resource names; what can't be a path is none."""
    path = data.get("experimentId")
    return path if isinstance(path, str) and path.startswith("/") and len(path) <= 255 and path.isprintable() else ""


def _checked(transition: Transition, field: str) -> Transition:
    if transition.event_type == "state" and not transition.state:
        raise InvalidInput("the status of a thing is no kind of event", field)
    if transition.is_of_experiment and transition.state and transition.state not in STATES:
        raise InvalidInput(f"the state of an experiment is one of {', '.join(STATES)}", field)
    return transition


def _fitting(data: dict[str, Any]) -> dict[str, Any]:
    """Data that both databases and every reader of JSON can keep."""
    try:
        text = json.dumps(data, ensure_ascii=False, allow_nan=False)
        size = len(text.encode())
    except (ValueError, RecursionError):
        raise InvalidInput("a text holds half a character (a lone surrogate), or a number is none", "objectData") from None
    if size > MOST_DATA:
        raise TooLarge(f"objectData has at most {MOST_DATA} bytes; link to what is longer", "objectData")
    if "\\u0000" in text:
        raise InvalidInput("a text must not hold the character NUL", "objectData")
    return data
