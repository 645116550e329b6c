"""Signing in at a provider: there, back with a code, and out again when the provider says so (OpenID Connect)."""

from hmac import compare_digest
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from angelia import telemetry
from angelia.model.errors import NotFound, RateLimited
from angelia.web.access import House
from angelia.web.context import Context
from angelia.web.signin.door import door
from angelia.web.signin.flows import LIVES, new_flow, packed, unpacked
from angelia.web.signin.guard import local_place
from angelia.web.signin.newcomers import person_of
from angelia.web.signin.providers import Flow, Provider, ProviderAway, SignInFailed
from angelia.web.signin.tries import Tries, place_of

router = APIRouter(prefix="/sign-in/{name}", include_in_schema=False)
_by_place = Tries(60, 60.0)
_arrivals = Tries(1, float(LIVES))
_MOST_CODE = 2_048


def _provider(house: Context, name: str) -> Provider:
    found = house.providers.get(name)
    if found is None:
        raise NotFound("there is no such way to sign in")
    return found


def _cookie(house: Context) -> str:
    return f"{house.sessions.cookie}-flow"


def _back(house: Context, provider: Provider) -> str:
    """One place a provider, so that an answer of one can't be taken for another's."""
    return f"{house.base_url}/sign-in/{provider.name}/callback"


def _refused(request: Request, provider: Provider, error: SignInFailed, place: str = "/") -> Response:
    telemetry.log.warning("sign_in_refused", provider=provider.name, why=str(error))
    answer = door(request, error.status, next=place, error=error.kind, provider=provider)
    if isinstance(error, ProviderAway):
        answer.headers["Retry-After"] = "10"
    return answer


@router.get("")
async def leave(name: str, request: Request, house: House, next: str = "/") -> Response:
    """To the provider. A link and no form: browsers that keep to our form-action would not follow a form to another site."""
    provider = _provider(house, name)
    _by_place.take(place_of(request))
    flow = new_flow(name, local_place(next), int(house.now().timestamp()))
    try:
        place = await provider.leave(flow, _back(house, provider))
    except SignInFailed as error:
        return _refused(request, provider, error, flow.place)
    answer = RedirectResponse(place, 303, headers={"Cache-Control": "no-store"})
    answer.set_cookie(
        _cookie(house), packed(flow, house.secret), max_age=LIVES, path="/", secure=house.sessions.is_secure, httponly=True, samesite="lax"
    )
    return answer


@router.get("/callback")
async def arrive(name: str, request: Request, house: House, state: str = "", code: str = "", error: str = "", iss: str = "") -> Response:
    """Back from the provider, with a code that gives an identity. All that is wrong ends on the sign-in page, without a session."""
    provider = _provider(house, name)
    flow = unpacked(request.cookies.get(_cookie(house), ""), house.secret, int(house.now().timestamp()))
    try:
        _by_place.take(place_of(request))
        flow = _checked(flow, name, state)
    except (SignInFailed, RateLimited) as wrong:
        # No entry in the audit log: whoever comes without a flow of ours is nobody who tried to sign in.
        return _refused(request, provider, wrong if isinstance(wrong, SignInFailed) else SignInFailed("often", str(wrong)))
    try:
        answer = await _signed_in(request, house, provider, flow, code, error, iss)
    except SignInFailed as wrong:
        await house.store.audit("visitor", "sign-in.refused", f"provider:{name}", {"why": str(wrong)}, house.now())
        answer = _refused(request, provider, wrong, flow.place)
    answer.delete_cookie(_cookie(house), path="/", secure=house.sessions.is_secure, httponly=True, samesite="lax")
    return answer


def _checked(flow: Flow | None, name: str, state: str) -> Flow:
    if flow is None or flow.provider != name or not state.isascii() or not compare_digest(state, flow.state):
        raise SignInFailed("stale", "the answer belongs to no sign-in of this browser")
    try:
        _arrivals.take(flow.state)
    except RateLimited:
        raise SignInFailed("stale", "the answer came before") from None
    return flow


async def _signed_in(request: Request, house: Context, provider: Provider, flow: Flow, code: str, error: str, iss: str) -> Response:
    if error:
        kind = "denied" if error in ("access_denied", "login_required", "consent_required", "interaction_required") else "refused"
        raise SignInFailed(kind, f"it said {error[:64]!r}")
    if not 0 < len(code) <= _MOST_CODE or not code.isprintable():
        raise SignInFailed("refused", "there is no code in the answer")
    identity = await provider.arrive(flow, _back(house, provider), code, iss)
    person = await person_of(house, identity, provider.settings)
    inside = RedirectResponse(local_place(flow.place), 303, headers={"Cache-Control": "no-store"})
    await house.sessions.open(request, inside, person, identity.issuer, identity.session)
    await house.store.audit(f"person:{person.login}", "sign-in", person.login, {"provider": provider.name}, house.now())
    return inside


@router.post("/logout")
async def ended(name: str, house: House, logout_token: Annotated[str, Form()] = "") -> Response:
    """The provider itself says that somebody is signed out there (Back-Channel Logout 1.0): so is she here. No cookie is looked at."""
    provider = _provider(house, name)
    headers = {"Cache-Control": "no-store"}
    try:
        gone = await provider.ended(logout_token)
    except SignInFailed as error:
        telemetry.log.warning("logout_refused", provider=name, why=str(error))
        return JSONResponse({"error": "invalid_request", "error_description": "this logout token is not good"}, error.status, headers=headers)
    count = await house.store.end_provider_sessions(gone.issuer, gone.subject, gone.session)
    house.rights_changed()
    if count:
        await house.store.audit(f"provider:{name}", "sign-out", gone.subject or gone.session, {"sessions": count}, house.now())
    return Response(status_code=200, headers=headers)
