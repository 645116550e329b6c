"""Products to be looked at: what a plot is drawn of, and their rows as a table."""

import asyncio
import importlib
import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from angelia.model.declaration import ProductKind
from angelia.model.errors import InvalidInput
from angelia.model.job import Principal
from angelia.web.access import House, Known
from angelia.web.context import Context
from angelia.web.forms import number
from angelia.web.jobs import principal_of
from angelia.web.pages.packing import may_pack, pack

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])
Body = dict[str, Any]
MOST_ROWS = 200
DRAWN = frozenset({ProductKind.IMAGE, ProductKind.LIGHT_CURVE, ProductKind.SPECTRUM})
"""What is a picture of numbers."""
WITH_ROWS = DRAWN | {ProductKind.TABLE}
_READER = "angelia.products.plots"
"""Loaded with the first plot: its libraries take half a second, and a hub without jobs needs none of them."""
_NOTHING = "this product can't be drawn"


@router.get("/{job_id}/plots/{name:path}")
async def plots(request: Request, job_id: str, name: str, caller: Known, house: House) -> Response:
    """The curves and images of one product, as numbers that a page can draw."""
    return await plot_answer(request, await principal_of(caller, house), house, job_id, name)


@router.get("/{job_id}/rows/{name:path}")
async def rows(
    job_id: str,
    name: str,
    caller: Known,
    house: House,
    first: Annotated[int, Query(ge=0, le=1 << 40)] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_ROWS)] = MOST_ROWS,
) -> Body:
    """Rows of a table, a curve or an image, `first` counting from 0."""
    found = await rows_of(await principal_of(caller, house), house, job_id, name, first, limit)
    columns = [{"name": label, "unit": unit} for label, unit in found.columns]
    return {"columns": columns, "rows": found.rows, "first": found.first, "total": found.total}


async def plot_answer(request: Request, principal: Principal, house: Context, job_id: str, name: str) -> Response:
    """What a page draws of a product, packed; 304 where the browser has it already."""
    product, source = await house.dispatcher.product(principal, number("job", job_id), name)
    if product.kind not in DRAWN:
        raise InvalidInput(_NOTHING)
    # The file of a product never changes, and its sum is known: whoever has drawn it once needs no more than to be let in.
    headers = {"ETag": f'"{product.sha256[:32]}"', "Cache-Control": "private, no-cache", "Vary": "Accept-Encoding"}
    if request.headers.get("if-none-match", "").removeprefix("W/") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    text = await asyncio.to_thread(_drawn, source, product.kind)
    if may_pack(request):
        return Response(await asyncio.to_thread(pack, text), headers=headers | {"Content-Encoding": "gzip"}, media_type="application/json")
    return Response(text, headers=headers, media_type="application/json")


async def rows_of(principal: Principal, house: Context, job_id: str, name: str, first: int, limit: int) -> Any:
    """`Rows` of a product of hers. InvalidInput for what has none."""
    product, source = await house.dispatcher.product(principal, number("job", job_id), name)
    if product.kind not in WITH_ROWS:
        raise InvalidInput(_NOTHING)
    try:
        return await asyncio.to_thread(importlib.import_module(_READER).rows_of, source, product.kind, first, limit)
    except (OSError, ValueError, TypeError, ImportError) as error:
        raise InvalidInput(_NOTHING) from error


def _drawn(source: Any, kind: ProductKind) -> str:
    try:
        return json.dumps({"plots": importlib.import_module(_READER).plots_of(source, kind)}, allow_nan=False)
    except (OSError, ValueError, TypeError, ImportError) as error:
        raise InvalidInput(_NOTHING) from error
