"""Which person of ours an identity is: one who came before, one whose account she may take over, or a new one."""

from pydantic import TypeAdapter, ValidationError

from angelia.flow.profiles import zone_of
from angelia.model.errors import Conflict, InvalidInput
from angelia.model.person import Address, AddressState, Person
from angelia.web.context import Context
from angelia.web.forms import Language, Line, Login, checked_address
from angelia.web.signin.providers import Identity, OidcSettings, SignInFailed

_login: TypeAdapter[str] = TypeAdapter(Login)
_line: TypeAdapter[str] = TypeAdapter(Line)
_language: TypeAdapter[str] = TypeAdapter(Language)


def _or_else(kind: TypeAdapter[str], value: str, default: str) -> str:
    try:
        return kind.validate_python(value)
    except ValidationError:
        return default


async def person_of(house: Context, identity: Identity, settings: OidcSettings) -> Person:
    """Who she is here; SignInFailed where nobody, or nobody that may come in."""
    person = await house.store.person_of_identity(identity.issuer, identity.subject)
    if person is None:
        person = await _first_time(house, identity, settings)
    if not person.is_active:
        raise SignInFailed("stranger", f"{person.login} is not active")
    return await _with_rights(house, person, identity, settings)


async def _first_time(house: Context, identity: Identity, settings: OidcSettings) -> Person:
    login = _or_else(_login, identity.login, "")
    if not login:
        raise SignInFailed("nameless", f"the claim {settings.login_claim} is no login")
    person = await house.store.person(login)
    if person is None:
        person = await _created(house, login, identity, settings)
    elif not settings.links_people or any(issuer == identity.issuer for issuer, _ in await house.store.identities(person.person_id)):
        # A login that was given away again at the provider must not open what the first holder has here.
        raise SignInFailed("taken", f"{login} is somebody else here, or oidc.links_people is off")
    await house.store.link_identity(identity.issuer, identity.subject, person.person_id)
    linked = await house.store.person_of_identity(identity.issuer, identity.subject)
    if linked is None or linked.person_id != person.person_id:
        raise SignInFailed("taken", "another sign-in was faster")
    said = {"issuer": identity.issuer, "subject": identity.subject}
    await house.store.audit(f"provider:{identity.issuer}"[:255], "identity.link", login, said, house.now())
    return linked


async def _created(house: Context, login: str, identity: Identity, settings: OidcSettings) -> Person:
    if not settings.creates_people:
        raise SignInFailed("stranger", f"{login} is nobody here, and oidc.creates_people is off")
    zone = identity.time_zone
    try:
        person = await house.store.put_person(
            Person(
                person_id=0,
                login=login,
                name=_or_else(_line, identity.name, ""),
                time_zone=zone if zone and zone_of(zone).key == zone else "UTC",
                language=_or_else(_language, identity.language, "en"),
            )
        )
    except Conflict:
        raise SignInFailed("taken", "another sign-in was faster") from None
    await house.store.audit(f"provider:{identity.issuer}"[:255], "person.add", login, {}, house.now())
    await _add_mail(house, person, identity)
    house.changed("people")
    return person


async def _add_mail(house: Context, person: Person, identity: Identity) -> None:
    """Her mail address. Only what the provider has verified is written to; she can verify any other with a code."""
    try:
        value = checked_address(house, "mail", identity.email, "email") if identity.email else ""
    except InvalidInput:
        return
    if value:
        state = AddressState.OK if identity.is_email_verified else AddressState.UNVERIFIED
        verified_at = house.now() if identity.is_email_verified else None
        await house.store.add_address(
            Address(address_id=0, person_id=person.person_id, agent="mail", value=value, state=state, origin="directory", verified_at=verified_at)
        )


async def _with_rights(house: Context, person: Person, identity: Identity, settings: OidcSettings) -> Person:
    """Where a group of the provider makes administrators, it makes them both ways."""
    is_admin = settings.admin_group in identity.groups
    if not settings.admin_group or is_admin == person.is_admin:
        return person
    changed = await house.store.change_person(person.person_id, {"is_admin": is_admin})
    await house.store.audit(f"provider:{identity.issuer}"[:255], "person.change", person.login, {"is_admin": is_admin}, house.now())
    house.changed("people")
    house.rights_changed()
    return changed
