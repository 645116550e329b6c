"""One-click ends (RFC 8058): GET asks, since mail scanners follow links; POST acts, and offers a way back. No sign-in, as from a mail."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from angelia.flow.unsubscribe import NoSuchRule, Target, make_undo, parts_of, read_token, read_undo, subscribe_again, unsubscribe
from angelia.model.errors import Forbidden
from angelia.web.access import House
from angelia.web.pages.kit import page

router = APIRouter(prefix="/unsubscribe", tags=["unsubscribe"])
_FOREIGN = "this link is not one of ours, or was changed on its way; copy it as a whole from the mail"


async def _page(request: Request, house: House, step: str, target: Target, again: str = "") -> Response:
    parts = await parts_of(house.store, target)
    return _private(page(request, None, "unsubscribe.html", step=step, parts=parts, again=again))


def _to_rules(request: Request) -> Response:
    """Rather than that another rule ends than the one that was meant, she chooses."""
    return _private(page(request, None, "unsubscribe.html", 404, step="choose"))


def _private(answer: Response) -> Response:
    answer.headers["Referrer-Policy"] = "no-referrer"  # the address of the page is what allows to act
    return answer


@router.get("/{token}", response_class=HTMLResponse)
async def ask(token: str, request: Request, house: House) -> Response:
    """What would end, and a button."""
    target = read_token(house.secret, token)
    if target is None:
        raise Forbidden(_FOREIGN)
    try:
        return await _page(request, house, "ask", target)
    except NoSuchRule:
        return _to_rules(request)


@router.post("/{token}", response_class=HTMLResponse)
async def act(token: str, request: Request, house: House) -> Response:
    """Do it; the same again is harmless."""
    target = read_token(house.secret, token)
    if target is None:
        raise Forbidden(_FOREIGN)
    try:
        before = await unsubscribe(house.store, target, house.site(), house.now())
    except NoSuchRule:
        return _to_rules(request)
    house.changed("people")
    return await _page(request, house, "done", target, make_undo(house.secret, target, before))


@router.post("/{token}/undo")
async def undo(token: str, request: Request, house: House) -> Response:
    """Take it back, with the token that the answer to the act held."""
    found = read_undo(house.secret, token)
    if found is None:
        raise Forbidden(_FOREIGN)
    target, before = found
    try:
        await subscribe_again(house.store, target, before, house.site(), house.now())
    except NoSuchRule:
        return _to_rules(request)
    house.changed("people")
    return await _page(request, house, "undone", target)
