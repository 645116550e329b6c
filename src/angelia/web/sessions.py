"""Where one person is signed in: list, end one, end the others."""

from typing import Any

from fastapi import APIRouter

from angelia.model.errors import NotFound
from angelia.model.moments import to_text
from angelia.model.person import Person
from angelia.store import Session
from angelia.web.access import House, Known, Reading, Writing
from angelia.web.context import Context
from angelia.web.forms import RowId
from angelia.web.signin.sessions import IDLE

router = APIRouter(prefix="/api/v1/people/{login}", tags=["person"])
Body = dict[str, Any]


async def open_sessions(house: Context, person: Person) -> list[Session]:
    """Hers that still open something, last used first."""
    now = house.now()
    return [session for session in await house.store.list_sessions(person.person_id, now) if session.seen_at + IDLE > now]


def session_out(session: Session) -> Body:
    """A session; `provider` is the issuer that vouched for her, "" for a password."""
    return {
        "id": session.session_id,
        "device": session.device,
        "provider": session.provider,
        "created_at": to_text(session.created_at),
        "seen_at": to_text(session.seen_at),
        "ends_at": to_text(session.ends_at),
    }


@router.get("/sessions")
async def list_sessions(person: Reading, house: House) -> Body:
    """Where she is signed in."""
    return {"items": [session_out(session) for session in await open_sessions(house, person)]}


@router.delete("/sessions/{session_id}", status_code=204)
async def end_session(session_id: RowId, person: Writing, caller: Known, house: House) -> None:
    """Sign that browser out; every process refuses it within 5 s."""
    if not await house.store.end_sessions(person.person_id, [session_id]):
        raise NotFound("there is no such session")
    await _told(house, person, caller.name)


@router.delete("/sessions")
async def end_sessions(person: Writing, caller: Known, house: House, keep: RowId | None = None) -> Body:
    """Sign out everywhere, or everywhere but in the session `keep`; how many there were."""
    others = [session.session_id for session in await house.store.list_sessions(person.person_id, house.now()) if session.session_id != keep]
    ended = await house.store.end_sessions(person.person_id, others) if others else 0
    await _told(house, person, caller.name)
    return {"ended": ended}


async def _told(house: Context, person: Person, actor: str) -> None:
    house.rights_changed()
    await house.store.audit(actor, "session.end", person.login, {}, house.now())
