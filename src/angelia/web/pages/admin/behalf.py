"""The wishes and addresses of somebody else: her own pages, below her account, each change of theirs noted with what was and what became."""

from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.routing import BaseRoute, Mount, Router
from starlette.types import Message, Receive, Scope, Send

from angelia.flow.verification import PLACE
from angelia.web.access import kept_of, note_change
from angelia.web.context import Context
from angelia.web.pages import addresses, away, exchange, expectations, follows, preferences, rules, schedules, types

ROOMS = (preferences, exchange, types, rules, schedules, follows, away, expectations, addresses)
HERS_ALONE = (PLACE, "/rules/{rule_id}/matches")
"""The link of a mail proves that an address is hers only if she opens it; what a rule matched stands in her inbox."""
NOTED_ELSEWHERE = frozenset(
    {"addresses.add", "addresses.delete", "addresses.link", "expectations.add", "expectations.address", "expectations.revoke", "expectations.remove"}
)
ACTS = frozenset({"addresses.code", "addresses.test"})
"""What is noted although nothing that is kept changes: something was sent."""


def routes_for_another() -> list[BaseRoute]:
    """The same routes as her own pages have: they are not made anew, which would cost the start of the hub."""
    return [route for room in ROOMS for route in room.router.routes if isinstance(route, APIRoute) and route.path not in HERS_ALONE]


class Noted:
    """Before the pages: what a form changed is noted before it is answered."""

    def __init__(self, behind: Router) -> None:
        self._behind = behind
        self.routes = behind.routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; ASGI."""
        house: Context = scope["app"].state.context
        is_change = scope["type"] == "http" and scope["method"] == "POST"
        actor = await _administrator(scope, house) if is_change else None
        person = await house.store.person(scope["path_params"]["whose"]) if actor else None
        if actor is None or person is None:
            # Nothing is changed, or nobody may change it here: the pages say so.
            await self._behind(scope, receive, send)
            return
        before = await kept_of(house, person)

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 400:
                action, places = _said(scope)
                if action not in NOTED_ELSEWHERE:
                    await note_change(house, actor, f"behalf.{action}", person, places, before, is_noted_anyway=action in ACTS)
            await send(message)

        await self._behind(scope, receive, noting)


async def _administrator(scope: Scope, house: Context) -> str | None:
    """The name, for the audit log, of the administrator who asks; None where somebody else does."""
    found = await house.sessions.find(Request(scope))
    return f"person:{found[1].login}" if found is not None and found[1].is_admin else None


def _said(scope: Scope) -> tuple[str, dict[str, Any]]:
    """Room and name of what was done, and about which thing of hers."""
    route = scope["route"]
    places = {name: value for name, value in scope["path_params"].items() if name not in ("whose", "path")}
    return f"{route.path.split('/')[1]}.{route.name}", places


router = APIRouter(include_in_schema=False)
router.routes.append(Mount("/admin/people/{whose}", app=Noted(Router(routes=routes_for_another()))))
