"""Parts of what a person wants, one by one: a scope, the unknown, schedules, quiet hours, paused agents; and undo."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Response
from pydantic import Field

from angelia.flow.wants import change_wants
from angelia.flow.wishes import next_times, schedules_of, undo_wants, wishes_of
from angelia.model.errors import InvalidInput, NotFound
from angelia.model.message import checked_type
from angelia.model.moments import to_text
from angelia.model.person import Person
from angelia.model.preference import ANY_TYPE
from angelia.model.schedule import WEEKDAYS, Schedule
from angelia.planning import editing
from angelia.web.access import House, Reading, Writing
from angelia.web.context import Context
from angelia.web.forms import Strict
from angelia.web.wants import version_of

router = APIRouter(prefix="/api/v1/people/{login}", tags=["person"])
Body = dict[str, Any]
IfMatch = Annotated[str | None, Header()]
GroupName = Annotated[str, Path(max_length=128)]


class Taken(Strict):
    """The agents by which she takes something."""

    agents: list[Annotated[str, Field(max_length=64)]] = Field(max_length=100)


async def changed(house: Context, person: Person, change: Callable[[Body], None], if_match: str | None = None) -> int:
    """Change her document, of one version only where If-Match names it. The new version."""
    version = await change_wants(house.store, person.login, change, house.site(), house.now(), version_of(if_match))
    house.changed("people")
    return version


async def _answer(response: Response, house: Context, person: Person, change: Callable[[Body], None], if_match: str | None) -> Body:
    version = await changed(house, person, change, if_match)
    response.headers["ETag"] = f'"{version}"'
    return {"version": version}


def scope_of(text: str) -> str:
    """A type in its stored form, or `*` for all."""
    return text if text == ANY_TYPE else checked_type(text)


@router.post("/preferences/undo")
async def undo(person: Writing, house: House, response: Response, if_match: IfMatch = None) -> Body:
    """Take the last change back; If-Match names the version that it made. Undone twice is done again."""
    version = version_of(if_match)
    if version is None:
        raise InvalidInput("If-Match names the version whose change is to be taken back", "if-match")
    made = await undo_wants(house.store, person.login, version, house.site(), house.now())
    house.changed("people")
    response.headers["ETag"] = f'"{made}"'
    return {"version": made}


@router.get("/preferences/scopes/{scope}")
async def scope(scope: str, person: Reading, house: House, response: Response) -> Body:
    """What she says for one type, or for all (`*`); empty where she says nothing. The ETag is the version of her document."""
    document, version = await house.store.wants(person.login)
    response.headers["ETag"] = f'"{version}"'
    return dict(editing.statements_of(document, scope_of(scope)))


@router.put("/preferences/scopes/{scope}")
async def put_scope(scope: str, statements: Body, person: Writing, house: House, response: Response, if_match: IfMatch = None) -> Body:
    """Replace what she says for it: `{"mail": "daily", "web": {"when": "now", "form": "short"}}`."""
    key = scope_of(scope)
    return await _answer(response, house, person, lambda document: editing.put_statements(document, key, statements), if_match)


@router.delete("/preferences/scopes/{scope}", status_code=204)
async def delete_scope(scope: str, person: Writing, house: House, if_match: IfMatch = None) -> None:
    """Say nothing for it: it inherits."""
    key = scope_of(scope)
    await changed(house, person, lambda document: editing.put_statements(document, key, {}), if_match)


@router.put("/preferences/unknown")
async def put_unknown(statements: Body, person: Writing, house: House, response: Response, if_match: IfMatch = None) -> Body:
    """What she wants of types of which neither she nor the site has said anything."""
    return await _answer(response, house, person, lambda document: editing.put_statements(document, editing.UNKNOWN, statements), if_match)


@router.delete("/preferences/unknown", status_code=204)
async def delete_unknown(person: Writing, house: House, if_match: IfMatch = None) -> None:
    """As the site has it."""
    await changed(house, person, lambda document: editing.put_statements(document, editing.UNKNOWN, {}), if_match)


@router.put("/preferences/groups/{group}")
async def put_group(group: GroupName, taken: Taken, person: Writing, house: House, response: Response, if_match: IfMatch = None) -> Body:
    """By which agents she takes what comes through this group alone: `{"agents": ["mail"]}`. The inbox always has it."""
    return await _answer(response, house, person, lambda document: editing.put_group(document, group, known_agents(house, taken.agents)), if_match)


@router.delete("/preferences/groups/{group}", status_code=204)
async def delete_group(group: GroupName, person: Writing, house: House, if_match: IfMatch = None) -> None:
    """By all."""
    await changed(house, person, lambda document: editing.put_group(document, group, None), if_match)


def known_agents(house: Context, agents: Iterable[str]) -> list[str]:
    """Agents of this hub, in order; InvalidInput for others."""
    if unknown := sorted(set(agents) - house.agents.keys()):
        raise InvalidInput("this hub has no such agent", unknown[0])
    return sorted(set(agents))


@router.put("/paused/{agent}")
async def pause(agent: str, person: Writing, house: House, response: Response, if_match: IfMatch = None) -> Body:
    """Nothing goes by this agent until she resumes it; what waits is dropped."""
    return await _answer(response, house, person, lambda document: editing.put_member(document, "paused", agent, is_in=True), if_match)


@router.delete("/paused/{agent}", status_code=204)
async def resume(agent: str, person: Writing, house: House, if_match: IfMatch = None) -> None:
    """Let it go on."""
    await changed(house, person, lambda document: editing.put_member(document, "paused", agent, is_in=False), if_match)


@router.get("/schedules")
async def schedules(person: Reading, house: House) -> Body:
    """The schedules that she may name, the site's and her own, with their next times."""
    site = house.site()
    found = await wishes_of(house.store, person, site)
    own = found.profile.wants.schedules
    return {
        "items": [
            {
                "name": name,
                "is_own": name in own,
                **schedule_out(schedule),
                "next_at": [to_text(at) for at in next_times(schedule, found.profile, house.now())],
            }
            for name, schedule in schedules_of(found.profile, site).items()
        ]
    }


def schedule_out(schedule: Schedule) -> Body:
    """A schedule as a document holds it."""
    days: list[Any] = [WEEKDAYS[day] for day in schedule.on] if schedule.every == "week" else list(schedule.on)
    return {"every": schedule.every, "at": [f"{at:%H:%M}" for at in schedule.at]} | ({"on": days} if days else {})


@router.put("/schedules/{name}")
async def put_schedule(name: str, schedule: Body, person: Writing, house: House, response: Response, if_match: IfMatch = None) -> Body:
    """A schedule of her own: `{"every": "week", "at": ["08:00"], "on": ["mon", "thu"]}`."""
    return await _answer(response, house, person, lambda document: editing.put_entry(document, "schedules", name, schedule), if_match)


@router.delete("/schedules/{name}", status_code=204)
async def delete_schedule(name: str, person: Writing, house: House, if_match: IfMatch = None) -> None:
    """It must not be named by anything, unless the site has one of the same name."""

    def change(document: Body) -> None:
        if name not in document.get("schedules", {}):
            raise NotFound("there is no such schedule of hers")
        if name not in house.site().schedules and name in editing.named_schedules(document):
            raise InvalidInput(f"{name!r} is still used by a preference or a rule; change those first", f"schedules.{name}")
        editing.put_entry(document, "schedules", name, None)

    await changed(house, person, change, if_match)


@router.put("/quiet")
async def put_quiet(quiet: Body, person: Writing, house: House, response: Response, if_match: IfMatch = None) -> Body:
    """Quiet hours: `{"start": "22:00", "end": "07:00", "days": ["mon", "tue"]}`; without days every night."""
    return await _answer(response, house, person, lambda document: document.update(quiet=quiet), if_match)


@router.delete("/quiet", status_code=204)
async def delete_quiet(person: Writing, house: House, if_match: IfMatch = None) -> None:
    """No quiet hours."""
    await changed(house, person, lambda document: _without(document, "quiet"), if_match)


def _without(document: Body, field: str) -> None:
    document.pop(field, None)
