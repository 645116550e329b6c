"""What all pages of a person's wishes share: her document, the columns, what was just saved and how to take it back."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

from babel.dates import format_skeleton, format_time, get_day_names
from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from angelia.flow.profiles import zone_of
from angelia.flow.wishes import Wishes, schedules_of, wishes_of
from angelia.model.errors import InvalidInput
from angelia.model.schedule import Schedule
from angelia.web.access import context_of
from angelia.web.context import Context
from angelia.web.pages.kit import page
from angelia.web.pages.languages import language_of
from angelia.web.signin.guard import Visitor, local_place

_NOTED = frozenset({"saved", "undone"})


class Way(NamedTuple):
    """A column: one agent, whether it reaches her, whether she paused it, whether it interrupts."""

    agent: str
    is_reachable: bool
    is_paused: bool
    is_interruptive: bool


class Wrong(NamedTuple):
    """What was wrong with what she sent: the field, in words."""

    field: str
    text: str


def wrong_of(error: InvalidInput) -> Wrong:
    """For the page that is shown again."""
    return Wrong(error.field, str(error))


def ways_of(house: Context, wishes: Wishes) -> list[Way]:
    """All agents of the hub: those that reach her first, the inbox before all, what she must fetch last."""
    profile, site = wishes.profile, house.site()
    ways = [Way(agent, agent in profile.reachable, agent in profile.wants.paused, agent in site.interruptive) for agent in house.agents]
    return sorted(ways, key=lambda way: (not way.is_reachable, way.agent != "web", way.agent in site.pull))


def columns_of(ways: Sequence[Way], wishes: Wishes) -> list[Way]:
    """Those that stand in tables: what reaches her, what she paused, and what she has said anything of; a site may know a dozen more."""
    wants = wishes.profile.wants
    said = [*wants.preferences.values(), wants.unknown, *(rule.statements for rule in wants.rules)]
    spoken = {agent for statements in said for agent in statements}
    return [way for way in ways if way.is_reachable or way.is_paused or way.agent in spoken]


def known_agent(house: Context, target: str) -> str:
    """An agent of this hub, or one with an address (`mail:alice@example.org`)."""
    if target.partition(":")[0] not in house.agents:
        raise InvalidInput("this hub has no such agent", "agent")
    return target


def choices_of(wishes: Wishes, house: Context) -> Mapping[str, Schedule]:
    """The schedules to choose from, by name."""
    return schedules_of(wishes.profile, house.site())


def day_names(request: Request, visitor: Visitor) -> list[str]:
    """Monday to Sunday in her language."""
    names = get_day_names("abbreviated", locale=language_of(request, visitor).replace("-", "_"))
    return [names[day] for day in range(7)]


def slot_texts(request: Request, visitor: Visitor, slots: Iterable[datetime]) -> list[str]:
    """Times with their weekday, in her zone and language, without seconds: `Thu, Nov 26, 8:00 AM`."""
    locale, zone = language_of(request, visitor).replace("-", "_"), zone_of(visitor.person.time_zone)
    local = [slot.astimezone(zone) for slot in slots]
    this_year = context_of(request).now().astimezone(zone).year
    days = [format_skeleton("MMMEd" if slot.year == this_year else "yMMMEd", slot, locale=locale) for slot in local]
    return [f"{day}, {format_time(slot, 'short', locale=locale)}" for day, slot in zip(days, local, strict=True)]


async def wish_page(
    request: Request, visitor: Visitor, house: Context, template: str, wishes: Wishes | None = None, *, wrong: Wrong | None = None, **values: Any
) -> Response:
    """A page of wishes; with something wrong it is a 422 that says so."""
    wishes = wishes or await wishes_of(house.store, visitor.person, house.site())
    ways = ways_of(house, wishes)
    saved = request.query_params.get("saved", "")
    shared = {
        "wishes": wishes,
        "wants": wishes.profile.wants,
        "ways": ways,
        "columns": columns_of(ways, wishes),
        "choices": choices_of(wishes, house),
        "view": _view(request),
        "saved": wishes.version if saved == str(wishes.version) and wrong is None else 0,
        "is_undone": "undone" in request.query_params,
        "wrong": wrong,
        "typed": {},
        "day_names": day_names(request, visitor),
    }
    return page(request, visitor, template, 200 if wrong is None else 422, **(shared | values))


def _view(request: Request) -> str:
    """Where she is: the path with its query, but for what was just saved. After a change that was wrong, the place it came from."""
    query = urlencode([(name, value) for name, value in request.query_params.multi_items() if name not in _NOTED])
    return request.url.path + (f"?{query}" if query else "")


def back(view: str, room: str, version: int, *, is_undone: bool = False) -> Response:
    """To the view from which a change came, if it is one of ours; the page then offers to take it back."""
    place = local_place(view) if view else room
    path, _, query = (room if place == "/" else place).partition("?")
    kept = [(name, value) for name, value in parse_qsl(query) if name not in _NOTED]
    return RedirectResponse(f"{path}?{urlencode([*kept, ('saved', str(version)), *([('undone', '1')] if is_undone else [])])}", 303)
