"""The live page: choose an exchange and a pattern, and see what happens."""

from fastapi import APIRouter, Query, Request, Response

from angelia.web.access import House
from angelia.web.pages.kit import page
from angelia.web.signin.guard import Visiting

router = APIRouter(include_in_schema=False)


@router.get("/live")
async def live(
    request: Request, visitor: Visiting, house: House, exchange: str = Query("me", max_length=127), key: str = Query("#", max_length=255)
) -> Response:
    """The form; what it asks for comes over the event stream, whose rules say what she may see."""
    rules = house.broker.exchanges
    shown = [name for name, rule in rules.items() if rule.access in ("public", "signed-in") or visitor.person.is_admin]
    return page(request, visitor, "live.html", exchanges=["me", *sorted(shown)], exchange=exchange, key=key)
