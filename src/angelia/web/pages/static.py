"""The built assets: named by content, so browsers keep them for good."""

import re
from mimetypes import types_map

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from angelia.model.errors import NotFound
from angelia.web.pages.kit import STATIC, assets
from angelia.web.pages.packing import takes_gzip

router = APIRouter(include_in_schema=False)
_NAME = re.compile(r"[a-z]+-[0-9a-f]{10}\.(?:css|js|svg)\Z")
_kept: dict[str, bytes] = {}


@router.get("/static/{name}")
async def asset(request: Request, name: str) -> Response:
    """One file; what is not of our making has no such name."""
    if not _NAME.match(name):
        raise NotFound("there is no such file")
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
    body = _content(f"{name}.gz") if takes_gzip(request) else b""
    if body:
        headers["Content-Encoding"] = "gzip"
    else:
        body = _content(name)
    if not body:
        raise NotFound("there is no such file")
    kind = types_map.get(name[name.rindex(".") :], "application/octet-stream")
    return Response(body, media_type=kind, headers=headers)


@router.get("/worker.js")
async def worker() -> Response:
    """The service worker. Its address never changes, and it stands at the top, since it may act for what lies below it only."""
    body = _content(assets().get("worker.js", "worker.js"))
    if not body:
        raise NotFound("there is no such file")
    return Response(body, media_type="text/javascript", headers={"Cache-Control": "no-cache"})


@router.get("/favicon.ico")
async def icon() -> Response:
    """What browsers ask for by themselves, also beside what is no page."""
    return RedirectResponse(f"/static/{assets().get('angelia.svg', 'angelia.svg')}", 308)


def _content(name: str) -> bytes:
    """A file of ours, empty where there is none (small files are not packed)."""
    if name not in _kept:
        file = STATIC / name
        if not file.is_file():
            return b""
        _kept[name] = file.read_bytes()
    return _kept[name]
