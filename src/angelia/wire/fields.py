"""The fields of a posted message: one schema for all inlets, checked strictly, written as the payload that the store keeps."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError, with_config
from pydantic_core import ErrorDetails, PydanticSerializationError, to_json
from typing_extensions import TypedDict

from angelia.inlet import Draft, fingerprint_of
from angelia.model.errors import InvalidInput, TooLarge

BODY = 65_536
MOST_IN_BATCH = 10_000
LONGEST_EXPIRY = timedelta(days=90)
# Go writes nanoseconds, .NET tenths of microseconds; a fraction may have any number of digits (RFC 3339). We keep microseconds.
_TIME = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$"
_FIT = r"^[^\x00-\x1f\x7f]*$"

Word = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=_FIT)]
Text255 = Annotated[str, StringConstraints(max_length=255)]
Key = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=_FIT)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=_FIT)]
Value = Annotated[str, StringConstraints(max_length=4_096)]
Time = Annotated[str, StringConstraints(pattern=_TIME)]
Type = Annotated[str, StringConstraints(min_length=1, max_length=128, to_lower=True, pattern=r"^[A-Za-z0-9_:-]+(\.[A-Za-z0-9_:-]+)*$")]
Url = Annotated[str, StringConstraints(max_length=2_048, pattern=r"^https?://[^\s\x00-\x1f<>\"\\^`{|}]+$")]
_STRICT = ConfigDict(extra="forbid", strict=True)


@with_config(_STRICT)
class NamedRecipient(TypedDict, total=False):
    """Somebody, and why she gets it."""

    id: Annotated[Word, Field(description="a login, or `group:<name>`")]
    reason: Text255


@with_config(_STRICT)
class SenderFields(TypedDict, total=False):
    """Who says it."""

    id: Text255
    name: Text255


@with_config(_STRICT)
class AttachmentFields(TypedDict):
    """A text that goes with the message as a file, where a medium has files."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$")]
    text: Annotated[str, StringConstraints(min_length=1, max_length=BODY)]


@with_config(_STRICT)
class TagFields(TypedDict):
    """A tag as an object."""

    name: Name
    value: Value


Recipients = Annotated[list[Word | NamedRecipient], Field(max_length=1_000)]
Tags = Annotated[list[tuple[Name, Value] | TagFields], Field(max_length=64)] | Annotated[dict[Name, Value], Field(max_length=64)]


@with_config(_STRICT)
class MessageFields(TypedDict, total=False):
    """A posted message. Only `type` is needed."""

    type: Type
    subject: Text255
    body: Annotated[str, StringConstraints(max_length=BODY)]
    body_format: Literal["text", "markdown", "html"]
    actor: Text255
    object: Text255
    object_url: Url
    thread: Text255
    collapse_key: Text255
    supersedes: Text255
    language: Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$", max_length=35)]
    occurred_at: Time
    sender: SenderFields
    to: Recipients
    cc: Recipients
    severity: Literal["low", "normal", "high", "urgent"]
    tags: Tags
    params: Annotated[dict[Name, Value | Annotated[list[Value], Field(max_length=100)]], Field(max_length=128)]
    expires_at: Time
    not_before: Time
    wish: Literal["now", "digest"]
    test: bool
    restricted: bool
    access: Annotated[list[Word], Field(max_length=1_000)]
    attachment: AttachmentFields
    idempotency_key: Key


_one = TypeAdapter(MessageFields)
_many = TypeAdapter(Annotated[list[MessageFields], Field(min_length=1, max_length=MOST_IN_BATCH)])
_read_one = _one.validator.validate_json  # without what the adapter puts around it
# Every string with what follows it: a key is one with a colon. Possessive, so it runs in linear time on anything.
_COLONS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"\s*+(:?)', re.DOTALL)


def message_schema(references: str = "#/$defs/{model}") -> dict[str, Any]:
    """The JSON schema of a posted message, for the API's description; `references` is how its parts are named."""
    return _one.json_schema(ref_template=references)


def parse_one(body: bytes) -> dict[str, Any]:
    """One message from JSON bytes."""
    fields: dict[str, Any] = _validated(_read_one, body)
    _refuse_doubles(body, _count_keys(fields))
    return fields


def parse_many(body: bytes) -> list[dict[str, Any]]:
    """A batch: 1 to 10,000 messages in a JSON array, all or nothing."""
    batch: list[dict[str, Any]] = _validated(_many.validate_json, body)
    _refuse_doubles(body, sum(map(_count_keys, batch)))
    return batch


def parse_fields(fields: Mapping[str, object]) -> dict[str, Any]:
    """One message from values that another form was read into (XML, form, CloudEvents)."""
    valid: dict[str, Any] = _validated(_one.validate_python, dict(fields))
    return valid


def _count_keys(fields: dict[str, Any]) -> int:
    """How many names stand in all of its objects. None of these holds an object deeper than a list of them."""
    count = len(fields)
    for value in fields.values():
        kind = type(value)  # what was read as JSON has these, and none derived from them
        if kind is dict:
            count += len(value)
        elif kind is list:
            for entry in value:
                if type(entry) is dict:
                    count += len(entry)
    return count


def _refuse_doubles(body: bytes, keys: int) -> None:
    """Two parsers must never read two messages in one text (checklist S17): a name that stands twice in an object is refused.

    `body` is valid JSON in which a reader that lets the last one win found so many names. Each name in the text ends in `":`, with space
    between or without; where there is no space before any colon, and not more `":` than names were found, none stands twice.
    """
    if (tight := body.count(b'":')) == keys and (body.count(b":") == tight or not _has_space_before_colon(body)):
        return
    if _COLONS.findall(body).count(b":") != keys:
        raise InvalidInput("a name stands twice in one object; which one should count?", is_syntax=True)


def _has_space_before_colon(body: bytes) -> bool:
    """One byte is found many times as fast as two, and most texts hold no such space at all."""
    return any(space in body and space + b":" in body for space in (b" ", b"\n", b"\t", b"\r"))


def _validated(validate: Callable[[Any], Any], given: Any) -> Any:
    try:
        valid = validate(given)
    except ValidationError as error:
        raise _explained(error) from None
    except (ValueError, RecursionError):
        raise InvalidInput("this is not JSON that we can read", is_syntax=True) from None
    if not isinstance(given, bytes) or (b"\\" in given and b"\\u0000" in given):
        _refuse_nul(valid, "")
    return valid


def _refuse_nul(value: object, path: str) -> None:
    if isinstance(value, str):
        if "\x00" in value:
            raise InvalidInput("a text must not hold the character NUL", path.strip("."))
    elif isinstance(value, dict):
        for key, inner in value.items():
            _refuse_nul(key, path)
            _refuse_nul(inner, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            _refuse_nul(inner, f"{path}.{index}")


_SHAPES = {"function-wrap", "str", "constrained-str", "NamedRecipient", "list", "tuple", "dict", "TagFields"}


_TIME_LOOKS = "a time looks like 2026-11-22T10:00:00Z"
_LOOKS = {
    "type": "a type is letters, digits, _, : and -, with dots between, at most 128 characters",
    "occurred_at": _TIME_LOOKS,
    "expires_at": _TIME_LOOKS,
    "not_before": _TIME_LOOKS,
    "object_url": "a link begins with https:// or http:// and holds no spaces",
    "language": "a language looks like de or en-GB",
    "attachment.name": "a file is named by letters, digits, ., _ and -, at most 64",
}
"""What a field is like, for those who would have to read a regular expression else."""


def _meant(faults: Sequence[ErrorDetails]) -> ErrorDetails:
    """Of the first field that is wrong, what goes furthest into it: where a value may have several shapes, those that were not meant fail early."""
    at = faults[0]["loc"]
    head = at[: 2 if at and isinstance(at[0], int) else 1]
    return max((fault for fault in faults if fault["loc"][: len(head)] == head), key=lambda fault: len(fault["loc"]))


def _explained(error: ValidationError) -> InvalidInput:
    """The first fault in words, with its field. Never what was sent: it may be a secret."""
    first = _meant(error.errors(include_url=False, include_input=False, include_context=False))
    place = [str(part) for part in first["loc"] if "[" not in str(part) and str(part) not in _SHAPES]
    field = ".".join(place)
    if first["type"] == "json_invalid":
        return InvalidInput(first["msg"].replace("Invalid JSON: ", "this is not JSON: "), "", is_syntax=True)
    if first["type"] == "string_too_long" and place[-1:] == ["body"]:
        return TooLarge(f"a body has at most {BODY} characters; link to what is longer", field)
    if first["type"] == "extra_forbidden":
        return InvalidInput("there is no such field", field)
    if first["type"] == "string_pattern_mismatch":
        looks = _LOOKS.get(".".join(place[-2:])) or _LOOKS.get(place[-1] if place else "")
        return InvalidInput(looks or "control characters have no place here", field)
    return InvalidInput(first["msg"], field)


def draft_of(fields: dict[str, Any], now: Callable[[], datetime], key: str | None = None) -> Draft:
    """The draft of checked fields; `now` is only asked where a time is given.

    `key` is the Idempotency-Key of the request; one in the fields must agree with it.
    """
    own_key = fields.pop("idempotency_key", None)
    if own_key is not None and key is not None and own_key != key:
        raise InvalidInput("the header and the field name different idempotency keys", "idempotency_key")
    key = key or own_key
    if "type" not in fields:
        raise InvalidInput("a message needs a type", "type")
    for kind in ("to", "cc"):
        if kind in fields:
            fields[kind] = [{"id": entry} if isinstance(entry, str) else _with_id(entry, kind) for entry in fields[kind]]
    if "tags" in fields:
        fields["tags"] = _tag_pairs(fields["tags"])
    if not _TIMES.isdisjoint(fields):
        _check_times(fields, now())
    if key is None:
        return Draft(fields["type"], _text(fields))
    payload = _text(fields)
    # What happened makes a message, not the file beside it: a watcher that reads a record again may see more of what stands around it.
    said = _text({name: value for name, value in fields.items() if name != "attachment"}) if "attachment" in fields else payload
    return Draft(fields["type"], payload, key, fingerprint_of(said))


_TIMES = frozenset({"occurred_at", "expires_at", "not_before"})


def _with_id(entry: dict[str, Any], kind: str) -> dict[str, Any]:
    if "id" not in entry:
        raise InvalidInput("a recipient needs an id", kind)
    return entry


def _text(fields: dict[str, Any]) -> str:
    try:
        return to_json(fields).decode()
    except (PydanticSerializationError, UnicodeError):
        raise InvalidInput("a text holds half a character (a lone surrogate)") from None


def _tag_pairs(tags: object) -> list[list[str]]:
    if isinstance(tags, dict):
        return [[name, value] for name, value in tags.items()]
    assert isinstance(tags, list)
    return [[tag["name"], tag["value"]] if isinstance(tag, dict) else list(tag) for tag in tags]


def _check_times(fields: dict[str, Any], now: datetime) -> None:
    moments: dict[str, datetime] = {}
    for name in ("occurred_at", "expires_at", "not_before"):
        if name in fields:
            try:
                moments[name] = datetime.fromisoformat(fields[name]).astimezone(UTC)
            except (ValueError, OverflowError):
                raise InvalidInput("there is no such time; it looks like 2026-11-22T10:00:00Z", name) from None
            if not 1970 <= moments[name].year <= 2200:
                raise InvalidInput("a time lies between 1970 and 2200", name)
            fields[name] = moments[name].isoformat().replace("+00:00", "Z")
    if "expires_at" in moments and moments["expires_at"] > now + LONGEST_EXPIRY:
        raise InvalidInput("a message expires within 90 days", "expires_at")
    if "not_before" in moments and moments["not_before"] > now + LONGEST_EXPIRY:
        raise InvalidInput("a message may wait at most 90 days", "not_before")


def key_of(text: bytes) -> str | None:
    """The value of an Idempotency-Key header, None if there is none."""
    if not text:
        return None
    if len(text) > 255 or any(byte < 0x21 or byte > 0x7E for byte in text):
        raise InvalidInput("an idempotency key is 1 to 255 printable ASCII characters", "idempotency_key", is_syntax=True)
    return text.decode()
