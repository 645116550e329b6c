"""Small changes to a person's document, in place, and what differs between two. What is wrong is found when it is saved."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from angelia.model.preference import NOW, OFF

Body = dict[str, Any]
UNKNOWN = "?"
"""Stands for the statements on types that she never had before; no type has this name."""


def statements_of(document: Mapping[str, Any], scope: str) -> Mapping[str, Any]:
    """What the document itself says for a scope (a type, `*`, or UNKNOWN): target -> wish; empty if nothing."""
    if scope == UNKNOWN:
        return _table(document.get("unknown"))
    scopes = _table(document.get("preferences"))
    return _table(next((statements for key, statements in scopes.items() if key.lower() == scope), None))


def put_statements(document: Body, scope: str, statements: Mapping[str, Any]) -> None:
    """Replace what it says for a scope; a scope without statements is left out."""
    if scope == UNKNOWN:
        _put(document, "unknown", dict(statements))
        return
    # A document may come with capitals; what is read of it is lower case.
    scopes = {key: value for key, value in _table(document.get("preferences")).items() if key.lower() != scope}
    _put(scopes, scope, dict(statements))
    _put(document, "preferences", scopes)


def put_cell(document: Body, scope: str, agent: str, when: str, form: str | None = None) -> None:
    """One agent of a scope: `when` "" inherits. `form` None keeps the form that is there. What is said for single addresses stays."""
    statements = dict(statements_of(document, scope))
    _put(statements, agent, wish_of(when, form_of(statements.get(agent)) if form is None else form))
    put_statements(document, scope, statements)


def put_fallback(document: Body, agents: Sequence[str] | None) -> None:
    """The order in which agents stand in for one that failed; None for the site's."""
    document.pop("fallback", None)
    if agents is not None:
        document["fallback"] = list(agents)


def put_chain(document: Body, scope: str, chain: Mapping[str, Any]) -> None:
    """How messages of a scope go on while nobody answers; without steps as the site says. What the document says beside stays."""
    chains = dict(_table(document.get("escalate")))
    _put(chains, scope, dict(_table(chains.get(scope))) | dict(chain) if chain.get("to") else {})
    _put(document, "escalate", chains)


def put_group(document: Body, group: str, agents: Sequence[str] | None) -> None:
    """By which agents she takes what comes to her through a group alone; by none where the list is empty, by all for None."""
    groups = {name: value for name, value in _table(document.get("groups")).items() if name != group}
    if agents is not None:
        groups[group] = list(agents)
    _put(document, "groups", groups)


def wish_of(when: str, form: str = "") -> str | Body:
    """A wish as a document holds it, as short as can be."""
    return {"when": when, "form": form} if when and form and when != OFF else when


def when_of(wish: object) -> str:
    """When, of a wish in a document; "" where there is none."""
    return str(wish.get("when", NOW)) if isinstance(wish, Mapping) else str(wish or "")


def form_of(wish: object) -> str:
    """The form, "" for what is usual."""
    return str(wish.get("form", "")) if isinstance(wish, Mapping) else ""


def tick_preset(document: Body, preset_id: str, preset: Mapping[str, Any], do: Mapping[str, Any]) -> None:
    """She gets a copy of the preset's rule with its origin and its title as the name; one that she has stays where it stands in the order."""
    rule = copy.deepcopy(dict(preset.get("rule", {}))) | {"id": f"preset-{preset_id}", "origin": origin_of(preset_id), "do": dict(do)}
    if preset.get("title") and not rule.get("name"):
        rule["name"] = str(preset["title"])
    rules = rules_with_ids(document)
    for index, other in enumerate(rules):
        if other["id"] == rule["id"] or other.get("origin") == rule["origin"]:
            rules[index] = rule
            return
    rules.append(rule)


def put_preset_cell(document: Body, preset_id: str, preset: Mapping[str, Any], agent: str, when: str) -> None:
    """One agent of a preset's rule; "" says nothing. A preset that was not ticked is ticked, one that then says nothing is un-ticked."""
    ticked = ticked_rule(document, preset_id)
    do = dict(_table(ticked.get("do"))) if ticked is not None else {}
    _put(do, agent, wish_of(when, form_of(do.get(agent))))
    if do:
        tick_preset(document, preset_id, ticked_as(preset, ticked), do)
    else:
        untick_preset(document, preset_id)


def ticked_as(preset: Mapping[str, Any], ticked: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The preset, or her own copy of its rule where she has one: she may have changed it by hand."""
    return preset if ticked is None else {"rule": ticked}


def untick_preset(document: Body, preset_id: str) -> None:
    """Its rule goes, and nothing else (case B14)."""
    rules = rules_with_ids(document)
    rules[:] = [rule for rule in rules if rule.get("origin") != origin_of(preset_id)]


def ticked_rule(document: Mapping[str, Any], preset_id: str) -> Mapping[str, Any] | None:
    """Her rule that came from a preset."""
    rules = document.get("rules", [])
    return next((rule for rule in rules if rule.get("origin") == origin_of(preset_id)), None)


def origin_of(preset_id: str) -> str:
    """What a rule made from a preset says of where it came from."""
    return f"preset:{preset_id}"


def rules_with_ids(document: Body) -> list[Body]:
    """Her rules, each with an id: those without get their place."""
    rules: list[Body] = document.setdefault("rules", [])
    for index, rule in enumerate(rules):
        rule.setdefault("id", str(index + 1))
    return rules


def put_entry(document: Body, table: str, name: str, value: object) -> None:
    """One entry of a table of the document (schedules, mutes); None takes it out."""
    entries = {key: old for key, old in _table(document.get(table)).items() if key != name}
    _put(document, table, entries if value is None else entries | {name: value})


def put_member(document: Body, field: str, name: str, *, is_in: bool) -> None:
    """A name into a list of names (follows, paused), or out of it."""
    names = set(document.get(field, ()))
    _put(document, field, sorted(names | {name} if is_in else names - {name}))


def named_schedules(document: Mapping[str, Any]) -> set[str]:
    """Schedules that the document names: one of these can't go without leaving a hole. `now` and `off` may be among them."""
    rules = document.get("rules")  # one that was stored long ago may be of another form
    rules = rules if isinstance(rules, list) else []
    treatments = [*_table(document.get("preferences")).values(), document.get("unknown"), *(_table(rule).get("do") for rule in rules)]
    return {when_of(wish) for statements in treatments for wish in _table(statements).values()}


def _put(table: Body, key: str, value: object) -> None:
    """Set, or take out what is empty."""
    if value in (None, "", {}, []):
        table.pop(key, None)
    else:
        table[key] = value


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def documents_differ(old: Mapping[str, Any], new: Mapping[str, Any], path: str = "") -> list[dict[str, Any]]:
    """What a new document changes: path, before, after; rules and other lists as a whole."""
    changes: list[dict[str, Any]] = []
    for key in sorted(old.keys() | new.keys()):
        where = f"{path}.{key}" if path else key
        before, after = old.get(key), new.get(key)
        was, will = ({} if value is None else value for value in (before, after))
        if before != after and isinstance(was, Mapping) and isinstance(will, Mapping):
            changes += documents_differ(was, will, where) or [{"path": where, "before": before, "after": after}]
        elif before != after:
            changes.append({"path": where, "before": before, "after": after})
    return changes
