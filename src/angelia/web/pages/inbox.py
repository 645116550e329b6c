"""The inbox: where people live with their messages."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from angelia.web.access import House
from angelia.web.inbox import View
from angelia.web.pages.kit import page
from angelia.web.signin.guard import Maybe, Visiting, sign_in_place

router = APIRouter(include_in_schema=False)


@router.get("/")
async def start(visitor: Maybe) -> Response:
    """To the inbox, or to signing in."""
    return RedirectResponse("/inbox" if visitor is not None else sign_in_place("/"), 303)


@router.get("/inbox")
async def inbox(request: Request, visitor: Visiting, house: House, view: View) -> Response:
    """One view of the inbox; the whole view is in the URL."""
    items = await house.store.inbox(visitor.person.person_id, view)
    counts = await house.store.inbox_counts(visitor.person.person_id, view)
    return page(request, visitor, "inbox.html", items=items, counts=counts, view=view)
