"""Her tokens for programs: made with no more rights than she has, shown once, revoked at once."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from angelia.model.errors import InvalidInput, NotFound
from angelia.web.access import House
from angelia.web.context import Context
from angelia.web.forms import NewToken, RowId
from angelia.web.keys import add_token, revoke_token
from angelia.web.pages.forms import made, told
from angelia.web.pages.kit import page
from angelia.web.signin.guard import Visiting, Visitor

router = APIRouter(include_in_schema=False)
SCOPES = ("read", "write", "post", "admin")
DAYS = (7, 30, 90, 365)


async def _shown(request: Request, visitor: Visitor, house: Context, status: int = 200, **values: Any) -> Response:
    tokens = [token for token in await house.store.list_tokens(f"person:{visitor.person.login}") if not token.is_revoked]
    scopes = [scope for scope in SCOPES if scope in visitor.caller.scopes]
    shared: dict[str, Any] = {"problem": None, "made": None, "done": "", "typed": {"title": "", "scopes": ["read"], "days": "90"}}
    return page(request, visitor, "tokens.html", status, **(shared | {"tokens": tokens, "scopes": scopes, "days": DAYS} | values))


@router.get("/tokens")
async def tokens(request: Request, visitor: Visiting, house: House, done: str = "") -> Response:
    """The list, and the form for a new one."""
    return await _shown(request, visitor, house, done="revoked" if done == "revoked" else "")


@router.post("/tokens")
async def add(
    request: Request,
    visitor: Visiting,
    house: House,
    scopes: Annotated[list[str] | None, Form()] = None,
    title: Annotated[str, Form()] = "",
    days: Annotated[str, Form()] = "90",
) -> Response:
    """Make it; its secret is on the answer and nowhere else."""
    typed = {"title": title[:255], "scopes": scopes or [], "days": days}
    try:
        if not scopes:
            raise InvalidInput("choose at least one thing that the token may do", "scopes")
        lasts = int(days) if days.isascii() and days.isdigit() and len(days) < 6 else None
        if lasts is None and days != "never":
            raise InvalidInput("choose how long the token lives", "days")
        form = made(NewToken, title=title.strip(), scopes=scopes, expires_in_days=lasts)
        new = await add_token(form, visitor.person, visitor.caller, house)
    except InvalidInput as error:
        return await _shown(request, visitor, house, typed=typed, **told(error))
    return await _shown(request, visitor, house, made=new)


@router.get("/tokens/{token_id}/revoke")
async def ask_to_revoke(token_id: RowId, request: Request, visitor: Visiting, house: House) -> Response:
    """Sure?"""
    for token in await house.store.list_tokens(f"person:{visitor.person.login}"):
        if token.token_id == token_id and not token.is_revoked:
            return page(request, visitor, "token-revoke.html", token=token)
    raise NotFound("there is no such token")


@router.post("/tokens/{token_id}/revoke")
async def revoke(token_id: RowId, visitor: Visiting, house: House) -> Response:
    """Refused from now on."""
    await revoke_token(token_id, visitor.person, visitor.caller, house)
    return RedirectResponse("/tokens?done=revoked", 303)
