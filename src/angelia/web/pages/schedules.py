"""Schedules and quiet hours: when things may go, in her own zone, with the next times at once."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from pydantic import BaseModel, Field

from angelia.flow.wishes import next_times, wishes_of
from angelia.model.errors import InvalidInput
from angelia.model.schedule import EVERY, WEEKDAYS, Schedule
from angelia.planning import editing
from angelia.planning.document import parse_wants
from angelia.web.access import House
from angelia.web.context import Context
from angelia.web.pages.wishes import Wrong, back, choices_of, slot_texts, wish_page, wrong_of
from angelia.web.signin.guard import Visiting, Visitor
from angelia.web.wishes import changed, delete_quiet, delete_schedule

router = APIRouter(include_in_schema=False)
Line = Annotated[str, Field(max_length=255)]
Text = Annotated[str, Form(max_length=1_024)]


class ScheduleFields(BaseModel):
    """A schedule as typed: times as in "08:00, 17:30", days of a month as in "1, 15"."""

    name: Line = ""
    every: Line = "day"
    at: Line = ""
    on: list[Line] = Field(default_factory=list, max_length=7)
    dates: Line = ""
    act: Line = "save"

    def document(self) -> dict[str, Any]:
        """As a document holds it."""
        made: dict[str, Any] = {"every": self.every}
        if times := _split(self.at):
            made["at"] = [f"00:{text.removeprefix(':').zfill(2)}" if self.every == "hour" and ":" not in text[1:] else text for text in times]
        if self.every == "week" and self.on:
            made["on"] = self.on
        if self.every == "month" and self.dates.strip():
            made["on"] = [int(text) if text.isascii() and text.isdigit() else text for text in _split(self.dates)]
        return made


class QuietFields(BaseModel):
    """Quiet hours as typed."""

    start: Line = ""
    end: Line = ""
    days: list[Line] = Field(default_factory=list, max_length=7)

    def document(self) -> dict[str, Any]:
        """As a document holds it; no day ticked, or all, is every day."""
        made: dict[str, Any] = {"start": self.start, "end": self.end}
        return made | ({"days": self.days} if self.days and set(self.days) != set(WEEKDAYS) else {})


def _split(text: str) -> list[str]:
    return text.replace(",", " ").replace(";", " ").split()


@router.get("/schedules")
async def schedules(request: Request, visitor: Visiting, house: House, edit: str = "") -> Response:
    """All of them, and the quiet hours; `edit` fills the form with one of hers."""
    return await _page(request, visitor, house, edit=edit)


async def _page(
    request: Request,
    visitor: Visitor,
    house: Context,
    *,
    edit: str = "",
    wrong: Wrong | None = None,
    typed: ScheduleFields | None = None,
    quiet: QuietFields | None = None,
) -> Response:
    site, now = house.site(), house.now()
    wishes = await wishes_of(house.store, visitor.person, site)
    choices = choices_of(wishes, house)
    shown = typed or _fields_of(choices.get(edit))
    preview: list[str] = []
    if typed is not None and wrong is None:
        preview = slot_texts(request, visitor, next_times(Schedule.parse(typed.name, typed.document()), wishes.profile, now, 5))
    return await wish_page(
        request,
        visitor,
        house,
        "schedules.html",
        wishes,
        wrong=wrong,
        listed=[(schedule, slot_texts(request, visitor, next_times(schedule, wishes.profile, now))) for schedule in choices.values()],
        typed=shown,
        preview=preview,
        every=EVERY,
        weekdays=WEEKDAYS,
        quiet=quiet or _quiet_of(wishes.profile.wants.quiet),
    )


def _fields_of(schedule: Schedule | None) -> ScheduleFields:
    if schedule is None:
        return ScheduleFields()
    on = [WEEKDAYS[day] for day in schedule.on] if schedule.every == "week" else []
    dates = ", ".join(map(str, schedule.on)) if schedule.every == "month" else ""
    return ScheduleFields(name=schedule.name, every=schedule.every, at=", ".join(f"{at:%H:%M}" for at in schedule.at), on=on, dates=dates)


def _quiet_of(quiet: Any) -> QuietFields:
    if quiet is None:
        return QuietFields(start="22:00", end="07:00", days=list(WEEKDAYS))
    return QuietFields(start=f"{quiet.start:%H:%M}", end=f"{quiet.end:%H:%M}", days=[WEEKDAYS[day] for day in sorted(quiet.weekdays)])


@router.post("/schedules")
async def put(request: Request, visitor: Visiting, house: House, fields: Annotated[ScheduleFields, Form()]) -> Response:
    """Save it, or only show its next times."""
    name = fields.name.strip()
    try:
        # The same check that saving makes, so that a preview never promises what can't be saved.
        parse_wants({"schedules": {name: fields.document()}} if name or fields.act == "save" else {"schedules": {"it": fields.document()}})
        if fields.act != "save":
            return await _page(request, visitor, house, typed=fields)
        version = await changed(house, visitor.person, lambda document: editing.put_entry(document, "schedules", name, fields.document()))
    except InvalidInput as error:
        return await _page(request, visitor, house, wrong=wrong_of(error), typed=fields)
    return back("", visitor.at("/schedules"), version)


@router.post("/schedules/delete")
async def delete(request: Request, visitor: Visiting, house: House, name: Text) -> Response:
    """Remove one of hers, if nothing names it."""
    try:
        await delete_schedule(name, visitor.person, house)
    except InvalidInput as error:
        return await _page(request, visitor, house, wrong=wrong_of(error))
    _, version = await house.store.wants(visitor.person.login)
    return back("", visitor.at("/schedules"), version)


@router.post("/schedules/quiet")
async def put_quiet(request: Request, visitor: Visiting, house: House, fields: Annotated[QuietFields, Form()]) -> Response:
    """Set the quiet hours."""
    try:
        version = await changed(house, visitor.person, lambda document: document.update(quiet=fields.document()))
    except InvalidInput as error:
        return await _page(request, visitor, house, wrong=wrong_of(error), quiet=fields)
    return back("", visitor.at("/schedules"), version)


@router.post("/schedules/quiet/delete")
async def end_quiet(visitor: Visiting, house: House) -> Response:
    """No quiet hours."""
    await delete_quiet(visitor.person, house)
    _, version = await house.store.wants(visitor.person.login)
    return back("", visitor.at("/schedules"), version)
