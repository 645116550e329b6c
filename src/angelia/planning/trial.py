"""One message against invented people: the pure runner behind `angelia try` (a scenario in, an outcome for each person out)."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar, cast
from zoneinfo import ZoneInfo

from angelia.model.errors import InvalidInput
from angelia.model.message import Message, Recipient, RecipientKind, Severity, Wish, checked_type
from angelia.model.moments import to_text
from angelia.model.person import Person
from angelia.model.preference import Site
from angelia.planning.decision import Decision, Profile, Resolution, Standing, Verdict
from angelia.planning.document import parse_site, parse_wants
from angelia.planning.resolve import resolve

T = TypeVar("T")
Table = Mapping[str, Any]
Outcome = dict[str, dict[str, object]]
Outcomes = dict[str, Outcome | None]

_HALF = re.compile("[\ud800-\udfff]")
_SCENARIO_KEYS = frozenset({"site", "users", "message", "relations", "access", "groups"})
_PERSON_KEYS = frozenset({"login", "name", "language", "time_zone", "active", "verified"})
_MESSAGE_KEYS = frozenset(
    {
        *("type", "to", "cc", "actor", "severity", "params", "tags", "object", "restricted", "at"),
        *("source", "subject", "thread", "collapse_key", "wish", "not_before", "test"),
    }
)


def run(scenario: object) -> dict[str, object]:
    """`{login: null | {agent: {"outcome", ...}}, ..., "explain": {login: {...}}}`, people in the order of the scenario.

    A scenario is `{"site", "users", "message", "relations", "access", "groups"}`; what is left out is empty. `groups` says which groups have
    addresses of their own: name -> agents. Raises InvalidInput with the path of what can't be read. No login may be `explain`, the one key
    that is not a person.
    """
    table = _table(scenario, "scenario")
    _only(table, _SCENARIO_KEYS, "scenario")
    site = _at("site", parse_site, _table(table.get("site", {}), "site"))
    message, now = _message(_table(table.get("message"), "message"))
    relations = _table(table.get("relations", {}), "relations")
    roles = {login: _texts(relations, login, f"relations.{login}") for login in relations}
    access = _texts(table, "access", "access")
    groups = _table(table.get("groups", {}), "groups")
    own = {name: _texts(groups, name, f"groups.{name}") for name in groups}
    answer: dict[str, object] = {}
    explained: dict[str, object] = {}
    for index, entry in enumerate(_list(table.get("users", []), "users")):
        profile = _at(f"users.{index}", _profile, _table(entry, f"users.{index}"), site)
        login = profile.person.login
        if login in answer or login == "explain":
            raise InvalidInput(f"the login {login!r} is taken", f"users.{index}.login")
        resolution = resolve(message, profile, Standing(roles.get(login, frozenset()), login in access, own), site, now)
        answer[login] = outcome_of(resolution)
        explained[login] = _explanation(resolution)
    return {**answer, "explain": explained}


def outcome_of(resolution: Resolution | None) -> Outcome | None:
    """What is done for one person, by agent (`mail`, or `mail:address` for one that is not her default); None for no candidate."""
    if resolution is None:
        return None
    return {_target(each): _outcome(each) for each in resolution.decisions if each.verdict is not Verdict.SUPPRESSED}


def differences(expected: Table, got: Table) -> list[str]:
    """One line for each place where two answers differ; times are compared as instants, `explain` is left aside."""
    lines = []
    for login in _keys(expected, got):
        want, have = expected.get(login, "nobody"), got.get(login, "nobody")
        if not isinstance(want, Mapping) or not isinstance(have, Mapping):
            if want != have:
                lines.append(f"{login}: expected {_shown(want)}, got {_shown(have)}")
            continue
        for agent in _keys(want, have):
            if _comparable(want.get(agent)) != _comparable(have.get(agent)):
                lines.append(f"{login} {agent}: expected {_shown(want.get(agent))}, got {_shown(have.get(agent))}")
    return lines


def checked_expectation(value: object) -> Table:
    """What a case expects, in the shape of an answer; InvalidInput with the path of what is not."""
    for login, outcome in _table(value, "expect").items():
        for agent, entry in _table({} if outcome is None else outcome, f"expect.{login}").items():
            due = _table(entry, f"expect.{login}.{agent}").get("due")
            if due is not None:
                _moment(due, f"expect.{login}.{agent}.due")
    return cast("Table", value)


def _keys(one: Table, other: Table) -> Iterable[str]:
    return (key for key in {**one, **other} if key != "explain")


def _comparable(entry: object) -> object:
    if isinstance(entry, Mapping) and "due" in entry:
        return {**entry, "due": _moment(entry["due"], "expect.due")}
    return entry


def _shown(entry: object) -> str:
    match entry:
        case None:
            return "nothing"
        case {"outcome": outcome, **rest}:
            return " ".join([str(outcome), *(f"{name}={value}" for name, value in rest.items())])
        case {}:
            return "a candidate for whom nothing is delivered" if not entry else ", ".join(map(str, entry))
    return str(entry)


def _profile(entry: Table, site: Site) -> Profile:
    login = _text(entry, "login")
    if not login:
        raise InvalidInput("a person needs a login", "login")
    wants = {key: value for key, value in entry.items() if key not in _PERSON_KEYS}
    person = Person(person_id=0, login=login, is_active=_flag(entry, "active", default=True))
    parsed = parse_wants(wants, known_schedules=site.schedules)
    verified = _texts(entry, "verified", "verified")
    return Profile(person, parsed, _zone(entry.get("time_zone", "UTC")), verified, frozenset(parsed.accepts))


def _zone(name: object) -> ZoneInfo:
    try:
        return ZoneInfo(str(name))
    except (ValueError, OSError, KeyError):
        raise InvalidInput("must be an IANA time zone such as Europe/Berlin", "time_zone") from None


def _message(entry: Table) -> tuple[Message, datetime]:
    _only(entry, _MESSAGE_KEYS, "message")
    return _at("message", _parsed, entry)


def _parsed(entry: Table) -> tuple[Message, datetime]:
    at = _moment(entry.get("at"), "at")
    not_before = entry.get("not_before")
    message = Message(
        message_id=0,
        source=_text(entry, "source"),
        type=checked_type(_text(entry, "type")),
        received_at=at,
        occurred_at=at,
        subject=_text(entry, "subject"),
        actor=_text(entry, "actor"),
        recipients=_recipients(entry),
        severity=Severity.NORMAL if entry.get("severity") is None else Severity.named(_text(entry, "severity")),
        tags=tuple(_tag(tag) for tag in _list(entry.get("tags", []), "tags")),
        params={name: _values(value, f"params.{name}") for name, value in _table(entry.get("params", {}), "params").items()},
        object=_text(entry, "object"),
        thread=_text(entry, "thread"),
        collapse_key=_text(entry, "collapse_key"),
        wish=_wish(_text(entry, "wish")),
        not_before=None if not_before is None else _moment(not_before, "not_before"),
        is_test=_flag(entry, "test"),
        is_restricted=_flag(entry, "restricted"),
    )
    return message, at


def _recipients(entry: Table) -> tuple[Recipient, ...]:
    """In the order in which they are named: who is named twice is so for the first."""
    named = ((principal, kind) for kind in RecipientKind for principal in _list(entry.get(kind.value, []), kind.value))
    return tuple(Recipient(_checked(principal, kind.value), kind) for principal, kind in named)


def _tag(tag: object) -> tuple[str, str]:
    if not isinstance(tag, list | tuple) or len(tag) != 2:
        raise InvalidInput("a tag is a pair: name and value", "tags")
    name, value = tag
    return _checked(name, "tags"), _plain(value, "tags")


def _wish(name: str) -> Wish | None:
    if not name:
        return None
    try:
        return Wish(name)
    except ValueError:
        raise InvalidInput(f"must be one of {', '.join(Wish)}", "wish") from None


def _values(value: object, path: str) -> str | tuple[str, ...]:
    return tuple(_plain(item, path) for item in value) if isinstance(value, list | tuple) else _plain(value, path)


def _plain(value: object, path: str) -> str:
    """Texts as they are; a number or a truth value as it is written in JSON."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else _checked(value, path)


def _target(decision: Decision) -> str:
    return f"{decision.agent}:{decision.address}" if decision.address else decision.agent


def _outcome(decision: Decision) -> dict[str, object]:
    outcome: dict[str, object] = {"outcome": decision.verdict.value}
    if decision.verdict is Verdict.SKIPPED:
        outcome["reason"] = decision.reason.value
    if decision.verdict is Verdict.DIGEST:
        outcome["schedule"] = decision.schedule
    if decision.due_at is not None:
        outcome["due"] = to_text(decision.due_at)
    if decision.is_locked:
        outcome["locked"] = True
    return outcome


def _explanation(resolution: Resolution | None) -> dict[str, object]:
    if resolution is None:
        return {"candidate": False, "because": [], "agents": {}}
    agents = {_target(each): {"reason": each.reason.value, "decided_by": each.decided_by} for each in resolution.decisions}
    return {"candidate": True, "because": list(resolution.because), "agents": agents}


def _at(path: str, parse: Callable[..., T], *given: Any) -> T:
    """Parse, with the path of the whole put before that of the field."""
    try:
        return parse(*given)
    except InvalidInput as error:
        raise InvalidInput(str(error), f"{path}.{error.field}" if error.field else path) from None


def _only(table: Table, known: frozenset[str], path: str) -> None:
    for key in table:
        if key not in known:
            raise InvalidInput(f"unknown key; known are {', '.join(sorted(known))}", f"{path}.{key}")


def _table(value: object, path: str) -> Table:
    if not isinstance(value, Mapping):
        raise InvalidInput("must be an object with named entries", path)
    return value


def _text(entry: Table, name: str) -> str:
    """Left out and null are the same: not said."""
    value = entry.get(name)
    return "" if value is None else _checked(value, name)


def _checked(value: object, path: str) -> str:
    if not isinstance(value, str) or _HALF.search(value):
        raise InvalidInput("must be a text without half characters", path)
    return value


def _flag(entry: Table, name: str, *, default: bool = False) -> bool:
    value = entry.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise InvalidInput("must be true or false", name)
    return value


def _texts(entry: Table, name: str, path: str) -> frozenset[str]:
    return frozenset(_checked(item, path) for item in _list(entry.get(name, []), path))


def _list(value: object, path: str) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise InvalidInput("must be a list", path)
    return list(value)


def _moment(value: object, path: str) -> datetime:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise InvalidInput("must be a time such as 2026-03-20T08:00:00+01:00", path) from None
    if moment.tzinfo is None:
        raise InvalidInput("needs its zone, as in 2026-03-20T08:00:00+01:00", path)
    # The first and the last year of the calendar can't be taken to another zone: they are beyond what is told anyway.
    moment = moment.astimezone(UTC) if 1 < moment.year < 9999 else moment
    if not 1970 <= moment.year <= 2200:
        raise InvalidInput("a time lies between 1970 and 2200", path)
    return moment
