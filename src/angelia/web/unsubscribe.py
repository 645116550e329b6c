"""One-click ends (RFC 8058): GET asks, since mail scanners follow links; POST acts."""

import html

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from angelia.flow.unsubscribe import Target, read_token, unsubscribe
from angelia.model.errors import Forbidden
from angelia.web.access import House
from angelia.web.context import Context

router = APIRouter(prefix="/unsubscribe", tags=["unsubscribe"])


def _target(house: Context, token: str) -> Target:
    target = read_token(house.secret, token)
    if target is None:
        raise Forbidden("this link is not one of ours, or was changed on its way")
    return target


def _page(title: str, body: str) -> Response:
    markup = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(title)}</title></head><body><main><h1>{html.escape(title)}</h1>{body}</main></body></html>"
    )
    return Response(markup, media_type="text/html; charset=utf-8", headers={"Cache-Control": "no-store"})


_WHAT = {"type": "messages of type {value} and what is below it", "rule": "what your rule {value} sends", "object": "messages about {value}"}


@router.get("/{token}", response_class=HTMLResponse)
async def ask(token: str, house: House) -> Response:
    """What would end, and a button."""
    target = _target(house, token)
    what = html.escape(_WHAT[target.kind].replace("{value}", target.value))
    question = f"<p>Stop {what} by {html.escape(target.agent)}?</p>"
    return _page("Stop these messages?", f'{question}<form method="post"><button>Stop them</button></form>')


@router.post("/{token}", response_class=HTMLResponse)
async def act(token: str, house: House) -> Response:
    """Do it; the same again is harmless."""
    said = await unsubscribe(house.store, _target(house, token), house.site(), house.now())
    house.changed("people")
    return _page("Done", f"<p>{html.escape(said)} Your other settings are as they were.</p>")
