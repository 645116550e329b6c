"""Signing in with a password of ours, signing out, and changing the password."""

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from angelia.model.errors import Forbidden, InvalidInput, RateLimited
from angelia.web.access import House, Known, Writing
from angelia.web.forms import PasswordForm
from angelia.web.signin.door import door
from angelia.web.signin.guard import Maybe, local_place, refuse_foreign
from angelia.web.signin.passwords import fits, hashed
from angelia.web.signin.tries import Tries, place_of
from angelia.wire.callers import secret_hash

router = APIRouter(tags=["sign-in"])
_by_place = Tries(30, 600.0)
_by_login = Tries(10, 600.0)


@router.get("/sign-in", include_in_schema=False)
async def ask(request: Request, house: House, visitor: Maybe, next: str = "/", left: str = "") -> Response:
    """The form, and the providers. `left` is one at which she is still signed in, having signed out here."""
    if visitor is not None:
        return RedirectResponse(local_place(next), 303)
    provider = house.providers.get(left)
    goodbye = "" if provider is None else await provider.goodbye(f"{house.base_url}/sign-in")
    return door(request, next=next, provider=provider, goodbye=goodbye)


@router.post("/sign-in", include_in_schema=False)
async def sign_in(
    request: Request, house: House, login: Annotated[str, Form()] = "", password: Annotated[str, Form()] = "", next: Annotated[str, Form()] = "/"
) -> Response:
    """Right: a new session. Wrong: the same words whoever it was, and after some tries a pause."""
    refuse_foreign(request, house.base_url)
    if not house.has_passwords:
        raise Forbidden("here people sign in at a provider, not with a password of the hub's own")
    place = place_of(request)
    try:
        _by_place.take(place)
        _by_login.take(secret_hash(login) + place)
    except RateLimited as error:
        answer = door(request, 429, next=next, error="often", login=login)
        answer.headers["Retry-After"] = str(int(error.retry_after) + 1)
        return answer
    person = await house.store.person(login[:128]) if "\x00" not in login else None
    known = await house.store.password(person.person_id) if person is not None else None
    is_right = await fits(password, known)
    if person is None or not is_right or not person.is_active:
        await house.store.audit("visitor", "sign-in.refused", login[:128].replace("\x00", ""), {}, house.now())
        return door(request, 401, next=next, error="wrong", login=login)
    _by_login.forget(secret_hash(login) + place)
    _by_place.give_back(place)
    inside = RedirectResponse(local_place(next), 303)
    await house.sessions.open(request, inside, person)
    await house.store.audit(f"person:{person.login}", "sign-in", person.login, {}, house.now())
    return inside


@router.post("/sign-out", include_in_schema=False)
async def sign_out(request: Request, house: House) -> Response:
    """End this session; who came from a provider is told that she is still signed in there."""
    refuse_foreign(request, house.base_url)
    found = await house.sessions.find(request)
    came_by = [name for name, provider in house.providers.items() if found is not None and provider.settings.issuer == found[0].provider]
    # Not to the provider at once: a browser that keeps to our form-action would not follow.
    answer = RedirectResponse(f"/sign-in?left={came_by[0]}" if came_by else "/sign-in", 303)
    await house.sessions.close(request, answer)
    return answer


@router.put("/api/v1/people/{login}/password", status_code=204)
async def put_password(form: PasswordForm, person: Writing, caller: Known, house: House) -> None:
    """Set the password. She herself must know the old one, if there is one; all her sessions end."""
    known = await house.store.password(person.person_id)
    is_self = caller.person is not None and caller.person.person_id == person.person_id
    if known is not None and (is_self or not caller.is_admin) and not await fits(form.old_password, known):
        raise InvalidInput("this is not the old password", "old_password")
    await house.store.put_password(person.person_id, await hashed(form.password), house.now())
    await house.store.end_sessions(person.person_id)
    house.rights_changed()
    await house.store.audit(caller.name, "password.put", person.login, {}, house.now())
