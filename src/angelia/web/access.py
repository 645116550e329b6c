"""Who may do what on the API: dependencies that give the caller, a person of hers, or refuse."""

from typing import Annotated

from fastapi import Depends, Request

from angelia.model.errors import Forbidden, NotAuthenticated, NotFound
from angelia.model.person import Person
from angelia.web.context import Context
from angelia.wire.callers import Caller


def context_of(request: Request) -> Context:
    """What the house gave."""
    context: Context = request.app.state.context
    return context


House = Annotated[Context, Depends(context_of)]


async def known_caller(request: Request, house: House) -> Caller:
    """Whoever has good credentials."""
    caller = await house.callers.of(request.headers.get("authorization", "").encode("latin-1"))
    if caller is None:
        raise NotAuthenticated("this needs your token: Authorization: Bearer ang_...")
    return caller


Known = Annotated[Caller, Depends(known_caller)]


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
    return await _mine(login, caller, house, frozenset({"read", "write", "admin"}))


async def writable_person(login: str, caller: Known, house: House) -> Person:
    """A person whose things the caller may change."""
    return await _mine(login, caller, house, frozenset({"write", "admin"}))


Reading = Annotated[Person, Depends(readable_person)]
Writing = Annotated[Person, Depends(writable_person)]
