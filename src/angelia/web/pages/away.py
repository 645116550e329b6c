"""Away: a hold with its end, what becomes of which messages, and in words what will happen."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from pydantic import BaseModel, Field

from angelia.flow.profiles import zone_of
from angelia.flow.wishes import wishes_of
from angelia.model.errors import InvalidInput
from angelia.model.message import Severity
from angelia.model.preference import ANY_TYPE, Hold, HoldPolicy
from angelia.web.access import House
from angelia.web.context import Context
from angelia.web.pages.wishes import Wrong, back, slot_texts, wish_page, wrong_of
from angelia.web.signin.guard import Visiting, Visitor
from angelia.web.wants import end_hold, hold

router = APIRouter(include_in_schema=False)
Line = Annotated[str, Field(max_length=255)]
_SPARE = 2


class AwayFields(BaseModel):
    """A hold as typed: local times as a browser gives them; `type` and `policy` belong together by their order."""

    until: Line = ""
    since: Line = ""
    rest: Line = "keep"
    type: list[Line] = Field(default_factory=list, max_length=100)
    policy: list[Line] = Field(default_factory=list, max_length=100)
    pass_from: Line = "urgent"  # noqa: S105 - no password
    note: Annotated[str, Field(max_length=1_024)] = ""

    def document(self, zone: str) -> dict[str, Any]:
        """As a document holds it, with the zone that the times are meant in. InvalidInput names the field."""
        if not self.until:
            raise InvalidInput("say until when you are away", "hold.until")
        policy = {scope.strip().lower(): word for scope, word in zip(self.type, self.policy, strict=False) if scope.strip()}
        made: dict[str, Any] = {"until": _local(self.until, zone, "hold.until"), "pass_from": self.pass_from}
        made |= {"since": _local(self.since, zone, "hold.since")} if self.since else {}
        made |= {"note": self.note.strip()} if self.note.strip() else {}
        policy = policy if self.rest == HoldPolicy.KEEP else policy | {ANY_TYPE: self.rest}
        return made | ({"policy": policy} if policy else {})

    def lines(self) -> list[tuple[str, str]]:
        """Types with their policies, and some empty lines."""
        said = [(scope, word) for scope, word in zip(self.type, self.policy, strict=False) if scope.strip()]
        return said + [("", "drop")] * _SPARE


def _local(text: str, zone: str, field: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput("this is not a date and time such as 2026-03-20T08:00", field) from None
    if not 1970 < moment.year < 2200:
        raise InvalidInput("a time lies between 1970 and 2200", field)
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone_of(zone))).isoformat()


def _fields_of(settled: Hold | None, zone: str) -> AwayFields:
    if settled is None:
        return AwayFields()
    policy: Mapping[str, HoldPolicy] = settled.policy
    scopes = [scope for scope in policy if scope != ANY_TYPE]
    return AwayFields(
        until=_typed(settled.until, zone),
        since=_typed(settled.since, zone) if settled.since else "",
        rest=str(policy.get(ANY_TYPE, HoldPolicy.KEEP)),
        type=scopes,
        policy=[str(policy[scope]) for scope in scopes],
        pass_from=settled.pass_from.label,
        note=settled.note,
    )


def _typed(moment: datetime, zone: str) -> str:
    return f"{moment.astimezone(zone_of(zone)):%Y-%m-%dT%H:%M}"


@router.get("/away")
async def away(request: Request, visitor: Visiting, house: House) -> Response:
    """Is she away, what happens to her messages, and the form."""
    return await _page(request, visitor, house)


async def _page(request: Request, visitor: Visitor, house: Context, wrong: Wrong | None = None, typed: AwayFields | None = None) -> Response:
    wishes = await wishes_of(house.store, visitor.person, house.site())
    settled, now = wishes.profile.wants.hold, house.now()
    state = "none" if settled is None else "over" if now >= settled.until else "coming" if settled.since and now < settled.since else "away"
    until, since = ("", "") if settled is None else slot_texts(request, visitor, [settled.until, settled.since or settled.until])
    return await wish_page(
        request, visitor, house, "away.html", wishes, wrong=wrong,
        state=state, hold=settled, until=until, since=since, policies=[str(policy) for policy in HoldPolicy],
        severities=[severity.label for severity in Severity], typed=typed or _fields_of(settled, visitor.person.time_zone),
        types=[key for key, *_ in await house.store.user_types(visitor.person.person_id)][:500],
    )  # fmt: skip


@router.post("/away")
async def put(request: Request, visitor: Visiting, house: House, fields: Annotated[AwayFields, Form()]) -> Response:
    """Be away until then."""
    try:
        settled = fields.document(visitor.person.time_zone)
        if datetime.fromisoformat(settled["until"]) <= house.now():
            raise InvalidInput("this time is over; say one that comes", "hold.until")
        made = await hold(settled, visitor.person, house)
    except InvalidInput as error:
        return await _page(request, visitor, house, wrong_of(error), fields)
    return back("", visitor.at("/away"), made["version"])


@router.post("/away/end")
async def end(visitor: Visiting, house: House) -> Response:
    """She is back."""
    await end_hold(visitor.person, house)
    _, version = await house.store.wants(visitor.person.login)
    return back("", visitor.at("/away"), version)
