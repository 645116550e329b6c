"""A person's wants and the site's defaults as documents (JSON or TOML): checked, parsed, with errors that name the field."""

from collections.abc import Iterable, Mapping
from typing import Any

from angelia.model.claims import NewsWish, over
from angelia.model.errors import InvalidInput
from angelia.model.preference import NOW, OFF, Escalation, Hold, HoldPolicy, Mute, MuteLevel, Site, Until, Wants
from angelia.model.schedule import QuietHours, Schedule
from angelia.planning import fields
from angelia.planning.fields import Document
from angelia.planning.rules import preset, rules_of, scopes, statements

MAX_STEPS = 20
_JOB_KEYS = ("jobs", "jobs_by_token")
_NEWS_FLAGS = ("on_submit", "on_progress", "on_done", "on_failure", "is_end_timed")
_NEWS_LENGTHS = ("interval", "threshold")
_WAYS_ON = ("fallback", "escalate")
_WANTS_KEYS = frozenset(
    ["preferences", "unknown", "rules", "mutes", "follows", "paused", "groups", "hold", "quiet", "schedules", "takes_tests", *_WAYS_ON, *_JOB_KEYS]
)
_SITE_ALONE = ("audience", "locks", "interruptive", "pull", "presets", "digest_schedule", "hourly_cap", "last_resort")
_SITE_KEYS = frozenset({"preferences", "schedules", "jobs", *_SITE_ALONE, *_WAYS_ON})
_CHAIN_KEYS = frozenset({"after", "to", "severity", "until", "by_anybody"})


def parse_wants(document: Document, *, known_schedules: Iterable[str] | None = ()) -> Wants:
    """The checked value of a person's document; `known_schedules` are the site's, which she may name.

    With None, names of schedules are not checked: a stored document stays readable after the operator took a schedule away.

    Raises InvalidInput with the dotted path of the offending field. Unknown keys are errors, so a typing slip never passes for a wish.
    """
    fields.only(document, _WANTS_KEYS, "")
    schedules = _schedules(document.get("schedules", {}), "schedules")
    names = None if known_schedules is None else frozenset({*known_schedules, *schedules, OFF, NOW})
    accepts = fields.table(document.get("groups", {}), "groups")
    mutes = fields.table(document.get("mutes", {}), "mutes")
    return Wants(
        preferences=scopes(document.get("preferences", {}), "preferences", names),
        unknown=statements(document.get("unknown", {}), "unknown", names),
        rules=rules_of(document.get("rules", []), "rules", names),
        mutes={fields.text(key, "mutes"): _mute(value, f"mutes.{key}") for key, value in mutes.items()},
        follows=frozenset(fields.texts(document.get("follows", []), "follows")),
        paused=frozenset(fields.texts(document.get("paused", []), "paused")),
        accepts={group: frozenset(fields.texts(agents, f"groups.{group}")) for group, agents in accepts.items()},
        hold=fields.optional(document.get("hold"), "hold", _hold),
        quiet=fields.optional(document.get("quiet"), "quiet", _quiet),
        schedules=schedules,
        takes_tests=fields.flag(document.get("takes_tests", False), "takes_tests"),
        jobs=_jobs(document),
        fallback=fields.optional(document.get("fallback"), "fallback", _order),
        escalate=_chains(document.get("escalate", {})),
    )


def parse_site(document: Document) -> Site:
    """The checked value of the site's document; shapes as in `parse_wants`, with audience, locks and presets."""
    fields.only(document, _SITE_KEYS, "")
    schedules = _schedules(document.get("schedules", {}), "schedules")
    names = frozenset({*schedules, OFF, NOW})
    audience = fields.table(document.get("audience", {}), "audience")
    locks = fields.table(document.get("locks", {}), "locks")
    presets = fields.table(document.get("presets", {}), "presets")
    return Site(
        preferences=scopes(document.get("preferences", {}), "preferences", names),
        audience={fields.scope(k, "audience"): frozenset(fields.texts(v, f"audience.{k}")) for k, v in audience.items()},
        locks={fields.scope(k, "locks"): frozenset(fields.texts(v, f"locks.{k}")) for k, v in locks.items()},
        schedules=schedules,
        interruptive=frozenset(fields.texts(document.get("interruptive", []), "interruptive")),
        pull=frozenset(fields.texts(document.get("pull", ["web", "feed"]), "pull")),
        presets={key: preset(key, value, names) for key, value in presets.items()},
        digest_schedule=fields.text(document.get("digest_schedule", "daily"), "digest_schedule"),
        jobs={agent: _news(said, f"jobs.{agent}") for agent, said in fields.table(document.get("jobs", {}), "jobs").items()},
        hourly_cap=fields.whole(document.get("hourly_cap", 30), "hourly_cap", 1, 100_000),
        fallback=_order(document.get("fallback", []), "fallback"),
        escalate=_chains(document.get("escalate", {})),
        last_resort=tuple(fields.texts(document.get("last_resort", []), "last_resort")),
    )


def _jobs(document: Document) -> dict[str, NewsWish]:
    """Per agent, what she says herself before what a token of hers says."""
    own, by_token = ({agent: _news(said, f"{key}.{agent}") for agent, said in fields.table(document.get(key, {}), key).items()} for key in _JOB_KEYS)
    silent = NewsWish()
    return {agent: over(own.get(agent, silent), by_token.get(agent, silent)) for agent in {**by_token, **own}}


def _news(value: object, path: str) -> NewsWish:
    table = fields.table(value, path)
    fields.only(table, frozenset({*_NEWS_FLAGS, *_NEWS_LENGTHS}), path)
    said: dict[str, Any] = {name: fields.flag(table[name], f"{path}.{name}") for name in _NEWS_FLAGS if name in table}
    said |= {name: fields.seconds(table[name], f"{path}.{name}") for name in _NEWS_LENGTHS if name in table}
    return NewsWish(**said)


def _order(value: object, path: str) -> tuple[str, ...]:
    """Agents, each once."""
    agents = tuple(fields.texts(value, path))
    if len(agents) > MAX_STEPS or len(set(agents)) != len(agents) or not all(agents):
        raise InvalidInput(f"names at most {MAX_STEPS} agents, each once", path)
    return agents


def _chains(value: object) -> dict[str, Escalation]:
    return {fields.scope(key, "escalate"): _chain(inner, f"escalate.{key}") for key, inner in fields.table(value, "escalate").items()}


def _chain(value: object, path: str) -> Escalation:
    table = fields.table(value, path)
    fields.only(table, _CHAIN_KEYS, path)
    steps = tuple(fields.texts(table.get("to", []), f"{path}.to"))
    if len(steps) > MAX_STEPS or len(set(steps)) != len(steps):
        raise InvalidInput(f"names at most {MAX_STEPS} steps, each once", f"{path}.to")
    for step in steps:
        kind, colon, name = step.partition(":")
        if not step or (colon and (kind not in ("person", "group") or not name)):
            raise InvalidInput("a step is an agent, person:<login> or group:<name>", f"{path}.to")
    return Escalation(
        after=fields.length(table.get("after", "10m"), f"{path}.after"),
        to=steps,
        min_severity=fields.severity(table.get("severity", "urgent"), f"{path}.severity"),
        until=fields.enum(Until, table.get("until", "acknowledged"), f"{path}.until"),
        by_anybody=fields.flag(table.get("by_anybody", True), f"{path}.by_anybody"),
    )


def _mute(value: object, path: str) -> Mute:
    """`normal`, `full`, or a table that has one of them as its `level` and says `until` when."""
    if not isinstance(value, Mapping):
        return Mute(fields.enum(MuteLevel, value, path))
    table = fields.table(value, path)
    fields.only(table, frozenset({"level", "until"}), path)
    level = fields.enum(MuteLevel, table.get("level", "normal"), f"{path}.level")
    return Mute(level, fields.optional(table.get("until"), f"{path}.until", fields.moment))


def _hold(value: object, path: str) -> Hold:
    table = fields.table(value, path)
    fields.only(table, frozenset({"until", "since", "policy", "pass_from", "note"}), path)
    if table.get("until") is None:
        raise InvalidInput("a hold needs its end: until = a time with its zone", f"{path}.until")
    policy = fields.table(table.get("policy", {}), f"{path}.policy")
    return Hold(
        until=fields.moment(table["until"], f"{path}.until"),
        since=fields.optional(table.get("since"), f"{path}.since", fields.moment),
        policy={fields.scope(k, f"{path}.policy"): fields.enum(HoldPolicy, v, f"{path}.policy.{k}") for k, v in policy.items()},
        pass_from=fields.severity(table.get("pass_from") or "urgent", f"{path}.pass_from"),
        note=fields.text(table.get("note", ""), f"{path}.note"),
    )


def _quiet(value: object, path: str) -> QuietHours:
    if isinstance(value, Mapping):
        fields.only(value, frozenset({"start", "end", "days"}), path)
        ends, days = [value.get("start"), value.get("end")], value.get("days")
    elif isinstance(value, list | tuple) and len(value) == 2:
        ends, days = list(value), None
    else:
        raise InvalidInput('quiet hours are two local times, ["22:00", "07:00"]', path)
    weekdays = frozenset(range(7)) if days is None else frozenset(fields.weekday(day, f"{path}.days") for day in fields.texts(days, path))
    start, end = (fields.clock(text, path) for text in ends)
    try:
        return QuietHours(start, end, weekdays)
    except ValueError as error:
        raise InvalidInput(str(error), path) from None


def _schedules(value: object, path: str) -> dict[str, Schedule]:
    schedules = {}
    for name, inner in fields.table(value, path).items():
        if name in {OFF, NOW} or not name.replace("-", "").replace("_", "").isalnum() or len(name) > 64:
            raise InvalidInput("a schedule's name is a short word other than off and now", f"{path}.{name}")
        try:
            schedules[name] = Schedule.parse(name, fields.table(inner, f"{path}.{name}"))
        except ValueError as error:
            raise InvalidInput(str(error), f"{path}.{name}") from None
    return schedules
