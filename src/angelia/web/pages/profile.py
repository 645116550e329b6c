"""Who she is here: name, language, time zone, password, and all that the hub keeps of her."""

import hmac
from functools import lru_cache
from typing import Annotated, Any
from zoneinfo import available_timezones

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse

from angelia.model.errors import Conflict, InvalidInput, RateLimited
from angelia.web.access import House
from angelia.web.context import Context
from angelia.web.export import export
from angelia.web.forms import PasswordForm, PersonChange
from angelia.web.identities import bound_to, remove_identity
from angelia.web.pages.forms import made, told
from angelia.web.pages.kit import page
from angelia.web.people import change_person
from angelia.web.signin.guard import Visiting, Visitor
from angelia.web.signin.local import put_password

router = APIRouter(include_in_schema=False)
LEAST_PASSWORD = 10


@lru_cache(maxsize=1)
def zones() -> list[str]:
    """IANA names of places, and UTC."""
    return sorted(name for name in available_timezones() if name == "UTC" or ("/" in name and not name.startswith(("Etc/", "SystemV/"))))


async def _shown(request: Request, visitor: Visitor, house: Context, status: int = 200, **values: Any) -> Response:
    has_password = await house.store.password(visitor.person.person_id) is not None
    typed = {"name": visitor.person.name, "time_zone": visitor.person.time_zone, "language": visitor.person.language}
    shared: dict[str, Any] = {
        "identities": await bound_to(house, visitor.person),
        "problem": None,
        "done": "",
        "zones": zones(),
        "has_password": has_password,
        "typed": typed,
        "least": LEAST_PASSWORD,
    }
    return page(request, visitor, "profile.html", status, **(shared | values))


@router.get("/profile")
async def profile(request: Request, visitor: Visiting, house: House, done: str = "") -> Response:
    """All of it."""
    return await _shown(request, visitor, house, done=done if done in ("saved", "password", "identity") else "")


@router.post("/profile")
async def save(
    request: Request,
    visitor: Visiting,
    house: House,
    name: Annotated[str, Form()] = "",
    time_zone: Annotated[str, Form()] = "",
    language: Annotated[str, Form()] = "",
) -> Response:
    """Name, zone, language: and nothing else, whatever is sent."""
    typed = {"name": name.strip(), "time_zone": time_zone.strip(), "language": language}
    try:
        await change_person(made(PersonChange, **typed), visitor.person, visitor.caller, house)
    except InvalidInput as error:
        return await _shown(request, visitor, house, typed=typed, **told(error))
    return RedirectResponse("/profile?done=saved", 303)


@router.post("/profile/password")
async def password(
    request: Request,
    visitor: Visiting,
    house: House,
    old_password: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    again: Annotated[str, Form()] = "",
) -> Response:
    """A new password; all other sessions end, this one begins anew."""
    try:
        house.limits.passwords.take(visitor.person.login)
        if await house.store.password(visitor.person.person_id) is None:
            raise InvalidInput("you sign in through your organisation; the password is changed there", "password")
        if len(password) < LEAST_PASSWORD:
            raise InvalidInput(f"a password has at least {LEAST_PASSWORD} characters", "password")
        if not hmac.compare_digest(password.encode(), again.encode()):
            raise InvalidInput("the two new passwords are not the same", "again")
        await put_password(made(PasswordForm, password=password, old_password=old_password), visitor.person, visitor.caller, house)
    except (InvalidInput, RateLimited) as error:
        return await _shown(request, visitor, house, **told(error))
    house.limits.passwords.forget(visitor.person.login)
    answer = RedirectResponse("/profile?done=password", 303)
    await house.sessions.open(request, answer, visitor.person)
    return answer


@router.post("/profile/identities/remove")
async def remove(
    request: Request, visitor: Visiting, house: House, issuer: Annotated[str, Form()] = "", subject: Annotated[str, Form()] = ""
) -> Response:
    """One identity of hers; where it opened this session, she is asked to sign in again."""
    try:
        await remove_identity(visitor.person, visitor.caller, house, issuer, subject)
    except Conflict as error:
        return await _shown(request, visitor, house, **told(error))
    return RedirectResponse("/profile?done=identity", 303)


@router.get("/profile/export")
async def export_all(visitor: Visiting, house: House) -> StreamingResponse:
    """A file with all that the hub keeps of her."""
    return await export(visitor.person, house)
