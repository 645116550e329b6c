"""A person's wants and the site's defaults as documents (JSON or TOML): checked, parsed, with errors that name the field."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, time, timedelta
from typing import Any, TypeVar

import re2

from angelia.model.claims import NewsWish, over
from angelia.model.errors import InvalidInput
from angelia.model.message import Severity, checked_type
from angelia.model.preference import (
    ANY_TYPE,
    NOW,
    OFF,
    Condition,
    ConditionKind,
    Escalation,
    Hold,
    HoldPolicy,
    Mute,
    MuteLevel,
    Preset,
    Rule,
    Site,
    Statements,
    Treatment,
    Until,
    Wants,
)
from angelia.model.schedule import QuietHours, Schedule

MAX_RULES = 1_000
MAX_SCOPES = 2_000
MAX_VALUES = 1_000
MAX_STEPS = 20
FORMS = frozenset({"full", "short"})
T = TypeVar("T")
_JOB_KEYS = ("jobs", "jobs_by_token")
_NEWS_FLAGS = ("on_submit", "on_progress", "on_done", "on_failure", "is_end_timed")
_NEWS_LENGTHS = ("interval", "threshold")
_UNFIT = re.compile("[\x00\ud800-\udfff]")
Document = Mapping[str, object]


def parse_wants(document: Document, *, known_schedules: Iterable[str] | None = ()) -> Wants:
    """The checked value of a person's document; `known_schedules` are the site's, which she may name.

    With None, names of schedules are not checked: a stored document stays readable after the operator took a schedule away.

    Raises InvalidInput with the dotted path of the offending field. Unknown keys are errors, so a typing slip never passes for a wish.
    """
    _only(document, _WANTS_KEYS, "")
    schedules = _schedules(document.get("schedules", {}), "schedules")
    names = None if known_schedules is None else frozenset({*known_schedules, *schedules, OFF, NOW})
    accepts = _table(document.get("groups", {}), "groups")
    mutes = _table(document.get("mutes", {}), "mutes")
    return Wants(
        preferences=_scopes(document.get("preferences", {}), "preferences", names),
        unknown=_statements(document.get("unknown", {}), "unknown", names),
        rules=_rules(document.get("rules", []), "rules", names),
        mutes={_text(key, "mutes"): _mute(value, f"mutes.{key}") for key, value in mutes.items()},
        follows=frozenset(_texts(document.get("follows", []), "follows")),
        paused=frozenset(_texts(document.get("paused", []), "paused")),
        accepts={group: frozenset(_texts(agents, f"groups.{group}")) for group, agents in accepts.items()},
        hold=_optional(document.get("hold"), "hold", _hold),
        quiet=_optional(document.get("quiet"), "quiet", _quiet),
        schedules=schedules,
        takes_tests=_flag(document.get("takes_tests", False), "takes_tests"),
        jobs=_jobs(document),
        fallback=_optional(document.get("fallback"), "fallback", _order),
        escalate=_chains(document.get("escalate", {})),
    )


_WAYS_ON = ("fallback", "escalate")
_WANTS_KEYS = frozenset(
    ["preferences", "unknown", "rules", "mutes", "follows", "paused", "groups", "hold", "quiet", "schedules", "takes_tests", *_WAYS_ON, *_JOB_KEYS]
)


def _jobs(document: Document) -> dict[str, NewsWish]:
    """Per agent, what she says herself before what a token of hers says."""
    own, by_token = ({agent: _news(said, f"{key}.{agent}") for agent, said in _table(document.get(key, {}), key).items()} for key in _JOB_KEYS)
    silent = NewsWish()
    return {agent: over(own.get(agent, silent), by_token.get(agent, silent)) for agent in {**by_token, **own}}


def _news(value: object, path: str) -> NewsWish:
    table = _table(value, path)
    _only(table, frozenset({*_NEWS_FLAGS, *_NEWS_LENGTHS}), path)
    said: dict[str, Any] = {name: _flag(table[name], f"{path}.{name}") for name in _NEWS_FLAGS if name in table}
    said |= {name: _seconds(table[name], f"{path}.{name}") for name in _NEWS_LENGTHS if name in table}
    return NewsWish(**said)


def _seconds(value: object, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 31_536_000:
        raise InvalidInput("a length in seconds, at most a year", path)
    return float(value)


def parse_site(document: Document) -> Site:
    """The checked value of the site's document; shapes as in `parse_wants`, with audience, locks and presets."""
    _only(document, _SITE_KEYS, "")
    schedules = _schedules(document.get("schedules", {}), "schedules")
    names = frozenset({*schedules, OFF, NOW})
    audience = _table(document.get("audience", {}), "audience")
    locks = _table(document.get("locks", {}), "locks")
    presets = _table(document.get("presets", {}), "presets")
    return Site(
        preferences=_scopes(document.get("preferences", {}), "preferences", names),
        audience={_scope(k, "audience"): frozenset(_texts(v, f"audience.{k}")) for k, v in audience.items()},
        locks={_scope(k, "locks"): frozenset(_texts(v, f"locks.{k}")) for k, v in locks.items()},
        schedules=schedules,
        interruptive=frozenset(_texts(document.get("interruptive", []), "interruptive")),
        pull=frozenset(_texts(document.get("pull", ["web", "feed"]), "pull")),
        presets={key: _preset(key, value, names) for key, value in presets.items()},
        digest_schedule=_text(document.get("digest_schedule", "daily"), "digest_schedule"),
        jobs={agent: _news(said, f"jobs.{agent}") for agent, said in _table(document.get("jobs", {}), "jobs").items()},
        hourly_cap=_whole(document.get("hourly_cap", 30), "hourly_cap", 1, 100_000),
        fallback=_order(document.get("fallback", []), "fallback"),
        escalate=_chains(document.get("escalate", {})),
        last_resort=tuple(_texts(document.get("last_resort", []), "last_resort")),
    )


_SITE_KEYS = frozenset(
    [
        "preferences",
        "audience",
        "locks",
        "schedules",
        "interruptive",
        "pull",
        "presets",
        "digest_schedule",
        "hourly_cap",
        "fallback",
        "escalate",
        "last_resort",
        "jobs",
    ]
)


def _order(value: object, path: str) -> tuple[str, ...]:
    """Agents, each once."""
    agents = tuple(_texts(value, path))
    if len(agents) > MAX_STEPS or len(set(agents)) != len(agents) or not all(agents):
        raise InvalidInput(f"names at most {MAX_STEPS} agents, each once", path)
    return agents


_CHAIN_KEYS = frozenset({"after", "to", "severity", "until", "by_anybody"})


def _chains(value: object) -> dict[str, Escalation]:
    return {_scope(key, "escalate"): _chain(inner, f"escalate.{key}") for key, inner in _table(value, "escalate").items()}


def _chain(value: object, path: str) -> Escalation:
    table = _table(value, path)
    _only(table, _CHAIN_KEYS, path)
    steps = tuple(_texts(table.get("to", []), f"{path}.to"))
    if len(steps) > MAX_STEPS or len(set(steps)) != len(steps):
        raise InvalidInput(f"names at most {MAX_STEPS} steps, each once", f"{path}.to")
    for step in steps:
        kind, colon, name = step.partition(":")
        if not step or (colon and (kind not in ("person", "group") or not name)):
            raise InvalidInput("a step is an agent, person:<login> or group:<name>", f"{path}.to")
    return Escalation(
        after=length_of(table.get("after", "10m"), f"{path}.after"),
        to=steps,
        min_severity=_severity(table.get("severity", "urgent"), f"{path}.severity"),
        until=_enum(Until, table.get("until", "acknowledged"), f"{path}.until"),
        by_anybody=_flag(table.get("by_anybody", True), f"{path}.by_anybody"),
    )


def length_of(value: object, path: str, most: timedelta = timedelta(days=7)) -> timedelta:
    """From `10m`, `2h` or `1d`; at least a minute, at most that many days."""
    found = _LENGTH.fullmatch(_text(value, path))
    length = timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else timedelta(0)
    if not timedelta(minutes=1) <= length <= most:
        raise InvalidInput(f"a length such as 10m, 2h or 1d, from 1m to {most.days}d", path)
    return length


_LENGTH = re.compile(r"([1-9][0-9]{0,4})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def _scopes(value: object, path: str, names: frozenset[str] | None) -> dict[str, Statements]:
    table = _table(value, path)
    if len(table) > MAX_SCOPES:
        raise InvalidInput(f"at most {MAX_SCOPES} scopes", path)
    return {_scope(key, path): _statements(inner, f"{path}.{key}", names) for key, inner in table.items()}


def _scope(key: str, path: str) -> str:
    if key == ANY_TYPE:
        return key
    try:
        return checked_type(key)
    except InvalidInput as error:
        raise InvalidInput(str(error), f"{path}.{key}") from None


def _statements(value: object, path: str, names: frozenset[str] | None) -> dict[str, tuple[Treatment, ...]]:
    statements: dict[str, tuple[Treatment, ...]] = {}
    for target, wish in _table(value, path).items():
        agent, colon, address = target.partition(":")
        if not agent or (colon and not address):
            raise InvalidInput("names an agent (mail), or an agent and an address of hers (mail:alice@example.org)", f"{path}.{target}")
        when, form = _wish(wish, f"{path}.{target}")
        if names is not None and when not in names:
            choices = ", ".join(sorted(names))
            raise InvalidInput(f"{when!r} is neither off, now nor a known schedule; known: {choices}", f"{path}.{target}")
        statements[agent] = (*statements.get(agent, ()), Treatment(when, address, form))
    return statements


def _wish(value: object, path: str) -> tuple[str, str]:
    if isinstance(value, str):
        return value, ""
    table = _table(value, path)
    _only(table, frozenset({"when", "form"}), path)
    form = _text(table.get("form", ""), f"{path}.form")
    if form and form not in FORMS:
        raise InvalidInput(f"form is one of {', '.join(sorted(FORMS))}", f"{path}.form")
    return _text(table.get("when", NOW), f"{path}.when"), form


_RULE_KEYS = frozenset(["id", "name", "type", "when", "role", "min_severity", "include_own", "final", "enabled", "do", "origin", "note"])


def _rules(value: object, path: str, names: frozenset[str] | None) -> tuple[Rule, ...]:
    if not isinstance(value, list | tuple):
        raise InvalidInput("rules are a list, first match first", path)
    if len(value) > MAX_RULES:
        raise InvalidInput(f"at most {MAX_RULES} rules", path)
    rules = tuple(parse_rule(item, f"{path}.{index}", names, str(index + 1)) for index, item in enumerate(value))
    if len({rule.rule_id for rule in rules}) != len(rules):
        raise InvalidInput("each rule needs an id of its own", path)
    return rules


def parse_rule(value: object, path: str, names: frozenset[str] | None, rule_id: str) -> Rule:
    """One rule of a document; `rule_id` serves where the rule has no id of its own."""
    table = _table(value, path)
    _only(table, _RULE_KEYS, path)
    pattern = _text(table.get("type", ANY_TYPE), f"{path}.type").lower()
    if not set(pattern) & {"*", "#"}:
        pattern = _scope(pattern, f"{path}.type")
    conditions = _table(table.get("when", {}), f"{path}.when")
    return Rule(
        rule_id=_text(table.get("id", rule_id), f"{path}.id"),
        name=_text(table.get("name", ""), f"{path}.name"),
        type=pattern,
        when=tuple(_condition(name, test, f"{path}.when.{name}") for name, test in conditions.items()),
        role=_text(table.get("role", "") or "", f"{path}.role"),
        min_severity=_severity(table.get("min_severity", "low"), f"{path}.min_severity"),
        includes_own=_flag(table.get("include_own", False), f"{path}.include_own"),
        is_final=_flag(table.get("final", True), f"{path}.final"),
        is_enabled=_flag(table.get("enabled", True), f"{path}.enabled"),
        statements=_statements(table.get("do", {}), f"{path}.do", names),
        origin=_text(table.get("origin", "manual"), f"{path}.origin"),
        note=_text(table.get("note", ""), f"{path}.note"),
    )


def _condition(name: str, test: object, path: str) -> Condition:
    kind, values = ConditionKind.ONEOF, test
    if isinstance(test, Mapping):
        if len(test) != 1:
            raise InvalidInput("a condition has one operator: oneof, not, contains or regexp", path)
        (operator, values), *_ = test.items()
        kind = _enum(ConditionKind, operator, path)
    texts = (values,) if isinstance(values, str) else tuple(_texts(values, path))
    if not 0 < len(texts) <= MAX_VALUES:
        raise InvalidInput(f"a condition has 1 to {MAX_VALUES} values", path)
    if kind is ConditionKind.REGEXP:
        for text in texts:
            checked_regexp(text, path)
    return Condition(name, texts, kind)


def checked_regexp(text: str, path: str = "") -> None:
    """Refuse what RE2 can't run in linear time: Python's `re` would let one person's filter freeze the process."""
    if len(text) > 1_000:
        raise InvalidInput("a regular expression has at most 1,000 characters", path)
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        re2.compile(text, options)
    except (re2.error, UnicodeError):
        raise InvalidInput("not a regular expression that RE2 can run (no back-references, no look-around)", path) from None


def _preset(key: str, value: object, names: frozenset[str] | None) -> Preset:
    path = f"presets.{key}"
    table = _table(value, path)
    _only(table, frozenset({"title", "explanation", "group", "rule"}), path)
    rule = parse_rule(table.get("rule", {}), f"{path}.rule", names, f"preset-{key}")
    return Preset(
        preset_id=key,
        title=_text(table.get("title", key), f"{path}.title"),
        explanation=_text(table.get("explanation", ""), f"{path}.explanation"),
        group=_text(table.get("group", ""), f"{path}.group"),
        rule=rule,
    )


def _hold(value: object, path: str) -> Hold:
    table = _table(value, path)
    _only(table, frozenset({"until", "since", "policy", "pass_from", "note"}), path)
    if table.get("until") is None:
        raise InvalidInput("a hold needs its end: until = a time with its zone", f"{path}.until")
    policy = _table(table.get("policy", {}), f"{path}.policy")
    return Hold(
        until=_moment(table["until"], f"{path}.until"),
        since=_optional(table.get("since"), f"{path}.since", _moment),
        policy={_scope(k, f"{path}.policy"): _enum(HoldPolicy, v, f"{path}.policy.{k}") for k, v in policy.items()},
        pass_from=_severity(table.get("pass_from") or "urgent", f"{path}.pass_from"),
        note=_text(table.get("note", ""), f"{path}.note"),
    )


def _quiet(value: object, path: str) -> QuietHours:
    if isinstance(value, Mapping):
        _only(value, frozenset({"start", "end", "days"}), path)
        ends, days = [value.get("start"), value.get("end")], value.get("days")
    elif isinstance(value, list | tuple) and len(value) == 2:
        ends, days = list(value), None
    else:
        raise InvalidInput('quiet hours are two local times, ["22:00", "07:00"]', path)
    weekdays = frozenset(range(7)) if days is None else frozenset(_weekday(day, f"{path}.days") for day in _texts(days, path))
    start, end = (_clock(text, path) for text in ends)
    try:
        return QuietHours(start, end, weekdays)
    except ValueError as error:
        raise InvalidInput(str(error), path) from None


_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _weekday(text: str, path: str) -> int:
    if text not in _DAYS:
        raise InvalidInput(f"a day is one of {', '.join(_DAYS)}", path)
    return _DAYS.index(text)


def _clock(value: object, path: str) -> time:
    if isinstance(value, time):
        return value
    try:
        return datetime.strptime(str(value), "%H:%M").time()  # noqa: DTZ007 - a local wall-clock time has no zone
    except ValueError:
        raise InvalidInput(f"{str(value)[:40]!r} is not a time of day such as 07:30", path) from None


def _schedules(value: object, path: str) -> dict[str, Schedule]:
    schedules = {}
    for name, inner in _table(value, path).items():
        if name in {OFF, NOW} or not name.replace("-", "").replace("_", "").isalnum() or len(name) > 64:
            raise InvalidInput("a schedule's name is a short word other than off and now", f"{path}.{name}")
        try:
            schedules[name] = Schedule.parse(name, _table(inner, f"{path}.{name}"))
        except ValueError as error:
            raise InvalidInput(str(error), f"{path}.{name}") from None
    return schedules


def _only(table: Document, known: frozenset[str], path: str) -> None:
    for key in table:
        if key not in known:
            where = f"{path}.{key}" if path else str(key)
            raise InvalidInput(f"unknown key; known are {', '.join(sorted(known))}", where)


def _table(value: object, path: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise InvalidInput("must be a table (an object with named entries)", path)
    for key in value:
        _text(key, path)
    return value


def _text(value: object, path: str) -> str:
    if not isinstance(value, str) or len(value) > 1_024 or _UNFIT.search(value):
        raise InvalidInput("must be a text of at most 1,024 characters, without NUL and half characters", path)
    return value


def _texts(value: object, path: str) -> list[str]:
    if not isinstance(value, list | tuple | frozenset | set):
        raise InvalidInput("must be a list of texts", path)
    return [_text(item, path) for item in value]


def _flag(value: object, path: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput("must be true or false", path)
    return value


def _whole(value: object, path: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidInput(f"must be a whole number from {low} to {high}", path)
    return value


def _severity(value: object, path: str) -> Severity:
    try:
        return Severity.named(_text(value, path))
    except InvalidInput as error:
        raise InvalidInput(str(error), path) from None


def _enum(kind: type[T], value: object, path: str) -> T:
    try:
        return kind(value)  # type: ignore[call-arg]
    except ValueError:
        choices = ", ".join(str(member) for member in kind)  # type: ignore[attr-defined]
        raise InvalidInput(f"must be one of {choices}", path) from None


def _moment(value: object, path: str) -> datetime:
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(_text(value, path))
    except ValueError:
        raise InvalidInput("must be a time such as 2026-03-20T08:00:00+01:00", path) from None
    if moment.tzinfo is None:
        raise InvalidInput("needs its zone, as in 2026-03-20T08:00:00+01:00", path)
    # What lies at the ends of the calendar can't be read in another zone.
    if not 1970 <= moment.year <= 2200:
        raise InvalidInput("a time lies between 1970 and 2200", path)
    return moment


def _mute(value: object, path: str) -> Mute:
    """`normal`, `full`, or a table that has one of them as its `level` and says `until` when."""
    if not isinstance(value, Mapping):
        return Mute(_enum(MuteLevel, value, path))
    table = _table(value, path)
    _only(table, frozenset({"level", "until"}), path)
    return Mute(_enum(MuteLevel, table.get("level", "normal"), f"{path}.level"), _optional(table.get("until"), f"{path}.until", _moment))


def _optional(value: object, path: str, parse: Callable[[object, str], T]) -> T | None:
    return None if value is None else parse(value, path)
