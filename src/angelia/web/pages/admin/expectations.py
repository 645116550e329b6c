"""What everybody expects of sources, for administrators: each leads to the pages of its owner."""

from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from angelia.web.access import House
from angelia.web.forms import RowId
from angelia.web.pages.expectations import stands
from angelia.web.pages.kit import page
from angelia.web.signin.guard import Administering

router = APIRouter(include_in_schema=False)
AT_ONCE = 100


@router.get("/admin/expectations")
async def all_expectations(request: Request, visitor: Administering, house: House, after: RowId = 0) -> Response:
    """A page of them, oldest first."""
    found = await house.store.list_expectations(None, after, AT_ONCE)
    listed = [stands(house, one) | {"login": login, "place": f"/admin/people/{quote(login, safe='')}/expectations"} for one, login in found]
    following = found[-1][0].expectation_id if len(found) == AT_ONCE else 0
    return page(request, visitor, "admin/expectations.html", listed=listed, following=following)
