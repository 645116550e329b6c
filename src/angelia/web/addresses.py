"""Where one person can be reached: her addresses, and the codes that verify them."""

import hmac
import secrets
from datetime import timedelta
from hashlib import sha256
from typing import Any

from fastapi import APIRouter

from angelia.agent import hears, link_to
from angelia.flow.verification import LINK_CODE_LIVES, MOST_ADDRESSES, kept_link_code, new_link_code
from angelia.flow.voice import Voice
from angelia.model.errors import Conflict, InvalidInput, NotFound, RateLimited
from angelia.model.moments import public_id, to_text
from angelia.model.person import Address, AddressState, Person
from angelia.web.access import House, Known, Reading, Writing
from angelia.web.context import Context
from angelia.web.forms import AddressChange, Code, NewAddress, NewLink, RowId, checked_address
from angelia.web.shapes import address_out

router = APIRouter(prefix="/api/v1/people/{login}", tags=["person"])
Body = dict[str, Any]
CODES_A_DAY = 3
CODE_LIVES = timedelta(minutes=10)
_REFUSED = frozenset({AddressState.BOUNCING, AddressState.DEAD})


@router.get("/agents")
async def address_agents(_: Reading, house: House) -> Body:
    """The agents for which she can have addresses, with an example of one."""
    return {"items": [{"name": name, "address_example": agent.address_example} for name, agent in house.agents.items() if not agent.is_pull]}


@router.get("/addresses")
async def addresses(person: Reading, house: House) -> Body:
    """Where she can be reached."""
    return {"items": [_shown(house, address) for address in await house.store.addresses(person.person_id)]}


def _shown(house: Context, address: Address) -> Body:
    """With what she must know at its other end."""
    agent = house.agents.get(address.agent)
    return address_out(address) | {"note": agent.note(address) if agent is not None else ""}


@router.post("/addresses", status_code=201)
async def add_address(form: NewAddress, person: Writing, caller: Known, house: House) -> Body:
    """A new address, also of a group (`group:<name>`); nothing is sent there until it is verified. An administrator may say that it is."""
    value = checked_address(house, form.agent, form.value, "value")
    if form.is_verified and not caller.is_admin:
        raise InvalidInput("only an administrator may vouch for an address", "is_verified")
    if len(await house.store.addresses(person.person_id)) >= MOST_ADDRESSES:
        raise Conflict(f"nobody has more than {MOST_ADDRESSES} addresses; delete one first")
    state = AddressState.OK if form.is_verified else AddressState.UNVERIFIED
    address = await house.store.add_address(
        Address(
            address_id=0,
            person_id=person.person_id,
            agent=form.agent,
            value=value,
            state=state,
            is_default=form.is_default,
            origin="directory" if caller.is_admin else "user",
            verified_at=house.now() if form.is_verified else None,
        )
    )
    said = {"address": address.address_id, "agent": address.agent, "is_verified": form.is_verified}
    await house.store.audit(caller.name, "address.add", person.login, said, house.now())
    house.changed("people")
    return _shown(house, address)


async def _address(house: Context, person: Person, address_id: int) -> Address:
    address = await house.store.address(address_id)
    if address is None or address.person_id != person.person_id:
        raise NotFound("there is no such address")
    return address


@router.patch("/addresses/{address_id}")
async def change_address(address_id: RowId, form: AddressChange, person: Writing, house: House) -> Body:
    """Pause, resume, make default. One that was never verified, or was refused, is not resumed but verified."""
    address = await _address(house, person, address_id)
    if form.state == "ok" and (address.verified_at is None or address.state in _REFUSED):
        raise Conflict("this address is not verified: ask for a code")
    if form.state == "paused" and address.state not in (AddressState.OK, AddressState.PAUSED):
        raise Conflict("nothing is sent to this address, so there is nothing to pause")
    state = None if form.state is None else AddressState(form.state)
    changed = await house.store.set_address(address_id, state=state, is_default=form.is_default, now=house.now())
    house.changed("people")
    return _shown(house, changed or address)


@router.post("/addresses/link", status_code=201)
async def link_address(form: NewLink, person: Writing, caller: Known, house: House) -> Body:
    """A code for her to write at the other end, within ten minutes: where it comes in is her address, and verified. `url` does it in one click, ""
    where the agent knows no such thing.
    """
    agent = house.agents.get(form.agent)
    if agent is None or hears(agent) is None:
        raise InvalidInput("this agent does not hear: add an address and ask for a code", "agent")
    house.limits.codes.take(person.login)
    code, expires_at = new_link_code(), house.now() + LINK_CODE_LIVES
    await house.store.put_link_code(agent.name, person.person_id, kept_link_code(house.secret, agent.name, code), expires_at)
    await house.store.audit(caller.name, "address.link_code", person.login, {"agent": agent.name}, house.now())
    return {"code": code, "expires_at": to_text(expires_at), "url": link_to(agent, code)}


@router.delete("/addresses/{address_id}", status_code=204)
async def delete_address(address_id: RowId, person: Writing, caller: Known, house: House) -> None:
    """Forget an address."""
    if not await house.store.delete_address(person.person_id, address_id):
        raise NotFound("there is no such address")
    await house.store.audit(caller.name, "address.delete", person.login, {"address": address_id}, house.now())
    house.changed("people")


@router.post("/addresses/{address_id}/code", status_code=202)
async def send_code(address_id: RowId, person: Writing, house: House) -> Body:
    """Send a six-digit code there; at most 3 a day to one place, over all people (checklist S32, S33)."""
    address = await _address(house, person, address_id)
    await _check_codes(house, address, CODES_A_DAY - 1)
    house.limits.codes.take(person.login)
    code = f"{secrets.randbelow(1_000_000):06d}"
    expires_at = house.now() + CODE_LIVES
    await house.store.put_code(address_id, _kept(house, address_id, code), expires_at)
    await _check_codes(house, address, CODES_A_DAY)  # again: of those that asked at the same time, too many may have come so far
    await house.verify(address, person, code)
    return {"expires_at": to_text(expires_at)}


def _kept(house: Context, address_id: int, code: str) -> str:
    """A code as the store keeps it: with a key, since of six digits a plain hash could be guessed back by whoever reads the database."""
    return hmac.new(house.secret, f"code\0{address_id}\0{code}".encode(), sha256).hexdigest()


async def _check_codes(house: Context, address: Address, most: int) -> None:
    if await house.store.codes_sent(address.agent, address.value, house.now() - timedelta(days=1)) > most:
        raise RateLimited("three codes went to this address today; try again tomorrow", 86_400)


@router.post("/addresses/{address_id}/test", status_code=202)
async def try_address(address_id: RowId, person: Writing, house: House) -> Body:
    """Send a test there, by the way that every message takes; at most three a minute."""
    address = await _address(house, person, address_id)
    if address.state is not AddressState.OK:
        raise Conflict("this address gets nothing now: verify or resume it first")
    house.limits.tests.take(person.login)
    key = secrets.token_hex(16)
    receipt = await Voice(house.accept).address_test(person.login, address.agent, address.value, key, house.now())
    return {"message": public_id("msg", receipt.message_id)}


@router.post("/addresses/{address_id}/verify")
async def verify_address(address_id: RowId, form: Code, person: Writing, house: House) -> Body:
    """The code that came there; five tries."""
    await _address(house, person, address_id)
    if not await house.store.try_code(address_id, _kept(house, address_id, form.code), house.now()):
        raise InvalidInput("this code is wrong, too old, or was tried too often; look again, or ask for another", "code")
    house.changed("people")
    return _shown(house, await _address(house, person, address_id))
