"""Errors on pages: a page of its own, or a notice where only a part was asked for."""

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from angelia.web.pages.kit import notice, page
from angelia.web.signin.guard import SignInNeeded, Visitor, sign_in_place
from angelia.wire.problems import TITLES

_NOT_PAGES = ("/api/", "/hermes", "/healthz", "/metrics", "/version")
_FEEDS = (".atom", ".json")


def is_page(request: Request) -> bool:
    """Is it a person with a browser who asks?"""
    return not request.url.path.startswith(_NOT_PAGES) and not request.url.path.endswith(_FEEDS)


async def error_page(request: Request, status: int, detail: str) -> Response:
    """The error in words, in the frame of the pages if she is signed in."""
    found = await request.app.state.context.sessions.find(request) if status < 500 else None
    visitor = None if found is None else Visitor(found[1], found[0])
    if "hx-request" in request.headers:
        return notice(request, visitor, detail, kind="danger", status=status)
    return page(request, visitor, "error.html", status, heading=TITLES.get(status, "Error"), detail=detail, status_code=status)


async def to_sign_in(request: Request, error: Exception) -> Response:
    """To signing in, and back; a part can't be redirected by itself, so the whole page is."""
    assert isinstance(error, SignInNeeded)
    place = sign_in_place(error.place)
    if "hx-request" in request.headers:
        return Response(status_code=200, headers={"HX-Redirect": place})
    return RedirectResponse(place, 303)
