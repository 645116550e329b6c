"""The audit log: who did what, by actor and action, and as a table for a spreadsheet."""

import csv
import io
import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from angelia.web.access import Admin, House
from angelia.web.forms import Limit, RowId
from angelia.web.paging import PagedRoute, page_of

router = APIRouter(prefix="/api/v1/audit", tags=["operations"], route_class=PagedRoute)
Body = dict[str, Any]
Word = Annotated[str, Query(max_length=200)]
MOST_EXPORTED = 50_000
_PAGE = 1_000
_COLUMNS = ("at", "actor", "action", "target", "detail")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


@router.get("")
async def audit(_: Admin, house: House, before: RowId | None = None, limit: Limit = 100, actor: Word = "", action: Word = "") -> Body:
    """Newest first; by actor, and by action or, with a dot at its end, by all that begin so (`token.`)."""
    found = await house.store.audit_log(before, limit + 1, actor=actor, action=action)
    shown, following = page_of(found, limit, lambda item: int(str(item["id"])))
    return {"items": shown, "next": following}


@router.get("/export", response_class=Response, responses={200: {"content": {"text/csv": {}}}})
async def export(caller: Admin, house: House, actor: Word = "", action: Word = "") -> Response:
    """The newest 50,000 of a view as CSV. A cell that a spreadsheet would take for a formula gets an apostrophe before it."""
    rows: list[dict[str, object]] = []
    before: int | None = None
    while len(rows) < MOST_EXPORTED:
        page = await house.store.audit_log(before, _PAGE, actor=actor, action=action)
        rows += page
        if len(page) < _PAGE:
            break
        before = int(str(page[-1]["id"]))
    await house.store.audit(caller.name, "audit.export", "", {"rows": len(rows), "actor": actor, "action": action}, house.now())
    return Response(as_csv(rows), media_type="text/csv; charset=utf-8", headers={"Content-Disposition": 'attachment; filename="audit.csv"'})


def as_csv(rows: list[dict[str, object]]) -> str:
    """RFC 4180, with a head."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for row in rows:
        writer.writerow([cell(row[name] if name != "detail" else json.dumps(row[name], ensure_ascii=False)) for name in _COLUMNS])
    return text.getvalue()


def cell(value: object) -> str:
    """A value that no spreadsheet runs (bad input E127)."""
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
