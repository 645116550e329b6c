"""Why did I (not) get it: a message to pick, what was decided about it, by what, and where that can be changed."""

import re
from datetime import datetime
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from angelia.model.errors import InvalidInput, NotFound
from angelia.model.moments import number_of, public_id
from angelia.web.access import House
from angelia.web.context import Context
from angelia.web.messages import why as explained
from angelia.web.pages.kit import page
from angelia.web.rules import decisions, readable_rules
from angelia.web.signin.guard import Visiting, Visitor

router = APIRouter(include_in_schema=False)
Body = dict[str, Any]
_ID = re.compile(r"(?:msg|dlv)_[0-9a-z]{13}")


@router.get("/why")
async def pick(
    request: Request,
    visitor: Visiting,
    house: House,
    message: str = Query("", max_length=2_000),
    login: str = Query("", max_length=128),
    type: str = Query("", max_length=200),
    text: str = Query("", max_length=200),
    delivered: str = "",
    after: str = "",
) -> Response:
    """The list of what was decided for her, with filters; a message named by its id or its URL goes straight to its answer."""
    values: Body = {"message": message, "login": login, "type": type, "text": text, "delivered": delivered, "fault": "", "at": datetime.fromisoformat}
    if message.strip():
        try:
            key = await _key(house, visitor, message)
        except NotFound as error:
            return page(request, visitor, "why.html", 404, **(values | {"fault": str(error), "found": {"items": [], "next": None}}))
        whose = f"?login={quote(login.strip())}" if login.strip() else ""
        return RedirectResponse(f"/why/{key}{whose}", 303)
    if delivered not in ("", "yes", "no"):
        raise InvalidInput("delivered is yes, no or empty", "delivered")
    found = await decisions(visitor.person, house, type.strip(), text.strip(), delivered, after, 50)
    return page(request, visitor, "why.html", found=found, **values)


async def _key(house: Context, visitor: Visitor, text: str) -> str:
    """The message's id in what she gave: an id, or a URL that holds one; that of a delivery of hers leads to its message."""
    given = _ID.search(text)
    if given is None:
        raise NotFound("no message is named there: its id looks like msg_0123456789abc, and stands in its address")
    found = given.group()
    if found.startswith("msg_"):
        return found
    delivery_id = number_of("dlv", found)
    delivery = None if delivery_id is None else (await house.store.deliveries([delivery_id])).get(delivery_id)
    is_known = delivery is not None and (delivery.person_id == visitor.person.person_id or visitor.caller.is_admin)
    if delivery is None or not is_known or delivery.message_id is None:
        raise NotFound("there is no such message")
    return public_id("msg", delivery.message_id)


@router.get("/why/{message_id}")
async def why(request: Request, visitor: Visiting, house: House, message_id: str, login: str = Query("", max_length=128)) -> Response:
    """The answer for one message; for somebody else only where an administrator asks, which the audit log tells."""
    if message_id.startswith("dlv_"):
        return RedirectResponse(f"/why/{await _key(house, visitor, message_id)}", 303)
    answer: Body = dict(await explained(message_id, visitor.caller, house, login.strip()))
    found = number_of("msg", message_id)
    message = (await house.store.messages([found] if found is not None else []))[found or 0]
    is_own = answer["login"] == visitor.person.login
    agents = [(agent, said, place_of(said, message.type) if is_own else "") for agent, said in answer["agents"].items()]
    names = await _names_of_rules(house, answer["login"])
    shared = {"message": message, "answer": answer, "agents": agents, "names": names, "is_own": is_own, "login": login}
    return page(request, visitor, "why-one.html", at=datetime.fromisoformat, **shared)


async def _names_of_rules(house: Context, login: str) -> dict[str, str]:
    """By id, as far as they still exist and can be read."""
    document, _ = await house.store.wants(login)
    return {rule.rule_id: rule.name for rule in readable_rules(house, document)[0] if rule.name}


def place_of(said: Body, key: str) -> str:
    """Where she changes what spoke: the page of the rule, of the scope, of the absence; "" where there is nothing of hers to change."""
    by_reason = _BY_REASON.get(said["reason"])
    if by_reason is not None:
        return by_reason
    kind, _, value = said["decided_by"].partition(":")
    match kind:
        case "rule":
            return f"/rules/{quote(value, safe='')}"
        case "preference":
            return "/preferences" if value == "*" else f"/types?type={quote(value)}"
        case "site":
            return f"/types?type={quote(key)}"
        case "unknown":
            return "/preferences"
        case "mute":
            return "/follows"
    return ""


_BY_REASON = {
    "quiet_hours": "/schedules",
    "hold_kept": "/away",
    "hold_dropped": "/away",
    "hold_silent": "/away",
    "muted": "/follows",
    "muted_fully": "/follows",
    "paused": "/addresses",
    "no_verified_address": "/addresses",
    "group_not_accepted": "/preferences#groups",
    "test_traffic": "/preferences",
    "locked": "",
    "group_address": "",
    "own_action": "/rules/new",
}
