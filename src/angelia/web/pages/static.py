"""The built assets: named by content, so browsers keep them for good."""

import re
from mimetypes import types_map

from fastapi import APIRouter, Response

from angelia.model.errors import NotFound
from angelia.web.pages.kit import STATIC

router = APIRouter(include_in_schema=False)
_NAME = re.compile(r"[a-z]+-[0-9a-f]{10}\.(?:css|js|svg)\Z")
_kept: dict[str, bytes] = {}


@router.get("/static/{name}")
async def asset(name: str) -> Response:
    """One file; what is not of our making has no such name."""
    if not _NAME.match(name):
        raise NotFound("there is no such file")
    if name not in _kept:
        file = STATIC / name
        if not file.is_file():
            raise NotFound("there is no such file")
        _kept[name] = file.read_bytes()
    kind = types_map.get(name[name.rindex(".") :], "application/octet-stream")
    return Response(_kept[name], media_type=kind, headers={"Cache-Control": "public, max-age=31536000, immutable"})
