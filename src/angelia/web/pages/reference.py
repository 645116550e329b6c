"""The description of the API to read: the rooms with what each can do, and a page for each with parameters, bodies, answers and a line of curl."""

from fastapi import APIRouter, Request, Response

from angelia.model.errors import NotFound
from angelia.web.access import House
from angelia.web.context import Context
from angelia.web.pages.kit import page
from angelia.web.reference import Reference, reference_of
from angelia.web.signin.guard import Maybe

router = APIRouter(include_in_schema=False)


def _read(request: Request, house: Context) -> Reference:
    """Made of the same document that programs get, once."""
    app = request.app
    if not hasattr(app.state, "reference"):
        app.state.reference = reference_of(app.openapi(), house.base_url)
    found: Reference = app.state.reference
    return found


@router.get("/reference")
async def rooms(request: Request, visitor: Maybe, house: House) -> Response:
    """All of it, a line an operation."""
    return page(request, visitor, "reference.html", api=_read(request, house))


@router.get("/reference/{room}")
async def room(room: str, request: Request, visitor: Maybe, house: House) -> Response:
    """One room in full."""
    api = _read(request, house)
    if room not in api.rooms:
        raise NotFound("there is no such page")
    return page(request, visitor, "reference-room.html", api=api, room=room, operations=api.rooms[room])
