"""The audit log, by actor and action."""

import json
from datetime import datetime
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from angelia.web.access import House
from angelia.web.audit import export
from angelia.web.forms import RowId
from angelia.web.pages.kit import page
from angelia.web.signin.guard import Administering

router = APIRouter(include_in_schema=False)
PAGE = 100


@router.get("/admin/audit")
async def show_audit(
    request: Request, visitor: Administering, house: House, before: RowId | None = None, actor: str = "", action: str = ""
) -> Response:
    """Newest first."""
    actor, action = actor.strip()[:200], action.strip()[:200]
    found = await house.store.audit_log(before, PAGE + 1, actor=actor, action=action)
    items = [item | {"at": datetime.fromisoformat(str(item["at"]))} | _told(item["detail"]) for item in found[:PAGE]]
    following = items[-1]["id"] if len(found) > PAGE else ""
    view = urlencode({name: value for name, value in (("actor", actor), ("action", action)) if value})
    return page(request, visitor, "admin/audit.html", items=items, following=following, actor=actor, action=action, view=view)


def _told(detail: object) -> dict[str, object]:
    """What an entry says: its changes one by one, with what was and what has become, and the rest as it stands."""
    rest, changes = detail, []
    if isinstance(detail, dict) and isinstance(detail.get("changes"), list):
        changes = [{name: _short(change.get(name)) for name in ("path", "before", "after")} for change in detail["changes"]]
        rest = {name: value for name, value in detail.items() if name != "changes" and value}
    return {"detail": _short(rest) if rest else "", "changes": changes}


def _short(value: object) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@router.get("/admin/audit.csv")
async def export_audit(visitor: Administering, house: House, actor: str = "", action: str = "") -> Response:
    """The view as CSV."""
    return await export(visitor.caller, house, actor.strip()[:200], action.strip()[:200])
