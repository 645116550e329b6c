"""One message: what it says, why it came, by which ways, and what to do about the like of it."""

from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from angelia.flow.explain import answers_of, explain
from angelia.model.delivery import State
from angelia.model.errors import InvalidInput, NotFound
from angelia.model.message import Severity
from angelia.model.moments import number_of, public_id, to_text
from angelia.store import InboxItem, InboxQuery
from angelia.web.access import House
from angelia.web.context import Context
from angelia.web.inbox import entry_of, seen_by
from angelia.web.pages.kit import page
from angelia.web.pages.marking import CHANGES, mark_until
from angelia.web.signin.guard import Visiting, Visitor
from angelia.web.wants import follow, mute, mute_of, unfollow, unmute, with_ids

router = APIRouter(include_in_schema=False)
ACTS = {"mute": "unmute", "mute-week": "unmute", "mute-fully": "unmute", "unmute": "mute", "follow": "unfollow", "unfollow": "follow"}
"""What can be done with an object, and what takes it back."""
WEEK = timedelta(days=7)


@router.get("/inbox/{delivery_id}")
async def message(request: Request, visitor: Visiting, house: House, delivery_id: str, did: str = "") -> Response:
    """The message. Looking changes nothing: that it is read, the open page says by itself."""
    if (message_id := number_of("msg", delivery_id)) is not None:
        return RedirectResponse(await _place_of(house, visitor, message_id), 303)
    item = await entry_of(house, visitor.person, delivery_id)
    document, _ = await house.store.wants(visitor.person.login)
    muted = mute_of(document, item.message.object, house.now())
    follows: Any = document.get("follows", ())
    around = await _around(house, visitor, item)
    answers = await answers_of(house.store, item.message.message_id, visitor.person)
    return page(
        request,
        visitor,
        "message.html",
        item=item,
        message=item.message,
        trail=await house.store.trail(item.message.message_id, visitor.person.person_id),
        why=await explain(house.store, item.message, visitor.person),
        answers=answers,
        escalated=await house.store.escalation(item.message.message_id, visitor.person.person_id),
        is_pressing=item.message.severity >= Severity.HIGH,
        is_acknowledged=any(one.person_id == visitor.person.person_id and one.acknowledged_at for _, one in answers),
        muted=muted,
        names={rule["id"]: str(rule.get("name") or rule["id"]) for rule in with_ids(dict(document))},
        is_followed=item.message.object in follows,
        here=f"/inbox/{delivery_id}",
        url=item.message.object_url if item.message.object_url.lower().startswith(("https://", "http://")) else "",
        did=did if did in ACTS or did == "unread" else "",
        back=ACTS.get(did, ""),
        **around,
    )


async def _place_of(house: Context, visitor: Visitor, message_id: int) -> str:
    """The entry of a message, by whose own name it is called where no entry was known; else why there is none, if it came to her at all."""
    trail = await house.store.trail(message_id, visitor.person.person_id)
    if not trail:
        raise NotFound("there is no such message")
    shown = [delivery.delivery_id for delivery in trail if delivery.agent == InboxQuery().agent and delivery.state is State.DELIVERED]
    return f"/inbox/{public_id('dlv', shown[0])}" if shown else f"/why/{public_id('msg', message_id)}"


async def _around(house: Context, visitor: Visitor, item: InboxItem) -> dict[str, Any]:
    """The entries before and after it in its thread, else of its object, in time."""
    said = item.message
    if not (said.thread or said.object):
        return {"earlier": None, "later": None}
    same = InboxQuery(state="all", thread=said.thread, object_ref="" if said.thread else said.object, limit=1)
    same = await seen_by(house, visitor.person, same)
    earlier = await house.store.inbox(visitor.person.person_id, replace(same, before_id=item.delivery_id))
    later = await house.store.inbox(visitor.person.person_id, replace(same, after_id=item.delivery_id, is_newest_first=False))
    return {name: public_id("dlv", found[0].delivery_id) if found else None for name, found in (("earlier", earlier), ("later", later))}


@router.post("/inbox/{delivery_id}/mark")
async def mark_it(
    request: Request,
    visitor: Visiting,
    house: House,
    delivery_id: str,
    change: Annotated[str, Form()] = "",
    later: Annotated[str, Form()] = "",
) -> Response:
    """One of CHANGES (that it is read, the open page says by itself), or she takes it over."""
    if change not in (*CHANGES, "acknowledge"):
        raise InvalidInput("this is no way to mark a message", "change")
    item = await entry_of(house, visitor.person, delivery_id)
    if change == "acknowledge":
        await house.answers.acknowledge(visitor.person.person_id, [item.message.message_id], "web")
        return RedirectResponse(f"/inbox/{delivery_id}", 303)
    is_by_itself = change == "read" and "hx-request" in request.headers
    view = InboxQuery(state="all")
    marked = await mark_until(house, visitor.person, view, [item.delivery_id], change, later, is_undoable=not is_by_itself)
    if is_by_itself:
        return Response(status_code=204)
    if change in ("read", "unarchive", "unsnooze"):
        return RedirectResponse(f"/inbox/{delivery_id}", 303)
    return RedirectResponse(f"/inbox?did={change}&count={marked.changed}" + (f"&undo={marked.undo}" if marked.changed else ""), 303)


@router.post("/inbox/{delivery_id}/object")
async def treat_object(visitor: Visiting, house: House, delivery_id: str, act: Annotated[str, Form()] = "") -> Response:
    """Mute or follow its object, or no more; then back, with a way to take it back."""
    item = await entry_of(house, visitor.person, delivery_id)
    about = item.message.object
    if act not in ACTS or not about:
        raise InvalidInput("this can't be done with this message", "act")
    match act:
        case "mute":
            await mute(about, visitor.person, house)
        case "mute-week":
            await mute(about, visitor.person, house, until=to_text(house.now() + WEEK))
        case "mute-fully":
            await mute(about, visitor.person, house, "full")
        case "unmute":
            await unmute(about, visitor.person, house)
        case "follow":
            await follow(about, visitor.person, house)
        case "unfollow":
            await unfollow(about, visitor.person, house)
    return RedirectResponse(f"/inbox/{delivery_id}?did={act}", 303)
