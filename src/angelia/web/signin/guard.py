"""Who is at the page: dependencies that give the visitor, or send her to sign in; and a check that a change comes from our own pages."""

from dataclasses import dataclass, field, replace
from typing import Annotated
from urllib.parse import quote

from fastapi import Depends, Request

from angelia.model.errors import Forbidden, NotFound
from angelia.model.person import Person
from angelia.store import Session
from angelia.web.access import House
from angelia.web.context import Context
from angelia.wire.callers import Caller, by_session

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class SignInNeeded(Exception):
    """Nobody is signed in; `place` is where she wanted to go."""

    def __init__(self, place: str) -> None:
        super().__init__(place)
        self.place = place


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who is signed in, and as what she calls the functions of the API.

    `person` is she whose things a page shows: the same, but where an administrator is at the wishes of somebody else. Those pages lie below
    `home`, which is empty for one's own.
    """

    person: Person
    session: Session
    caller: Caller = field(default_factory=Caller)
    home: str = ""

    @property
    def reader(self) -> Person:
        """Who looks at the page."""
        return self.person if self.caller.person is None else self.caller.person

    @property
    def is_for_another(self) -> bool:
        """Are these the things of somebody else?"""
        return bool(self.home)

    def at(self, place: str) -> str:
        """Where a page of hers lies for who looks at it."""
        return self.home + place


def refuse_foreign(request: Request, base_url: str) -> None:
    """A change must come from our own pages (checklist S6): browsers say so in Sec-Fetch-Site, older ones in Origin. GET changes nothing."""
    if request.method in _SAFE:
        return
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    # By the scheme that people use: behind a proxy that speaks TLS this request itself came without, and a page over plain HTTP is another origin.
    own = (base_url, f"{base_url.partition(':')[0]}://{request.headers.get('host', '')}")
    if site is None and origin is None:
        raise Forbidden("your browser does not say from which page this comes; use a token and the API instead")
    if (origin not in own) if site is None else (site != "same-origin"):
        raise Forbidden("this change did not come from a page of this hub; open the page and try again")


async def maybe_visitor(request: Request, house: House) -> Visitor | None:
    """Whoever is signed in."""
    refuse_foreign(request, house.base_url)
    found = await house.sessions.find(request)
    if found is None:
        return None
    session, person = found
    visitor = Visitor(person, session, by_session(person))
    whose = request.path_params.get("whose")
    return visitor if whose is None else await _for_another(visitor, whose, house)


async def _for_another(visitor: Visitor, login: str, house: Context) -> Visitor:
    """An administrator at the wishes of somebody else; to others there is no such page."""
    if not visitor.person.is_admin:
        raise NotFound("there is no such page")
    person = await house.store.person(login)
    if person is None or person.group is not None:
        raise NotFound("there is no such person")
    return replace(visitor, person=person, home=f"/admin/people/{quote(person.login, safe='')}")


Maybe = Annotated[Visitor | None, Depends(maybe_visitor)]


async def signed_in(request: Request, visitor: Maybe) -> Visitor:
    """The visitor; who is not signed in is sent to do so, and comes back."""
    if visitor is None:
        place = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        raise SignInNeeded(place if request.method == "GET" else "/")
    return visitor


Visiting = Annotated[Visitor, Depends(signed_in)]


async def signed_in_administrator(visitor: Visiting) -> Visitor:
    """An administrator; to others there is no such page."""
    if not visitor.person.is_admin:
        raise NotFound("there is no such page")
    return visitor


Administering = Annotated[Visitor, Depends(signed_in_administrator)]


def local_place(place: str) -> str:
    """A place on this hub, else the start: never a way off-site (checklist S25)."""
    if not place.startswith("/") or place.startswith(("//", "/\\", "/sign-")) or any(ord(letter) <= 0x20 for letter in place) or "\\" in place:
        return "/"
    return place


def sign_in_place(place: str) -> str:
    """Where one signs in before going to a place."""
    return "/sign-in" if place == "/" else f"/sign-in?next={quote(place)}"
