"""Setting a password with a link from an administrator: for somebody who can't sign in yet."""

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response

from angelia.model.errors import InvalidInput
from angelia.web.access import House
from angelia.web.accounts import owner_of, use_link
from angelia.web.pages.kit import page
from angelia.web.signin.guard import refuse_foreign
from angelia.web.signin.tries import Tries

router = APIRouter(include_in_schema=False)
_tries = Tries(30, 600.0)


@router.get("/set-password/{token}")
async def ask(request: Request, token: str, house: House) -> Response:
    """The form; reading it uses nothing up."""
    person = await owner_of(token, house)
    return page(request, None, "set-password.html", login=person.login, fault="", is_set=False)


@router.post("/set-password/{token}")
async def set_password(
    request: Request, token: str, house: House, password: Annotated[str, Form()] = "", again: Annotated[str, Form()] = ""
) -> Response:
    """Set it; the link is used up."""
    refuse_foreign(request, house.base_url)
    _tries.take(request.client.host if request.client else "")
    person = await owner_of(token, house)
    try:
        await use_link(token, password, again, house)
    except InvalidInput as error:
        return page(request, None, "set-password.html", 422, login=person.login, fault=str(error), is_set=False)
    return page(request, None, "set-password.html", login=person.login, fault="", is_set=True)
