"""Messages and why they came: the reading side of /api/v1/messages."""

from typing import Any

from fastapi import APIRouter

from angelia.flow.explain import explain
from angelia.flow.rights import is_open_to, may_see
from angelia.model.errors import Forbidden, NotFound
from angelia.model.message import Message
from angelia.model.moments import public_id
from angelia.store import Store
from angelia.web.access import House, Known
from angelia.web.forms import Limit, number
from angelia.web.paging import PagedRoute, page_of
from angelia.web.shapes import message_out
from angelia.wire.callers import Caller
from angelia.wire.fields import message_schema

router = APIRouter(prefix="/api/v1/messages", tags=["messages"], route_class=PagedRoute)


def check_reading(caller: Caller) -> None:
    """Forbidden with a token of a person that is good for posting only."""
    if caller.source is None and not caller.may_read:
        raise Forbidden("this token may not read")


async def visible(store: Store, message_id: int, caller: Caller) -> Message:
    """A message that the caller posted, got, or may see as an administrator; to others it is not there."""
    check_reading(caller)
    message = (await store.messages([message_id])).get(message_id)
    if message is not None:
        if caller.is_admin or (caller.source is not None and caller.name == message.source):
            return message
        person = caller.person
        if person is not None and await store.ledger_row(message_id, person.person_id) and await may_see(store, message, person.person_id):
            return message
    raise NotFound("there is no such message")


@router.get("/schema")
async def schema() -> dict[str, Any]:
    """The JSON schema of a posted message."""
    return message_schema()


@router.get("")
async def list_messages(caller: Known, house: House, type: str = "", source: str = "", after: str = "", limit: Limit = 100) -> dict[str, Any]:
    """Newest first: hers for a person, its own for a source, all for an administrator. `after` is the last id of the page before. What she may not
    see any more is left out, so a page can be shorter than `limit` where others follow.
    """
    check_reading(caller)
    if caller.source is not None:
        source = caller.name
    person_id = caller.person.person_id if caller.person is not None and not caller.is_admin else None
    found = await house.store.list_messages(
        person_id=person_id, subtree=type.lower(), source=source, before_id=number("msg", after, "after") if after else None, limit=limit + 1
    )
    shown, following = page_of(found, limit, lambda message: public_id("msg", message.message_id))
    if person_id is not None:
        names = await house.store.names_of(person_id)
        shown = [message for message in shown if is_open_to(message, names)]
    return {"items": [message_out(message) for message in shown], "next": following}


@router.get("/{message_id}")
async def message(message_id: str, caller: Known, house: House) -> dict[str, Any]:
    """One message. Its sender and administrators are told which of its recipients nobody here is, as `unknown` (requirement H-34)."""
    found = await visible(house.store, number("msg", message_id), caller)
    if caller.source is None and not caller.is_admin:
        return message_out(found)
    names = [recipient.principal for recipient in found.recipients]
    known = await house.store.person_ids(names) if names else {}
    return message_out(found) | {"unknown": [name for name in dict.fromkeys(names) if name not in known]}


@router.get("/{message_id}/why")
async def why(message_id: str, caller: Known, house: House, login: str = "") -> dict[str, Any]:
    """Why somebody got or did not get it; for oneself, and for anybody as an administrator, with an entry in the audit log."""
    check_reading(caller)
    key = number("msg", message_id)
    if not login or login == "me":
        login = caller.person.login if caller.person is not None else ""
    is_own = caller.person is not None and caller.person.login == login
    if not is_own and not caller.is_admin:
        raise NotFound("there is no such message")
    person = await house.store.person(login)
    message = (await house.store.messages([key])).get(key)
    if person is None or message is None:
        raise NotFound("there is no such person" if person is None else "there is no such message")
    row = await house.store.ledger_row(key, person.person_id)
    if message.is_restricted and not caller.is_admin and (row is None or not await may_see(house.store, message, person.person_id)):
        raise NotFound("there is no such message")
    if not is_own:
        await house.store.audit(caller.name, "explain", login, {"message": message_id}, house.now())
    return await explain(house.store, message, person)
