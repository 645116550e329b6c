"""Who may do what on the API: dependencies that give the caller, a person of hers, or refuse."""

from collections.abc import AsyncIterator, Collection, Mapping
from typing import Annotated, Any

from fastapi import Depends, Request

from angelia.model.errors import Forbidden, InvalidInput, NotAuthenticated, NotFound
from angelia.model.person import Person
from angelia.planning.editing import documents_differ
from angelia.planning.expecting import rhythm_text
from angelia.web.context import Context
from angelia.wire.callers import READING, WRITING, Caller


def context_of(request: Request) -> Context:
    """What the house gave."""
    context: Context = request.app.state.context
    return context


NOTED_ELSEWHERE = frozenset(
    {
        "add_address", "delete_address", "add_feed", "rotate_feed", "revoke_feed", "add_token", "revoke_token", "put_password",
        "end_session", "end_sessions", "remove_identity", "link_address", "add_expectation", "remove_expectation", "rotate_expectation",
        "revoke_expectation",
    }
)  # fmt: skip
"""What notes itself, also where it is one's own."""
MOST_CHANGES = 50
House = Annotated[Context, Depends(context_of)]


async def known_caller(request: Request, house: House) -> Caller:
    """Whoever has good credentials."""
    caller = await house.callers.of(request.headers.get("authorization", "").encode("latin-1"))
    if caller is None:
        raise NotAuthenticated("this needs your token: Authorization: Bearer ang_...")
    return caller


Known = Annotated[Caller, Depends(known_caller)]


async def unknown_names(house: Context, names: Collection[str]) -> list[str]:
    """Those that are neither a login nor a group as `group:<name>`, sorted."""
    return sorted(set(names) - (await house.store.person_ids(set(names))).keys()) if names else []


async def check_names(house: Context, names: Collection[str], field: str) -> None:
    """Is each a login, or a group as `group:<name>`? InvalidInput names those that are not: a slip of the pen is told here."""
    if missing := await unknown_names(house, names):
        raise InvalidInput(f"nobody here is called {', '.join(missing[:5])}; a group is written group:<name>", field)


async def administrator(caller: Known) -> Caller:
    """An administrator, or the operator at the machine."""
    if not caller.is_admin:
        raise Forbidden("this is for administrators")
    return caller


Admin = Annotated[Caller, Depends(administrator)]


async def _mine(login: str, caller: Caller, house: Context, scopes: frozenset[str]) -> Person:
    """The person in the path, if the caller is she or an administrator; to others there is nobody of that name (checklist S15)."""
    if login == "me":
        if caller.person is None:
            raise NotFound("there is no person behind these credentials")
        login = caller.person.login
    if not caller.is_admin:
        if caller.person is None or caller.person.login != login:
            raise NotFound("there is no such person")
        if not caller.scopes & scopes:
            raise Forbidden(f"this token lacks the scope {' or '.join(sorted(scopes))}")
    person = await house.store.person(login)
    if person is None:
        raise NotFound("there is no such person")
    return person


async def readable_person(login: str, caller: Known, house: House) -> Person:
    """A person whose things the caller may read."""
    return await _mine(login, caller, house, READING)


async def looked_into(request: Request, person: Annotated[Person, Depends(readable_person)], caller: Known, house: House) -> Person:
    """A person whose messages the caller may read. That somebody else looked into them is noted before they are shown."""
    if caller.person is None or caller.person.login != person.login:
        places = {name: str(value)[:255] for name, value in (request.path_params | dict(request.query_params)).items() if name != "login"}
        await house.store.audit(caller.name, f"look.{request.scope['route'].name}", person.login, {"at": places}, house.now())
    return person


async def writable_person(request: Request, login: str, caller: Known, house: House) -> AsyncIterator[Person]:
    """A person whose things the caller may change. What somebody else changes there is noted, with what it was and what it has become."""
    person = await _mine(login, caller, house, WRITING)
    if caller.person is not None and caller.person.login == person.login:
        yield person
        return
    before = await kept_of(house, person)
    yield person
    route = request.scope["route"]
    if route.name in NOTED_ELSEWHERE:
        return
    places = {name: value for name, value in request.path_params.items() if name != "login"} | dict(request.query_params)
    await note_change(house, caller.name, f"behalf.{route.name}", person, places, before)


async def kept_of(house: Context, person: Person) -> dict[str, Any]:
    """What somebody else may change of hers: her document, and by their ids the states of her addresses and what she expects."""
    document, _ = await house.store.wants(person.login)
    return dict(document) | {
        "addresses": {
            str(one.address_id): {"agent": one.agent, "state": one.state.value, "is_default": one.is_default}
            for one in await house.store.addresses(person.person_id)
        },
        "expectations": {
            str(one.expectation_id): {
                "title": one.title, "rhythm": rhythm_text(one), "grace": str(one.grace), "to": list(one.to), "severity": one.severity.label,
                "signs": [one.source, one.type, one.object], "is_paused": one.is_paused,
            }
            for one, _ in await house.store.list_expectations(person.person_id)
        },
    }  # fmt: skip


async def note_change(
    house: Context, actor: str, action: str, person: Person, places: Mapping[str, Any], before: dict[str, Any], *, is_noted_anyway: bool = True
) -> None:
    """Note what differs now from before: at most 50 values, each with what it was and what it has become."""
    changes = documents_differ(before, await kept_of(house, person))[:MOST_CHANGES]
    if changes or is_noted_anyway:
        said = {"at": {name: str(value)[:255] for name, value in places.items()}, "changes": changes}
        await house.store.audit(actor, action, person.login, said, house.now())


Reading = Annotated[Person, Depends(readable_person)]
Looking = Annotated[Person, Depends(looked_into)]
# Noted before it is answered: what was acknowledged and not noted could not be found again.
Writing = Annotated[Person, Depends(writable_person, scope="function")]
