"""That what a new document names is there: a slip (`mial`) must not pass for a wish that is kept. What is stored already may stay."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from angelia.model.errors import InvalidInput
from angelia.model.message import checked_type
from angelia.planning.matching import FIELDS

Named = Callable[[Mapping[str, Any]], Iterator[tuple[str, str]]]
"""All names of one kind in a document, each with where it stands."""
_BY_AGENT = ("jobs", "jobs_by_token")
_LISTS = ("paused", "fallback", "interruptive", "pull")


def check_names(document: Mapping[str, Any], agents: Collection[str], stored: Mapping[str, Any]) -> None:
    """InvalidInput with the path of an agent that this hub does not have, of a test on a field that no message has, or of a pattern that no type
    can match.
    """
    for agent, path in _new(_agents, document, stored):
        if agent not in agents:
            raise InvalidInput(f"there is no agent {agent!r} here; there are {', '.join(sorted(agents))}", path)
    for field, path in _new(_fields, document, stored):
        if field not in FIELDS:
            raise InvalidInput(f"a message has no field {field!r} to be tested; it has {', '.join(FIELDS)}", path)
    for pattern, path in _new(_patterns, document, stored):
        _check_pattern(pattern, path)


def _new(named: Named, document: Mapping[str, Any], stored: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What the document names and the stored one does not."""
    kept = {name for name, _ in named(stored)}
    return ((name, path) for name, path in named(document) if name not in kept)


def _check_pattern(pattern: str, path: str) -> None:
    """`*` and `#` are whole parts: within one (`build*`) they would be letters that no type has."""
    try:
        checked_type(".".join("any" if part in ("*", "#") else part for part in pattern.split(".")))
    except InvalidInput as error:
        raise InvalidInput(str(error), path) from None


def check_schedule(document: Mapping[str, Any], stored: Mapping[str, Any]) -> None:
    """InvalidInput where the site's usual digest is a schedule that its document does not have."""
    name = document.get("digest_schedule")
    if name is not None and name != stored.get("digest_schedule") and name not in document.get("schedules", {}):
        raise InvalidInput(f"the site has no schedule {name!r}: name one that is among its schedules", "digest_schedule")


def _fields(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each field of a message that rules test, with where."""
    for path, rule in _rules(document):
        for name, _ in _table(_inner(rule, "when")):
            if name.startswith("message."):
                yield name, f"{path}.when.{name}"


def _patterns(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What types rules speak for, with where."""
    for path, rule in _rules(document):
        if isinstance(pattern := _inner(rule, "type"), str):
            yield pattern, f"{path}.type"


def _agents(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each agent with where it stands. A document that was stored long ago may be of another form: what can't be read names nothing."""
    for scope, said in _table(document.get("preferences")):
        yield from _targets(said, f"preferences.{scope}")
    yield from _targets(document.get("unknown"), "unknown")
    for path, rule in _rules(document):
        yield from _targets(_inner(rule, "do"), f"{path}.do")
    for key in _BY_AGENT:
        yield from _targets(document.get(key), key)
    for key in _LISTS:
        yield from ((agent, key) for agent in _list(document.get(key)) if isinstance(agent, str))
    for key in ("groups", "locks"):
        for name, agents in _table(document.get(key)):
            yield from ((agent, f"{key}.{name}") for agent in _list(agents) if isinstance(agent, str))
    for scope, chain in _table(document.get("escalate")):
        steps = (step for step in _list(_inner(chain, "to")) if isinstance(step, str))
        yield from ((step, f"escalate.{scope}.to") for step in steps if ":" not in step)


def _rules(document: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Her own, and those that the site offers."""
    for index, rule in enumerate(_list(document.get("rules"))):
        yield f"rules.{index}", rule
    for name, preset in _table(document.get("presets")):
        yield f"presets.{name}.rule", _inner(preset, "rule")


def _targets(said: object, path: str) -> Iterator[tuple[str, str]]:
    """`mail`, or an address of it: `mail:alice@example.org`."""
    for target, _ in _table(said):
        yield target.partition(":")[0], f"{path}.{target}"


def _inner(value: object, key: str) -> object:
    return value.get(key) if isinstance(value, Mapping) else None


def _table(value: object) -> list[tuple[str, Any]]:
    return [(key, inner) for key, inner in value.items() if isinstance(key, str)] if isinstance(value, Mapping) else []


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()
