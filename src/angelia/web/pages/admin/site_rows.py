"""The simple parts of the site's document as rows of a form, and back; what a row can't say stays as it is."""

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from starlette.datastructures import FormData

from angelia.model.errors import InvalidInput
from angelia.web.pages.admin.asked import number, rows, text, texts, words

Document = Mapping[str, Any]
KEEP = "="
"""The value of a cell that holds more than one word (a form, an address): it is changed in the whole document only."""
USUAL = {"digest_schedule": "daily", "hourly_cap": 30}
"""What holds where the document says nothing; a form that shows it does not say it."""


def shown(document: Document, agents: list[str]) -> dict[str, list[dict[str, Any]]]:
    """All tables, each with an empty row at its end for a new entry."""
    defaults = [{"scope": scope, "cells": {agent: _cell(said, agent) for agent in agents}} for scope, said in document.get("preferences", {}).items()]
    schedules = [
        {"name": name, "every": one.get("every", ""), "at": " ".join(map(str, one.get("at", []))), "on": " ".join(map(str, one.get("on", [])))}
        for name, one in document.get("schedules", {}).items()
    ]
    return {
        "defaults": [*defaults, {"scope": "", "cells": dict.fromkeys(agents, "")}],
        "audience": [*({"scope": s, "roles": ", ".join(r)} for s, r in document.get("audience", {}).items()), {"scope": "", "roles": ""}],
        "locks": [*({"scope": s, "agents": list(a)} for s, a in document.get("locks", {}).items()), {"scope": "", "agents": []}],
        "schedules": [*schedules, {"name": "", "every": "", "at": "", "on": ""}],
        "presets": [*(_preset(key, one) for key, one in document.get("presets", {}).items()), _preset("", {})],
    }


def _cell(said: Document, agent: str) -> str:
    value = said.get(agent, "")
    return value if isinstance(value, str) else KEEP


def _preset(key: str, one: Document) -> dict[str, str]:
    rule = one.get("rule", {})
    return {"id": key, "title": one.get("title", ""), "explanation": one.get("explanation", ""), "group": one.get("group", ""),
            "type": rule.get("type", ""), "role": rule.get("role", "") or ""}  # fmt: skip


def changed(document: Document, asked: FormData, agents: list[str]) -> dict[str, Any]:
    """The document as the form wants it; rows whose name was emptied are gone."""
    made = copy.deepcopy(dict(document))
    made["preferences"] = _defaults(document.get("preferences", {}), asked, agents)
    made["audience"] = {scope: words(text(asked, f"a.{n}.roles")) for n, scope in _named(asked, "a", "scope", ("roles",))}
    made["locks"] = _locks(document.get("locks", {}), asked)
    made["schedules"] = {name: _schedule(asked, n) for n, name in _named(asked, "s", "name", ("at", "on"))}
    made["presets"] = _presets(document.get("presets", {}), asked)
    for name, value in (("digest_schedule", text(asked, "digest_schedule")), ("hourly_cap", number(asked, "hourly_cap"))):
        if value and value != document.get(name, USUAL[name]):
            made[name] = value
    for name in ("preferences", "audience", "locks", "schedules", "presets"):
        if not made[name] and name not in document:
            del made[name]
    return made


def _named(asked: FormData, prefix: str, key: str, others: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Rows by number, with their names. One whose name was emptied is to go; a new one that says something needs a name."""
    for n in rows(asked, prefix):
        name = text(asked, f"{prefix}.{n}.{key}")
        if name:
            yield n, name
        elif not text(asked, f"{prefix}.{n}.was") and any(texts(asked, f"{prefix}.{n}.{other}") for other in others):
            raise InvalidInput("this row says something and needs a name", f"{prefix}.{n}.{key}")


def _defaults(old: Document, asked: FormData, agents: list[str]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for n, scope in _named(asked, "d", "scope", agents):
        was = old.get(text(asked, f"d.{n}.was"), {})
        if scope in made:
            raise InvalidInput("this type stands in two rows", f"preferences.{scope}")
        said = {target: value for target, value in was.items() if target not in agents}
        for agent in agents:
            value = text(asked, f"d.{n}.{agent}")
            if value:
                said[agent] = was.get(agent, "now") if value == KEEP else value
        made[scope] = said
    return made


def _locks(old: Document, asked: FormData) -> dict[str, list[str]]:
    """The order of a list that says the same stays, so that a plan shows real changes only."""
    wanted = {scope: texts(asked, f"l.{n}.agents") for n, scope in _named(asked, "l", "scope", ("agents",))}
    if empty := next((scope for scope, agents in wanted.items() if not agents), None):
        raise InvalidInput("a lock names at least one way", f"locks.{empty}")
    return {scope: list(old[scope]) if scope in old and set(old[scope]) == set(agents) else agents for scope, agents in wanted.items()}


def _schedule(asked: FormData, n: str) -> dict[str, Any]:
    every, at, on = (text(asked, f"s.{n}.{name}") for name in ("every", "at", "on"))
    days: list[Any] = [int(day) if day.isascii() and day.isdigit() else day for day in words(on)]
    return {"every": every or "day"} | ({"at": words(at)} if at else {}) | ({"on": days} if on else {})


def _presets(old: Document, asked: FormData) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for n, key in _named(asked, "p", "id", ("title", "explanation", "group", "type", "role")):
        one = copy.deepcopy(dict(old.get(text(asked, f"p.{n}.was"), {})))
        rule = dict(one.get("rule", {}))
        for name in ("type", "role"):
            value = text(asked, f"p.{n}.{name}")
            if value or rule.get(name):
                rule[name] = value
        if not rule.get("type"):
            rule.pop("type", None)
        for name in ("title", "explanation", "group"):
            value = text(asked, f"p.{n}.{name}")
            if value or name in one:
                one[name] = value
        made[key] = one | {"rule": rule}
    return made
