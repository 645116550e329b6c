"""Where she is signed in, and how to end that."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from angelia.web.access import House
from angelia.web.forms import RowId
from angelia.web.pages.devices import device_words
from angelia.web.pages.kit import page
from angelia.web.sessions import end_session, end_sessions, open_sessions
from angelia.web.signin.guard import Visiting

router = APIRouter(include_in_schema=False)


@router.get("/sessions")
async def sessions(request: Request, visitor: Visiting, house: House, done: str = "") -> Response:
    """Her browsers, this one marked."""
    found = [(session, *device_words(session.device)) for session in await open_sessions(house, visitor.person)]
    return page(request, visitor, "sessions.html", sessions=found, this=visitor.session.session_id, done=done if done in ("one", "others") else "")


@router.post("/sessions/end-others")
async def end_others(visitor: Visiting, house: House) -> Response:
    """All but this one."""
    await end_sessions(visitor.person, visitor.caller, house, visitor.session.session_id)
    return RedirectResponse("/sessions?done=others", 303)


@router.post("/sessions/{session_id}/end")
async def end(session_id: RowId, visitor: Visiting, house: House) -> Response:
    """One of them; where it is this one, she is asked to sign in again."""
    await end_session(session_id, visitor.person, visitor.caller, house)
    return RedirectResponse("/sessions?done=one", 303)
