"""The simple grid of preferences as values: groups of lines (everything, presets, main types), a cell an agent."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from angelia.flow.wants import effective
from angelia.flow.wishes import Week, Wishes
from angelia.model.message import MessageType
from angelia.model.preference import ANY_TYPE, OFF, Preset, Rule, Site, Statements
from angelia.planning.editing import UNKNOWN, origin_of
from angelia.web.pages.wishes import Way

MOST_TYPES = 24
ALWAYS = "web"
"""The inbox keeps what comes through any group."""


class Cell(NamedTuple):
    """What one line says by one agent: `when` "" inherits, then `usual` holds; `others` counts statements for single addresses."""

    agent: str
    when: str
    usual: str
    origin: str = ""
    others: int = 0
    form: str = ""

    @property
    def is_locked(self) -> bool:
        """Does it come at once whatever she says?"""
        return self.origin.startswith("lock:")


class Line(NamedTuple):
    """A scope, or a preset; `is_ticked` is None for a scope."""

    key: str
    title: str
    explanation: str
    cells: tuple[Cell, ...]
    per_week: int
    is_ticked: bool | None = None


class Group(NamedTuple):
    """Lines under one heading."""

    title: str
    lines: list[Line]


class GroupLine(NamedTuple):
    """A group of hers, and by which ways she takes what comes through it alone."""

    name: str
    cells: tuple[tuple[str, bool], ...]


def group_lines(wishes: Wishes, ways: Sequence[Way]) -> list[GroupLine]:
    """All her groups, and those that she speaks of without being in them; the inbox has what comes through any."""
    accepts = wishes.profile.wants.accepts
    agents = [way.agent for way in ways if way.agent != ALWAYS]
    names = sorted({*wishes.row.groups, *accepts})
    return [GroupLine(name, tuple((agent, name not in accepts or agent in accepts[name]) for agent in agents)) for name in names]


def preset_groups(presets: Iterable[Preset], wishes: Wishes, ways: Sequence[Way], week: Week) -> list[Group]:
    """The site's presets under their groups, in the site's order."""
    groups: dict[str, list[Line]] = {}
    for preset in presets:
        ticked = next((rule for rule in wishes.profile.wants.rules if rule.origin == origin_of(preset.preset_id)), None)
        cells = tuple(_preset_cell(way.agent, ticked) for way in ways)
        per_week = week.by_rule.get(preset.rule.rule_id, 0)
        line = Line(preset.preset_id, preset.title, preset.explanation, cells, per_week, ticked is not None)
        groups.setdefault(preset.group, []).append(line)
    return [Group(title, lines) for title, lines in groups.items()]


def _preset_cell(agent: str, ticked: Rule | None) -> Cell:
    """A final rule settles all agents: those that it does not name are off, but for the inbox."""
    if ticked is None:
        return Cell(agent, "", "")
    said = _said(ticked.statements, agent)
    return said._replace(usual=OFF if ticked.is_final and agent != "web" else "")


def _said(statements: Statements | None, agent: str) -> Cell:
    treatments = (statements or {}).get(agent, ())
    plain = next((treatment for treatment in treatments if not treatment.address), None)
    return Cell(agent, plain.when if plain else "", "", others=len(treatments) - (plain is not None), form=plain.form if plain else "")


def scope_line(scope: str, wishes: Wishes, site: Site, ways: Sequence[Way], title: str = "", explanation: str = "", per_week: int = 0) -> Line:
    """A type, `*`, or UNKNOWN."""
    return Line(scope, title, explanation, scope_cells(scope, wishes, site, [way.agent for way in ways]), per_week)


def scope_cells(scope: str, wishes: Wishes, site: Site, agents: Iterable[str]) -> tuple[Cell, ...]:
    """What she says for a scope, and what holds where she says nothing."""
    wants = wishes.profile.wants
    said = wants.unknown if scope == UNKNOWN else wants.preferences.get(scope)
    # What a type falls back to that nobody spoke of: the same as a type of no scope.
    key, own = (ANY_TYPE, "unknown") if scope == UNKNOWN else (scope, f"preference:{scope}")
    usual = effective(wishes.profile, site, key, without=own)
    cells = []
    for agent in agents:
        found = usual.get(agent, {})
        cells.append(_said(said, agent)._replace(usual=found.get("when", OFF), origin=found.get("from", "")))
    return tuple(cells)


def main_types(wishes: Wishes, site: Site, week: Week) -> list[str]:
    """The types of which the site or she herself says something, then those with the most messages; at most so many."""
    named = dict.fromkeys([*site.preferences, *site.audience, *wishes.profile.wants.preferences])
    busiest = sorted((key for key in week.by_type if key != ANY_TYPE and key not in named), key=lambda key: (-week.by_type[key], key))
    parents = {key.rpartition(".")[0] for key in week.by_type}
    leaves = [key for key in busiest if key not in parents][:8]
    found = [key for key in named if key != ANY_TYPE][: MOST_TYPES - len(leaves)] + leaves
    return sorted(found)


def type_groups(
    keys: Iterable[str], wishes: Wishes, site: Site, ways: Sequence[Way], week: Week, known: Mapping[str, MessageType], language: str
) -> list[Group]:
    """Types under the first word of their name."""
    groups: dict[str, list[Line]] = {}
    for key in keys:
        root = key.partition(".")[0]
        title, explanation = label_of(known.get(key), language), _described(known.get(key), language)
        line = scope_line(key, wishes, site, ways, title, explanation, week.by_type.get(key, 0))
        groups.setdefault(root, []).append(line)
    return [Group(label_of(known.get(root), language) or root, lines) for root, lines in groups.items()]


def label_of(entry: MessageType | None, language: str) -> str:
    """What the operator calls a type, "" where she says nothing."""
    return _in_language(entry.labels, language) if entry is not None else ""


def _described(entry: MessageType | None, language: str) -> str:
    return _in_language(entry.descriptions, language) if entry is not None else ""


def _in_language(texts: Mapping[str, str], language: str) -> str:
    return texts.get(language) or texts.get(language.partition("-")[0]) or texts.get("en", "")


class Beyond(NamedTuple):
    """What the grid can't show: types of hers that it leaves out, rules made by hand, statements for single addresses."""

    types: int
    rules: int
    addresses: int


def beyond(wishes: Wishes, shown: Iterable[str], presets: Mapping[str, Preset]) -> Beyond:
    """Counted, to be linked."""
    wants = wishes.profile.wants
    origins = {origin_of(preset_id) for preset_id in presets}
    of_addresses = sum(
        1 for said in (*wants.preferences.values(), wants.unknown) for treatments in said.values() for treatment in treatments if treatment.address
    )
    return Beyond(len(set(wants.preferences) - set(shown) - {ANY_TYPE}), sum(rule.origin not in origins for rule in wants.rules), of_addresses)
