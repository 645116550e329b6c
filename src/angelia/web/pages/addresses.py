"""Where she can be reached: add, verify, pause, try, delete."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from angelia.agent import hears, shown_by
from angelia.flow.verification import PLACE, read_verification
from angelia.model.errors import AngeliaError, Conflict, Forbidden, InvalidInput, NotFound, RateLimited
from angelia.model.person import Address
from angelia.web.access import House
from angelia.web.addresses import CODES_A_DAY, add_address, change_address, delete_address, link_address, send_code, try_address, verify_address
from angelia.web.context import Context
from angelia.web.forms import AddressChange, Code, NewAddress, NewLink, RowId
from angelia.web.pages.forms import made, told
from angelia.web.pages.kit import page
from angelia.web.signin.guard import Visiting, Visitor

router = APIRouter(include_in_schema=False)
Typed = Annotated[str, Form()]
_DONE = frozenset({"added", "vouched", "sent", "verified", "paused", "ok", "default", "tested", "deleted"})
_CHANGES: dict[str, dict[str, Any]] = {"pause": {"state": "paused"}, "resume": {"state": "ok"}, "default": {"is_default": True}}


async def _shown(request: Request, visitor: Visitor, house: Context, status: int = 200, **values: Any) -> Response:
    addresses = await house.store.addresses(visitor.person.person_id)
    agents = {name: agent for name, agent in sorted(house.agents.items(), key=lambda entry: (entry[0] != "mail", entry[0])) if not agent.is_pull}
    browser_keys = {name: key for name, agent in agents.items() if (key := getattr(agent, "browser_key", ""))}
    names = {address.address_id: _name(house, address) for address in addresses}
    shared: dict[str, Any] = {
        "names": names,
        "browser_keys": browser_keys,
        "problem": None,
        "at": 0,
        "done": "",
        "typed": {},
        "most_codes": CODES_A_DAY,
        "hearing": frozenset(name for name, agent in agents.items() if hears(agent) is not None),
        "linked": None,
    }
    return page(request, visitor, "addresses.html", status, **(shared | {"addresses": addresses, "agents": agents} | values))


def _name(house: Context, address: Address) -> str:
    return shown_by(house.agents.get(address.agent), address.value)


@router.get("/addresses")
async def addresses(request: Request, visitor: Visiting, house: House, done: str = "", at: str = "") -> Response:
    """The list; `done` and `at` say what has just happened, and to which."""
    place = int(at) if at.isascii() and at.isdigit() and len(at) < 19 else 0
    return await _shown(request, visitor, house, done=done if done in _DONE else "", at=place)


@router.post("/addresses")
async def add(request: Request, visitor: Visiting, house: House, agent: Typed = "", value: Typed = "", vouched: Typed = "") -> Response:
    """A new one, and a code to it at once; none where an administrator vouches for an address of somebody else."""
    is_vouched = bool(vouched) and visitor.is_for_another
    try:
        form = made(NewAddress, agent=agent, value=value.strip(), is_verified=is_vouched)
        address = await add_address(form, visitor.person, visitor.caller, house)
    except (InvalidInput, Conflict) as error:
        return await _shown(request, visitor, house, typed={"agent": agent, "value": value[:255]}, **told(error))
    if is_vouched:
        return _back(visitor, "vouched", address["id"])
    return await _with_code(request, visitor, house, address["id"], "added")


async def _with_code(request: Request, visitor: Visitor, house: Context, address_id: int, done: str) -> Response:
    try:
        await send_code(address_id, visitor.person, house)
    except NotFound:
        raise
    except AngeliaError as error:
        return await _shown(request, visitor, house, at=address_id, **told(error))
    return _back(visitor, done, address_id)


def _back(visitor: Visitor, done: str, address_id: int) -> Response:
    return RedirectResponse(visitor.at(f"/addresses?done={done}&at={address_id}#address-{address_id}"), 303)


@router.post("/addresses/link")
async def link(request: Request, visitor: Visiting, house: House, agent: Annotated[str, Form()] = "") -> Response:
    """A code to write at the other end; it is shown once."""
    try:
        linked = await link_address(made(NewLink, agent=agent), visitor.person, visitor.caller, house)
    except (InvalidInput, RateLimited) as error:
        return await _shown(request, visitor, house, **told(error))
    answer = await _shown(request, visitor, house, linked=linked | {"agent": agent})
    answer.headers["Cache-Control"] = "no-store"
    return answer


@router.get(PLACE)
async def ask_to_verify(request: Request, visitor: Visiting, house: House, token: str = "") -> Response:
    """The link of a mail: it asks, since mail scanners follow links."""
    address, _ = await _of_link(visitor, house, token)
    return _unreferred(page(request, visitor, "address-verify.html", address=address, name=_name(house, address), token=token))


@router.post(PLACE)
async def verify_by_link(request: Request, visitor: Visiting, house: House, token: Annotated[str, Form()] = "") -> Response:
    """It acts; ten minutes, once."""
    address, code = await _of_link(visitor, house, token)
    return await _verified(request, visitor, house, address.address_id, code)


def _unreferred(answer: Response) -> Response:
    answer.headers["Referrer-Policy"] = "no-referrer"
    return answer


async def _of_link(visitor: Visitor, house: Context, token: str) -> tuple[Address, str]:
    """Only for her whose address it is: somebody else's click must not prove it."""
    found = read_verification(house.secret, token)
    if found is None:
        raise Forbidden("this link is not one of ours, or was changed on its way; copy it as a whole from the message")
    return await _hers(visitor, house, found[0]), found[1]


async def _hers(visitor: Visitor, house: Context, address_id: int) -> Address:
    address = await house.store.address(address_id)
    if address is None or address.person_id != visitor.person.person_id:
        raise NotFound("there is no such address")
    return address


@router.post("/addresses/{address_id}/code")
async def code(address_id: RowId, request: Request, visitor: Visiting, house: House) -> Response:
    """Send a code there."""
    return await _with_code(request, visitor, house, address_id, "sent")


@router.post("/addresses/{address_id}/verify")
async def verify(address_id: RowId, request: Request, visitor: Visiting, house: House, code: Annotated[str, Form()] = "") -> Response:
    """The code that came there, spaces aside."""
    return await _verified(request, visitor, house, address_id, "".join(code.split()))


async def _verified(request: Request, visitor: Visitor, house: Context, address_id: int, code: str) -> Response:
    try:
        await verify_address(address_id, made(Code, code=code), visitor.person, house)
    except InvalidInput as error:
        return await _shown(request, visitor, house, at=address_id, **told(error))
    return _back(visitor, "verified", address_id)


@router.post("/addresses/{address_id}/test")
async def test(address_id: RowId, request: Request, visitor: Visiting, house: House) -> Response:
    """Send her a test."""
    try:
        await try_address(address_id, visitor.person, house)
    except (Conflict, RateLimited) as error:
        return await _shown(request, visitor, house, at=address_id, **told(error))
    return _back(visitor, "tested", address_id)


@router.get("/addresses/{address_id}/delete")
async def ask_to_delete(address_id: RowId, request: Request, visitor: Visiting, house: House) -> Response:
    """Sure?"""
    address = await _hers(visitor, house, address_id)
    return page(request, visitor, "address-delete.html", address=address, name=_name(house, address))


@router.post("/addresses/{address_id}/delete")
async def delete(address_id: RowId, visitor: Visiting, house: House) -> Response:
    """Forget it."""
    await delete_address(address_id, visitor.person, visitor.caller, house)
    return RedirectResponse(visitor.at("/addresses?done=deleted"), 303)


@router.post("/addresses/{address_id}/{change}")
async def change(address_id: RowId, change: str, request: Request, visitor: Visiting, house: House) -> Response:
    """Pause, resume, make default."""
    if change not in _CHANGES:
        raise NotFound("there is no such page")
    wanted = made(AddressChange, **_CHANGES[change])
    try:
        await change_address(address_id, wanted, visitor.person, house)
    except Conflict as error:
        return await _shown(request, visitor, house, at=address_id, **told(error))
    return _back(visitor, wanted.state or "default", address_id)
