"""What one person is at sign-in providers: list, and remove what opens her account no more, but never the last way in."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query

from angelia.model.errors import NotFound
from angelia.model.person import Person
from angelia.web.access import House, Known, Reading, Writing
from angelia.web.context import Context

router = APIRouter(prefix="/api/v1/people/{login}", tags=["person"])
Body = dict[str, Any]
Text = Annotated[str, Query(min_length=1, max_length=2_000)]


@dataclass(frozen=True, slots=True)
class Bound:
    """One identity. `provider` is its name in the settings, "" where this hub knows that issuer no more: then nobody can sign in by it."""

    issuer: str
    subject: str
    provider: str
    title: str
    is_last_way: bool


async def bound_to(house: Context, person: Person) -> list[Bound]:
    """Hers, by issuer."""
    names = {provider.settings.issuer: name for name, provider in house.providers.items()}
    found = await house.store.identities(person.person_id)
    opening = [issuer for issuer, _ in found if issuer in names]
    has_other = len(opening) > 1 or (house.has_passwords and await house.store.password(person.person_id) is not None)
    return [
        Bound(issuer, subject, name, house.providers[name].title if name else issuer, bool(name) and not has_other)
        for issuer, subject in found
        for name in (names.get(issuer, ""),)
    ]


def identity_out(bound: Bound) -> Body:
    """An identity; `is_last_way`: without it she could not sign in."""
    return {"issuer": bound.issuer, "subject": bound.subject, "provider": bound.provider, "is_last_way": bound.is_last_way}


@router.get("/identities")
async def list_identities(person: Reading, house: House) -> Body:
    """By which identities at sign-in providers she comes in."""
    return {"items": [identity_out(bound) for bound in await bound_to(house, person)]}


@router.delete("/identities", status_code=204)
async def remove_identity(person: Writing, caller: Known, house: House, issuer: Text, subject: Text) -> None:
    """It opens her account no more, and what it opened ends. The last way to sign in stays: that is a conflict."""
    opening = {provider.settings.issuer for provider in house.providers.values()}
    if not await house.store.unlink_identity(issuer, subject, person.person_id, opening, has_passwords=house.has_passwords):
        raise NotFound("there is no such identity")
    house.rights_changed()
    await house.store.audit(caller.name, "identity.unlink", person.login, {"issuer": issuer, "subject": subject}, house.now())
