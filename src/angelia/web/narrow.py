"""The API for one call: only the rooms that lie at its path, so that a command of the command line reads no more than it uses."""

import importlib
from collections.abc import Awaitable, Callable, Sequence

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import RequestBodyLimitMiddleware

from angelia.model.errors import AngeliaError
from angelia.web.context import Context
from angelia.web.failures import TOO_LONG, invalid_of, is_too_long, problem_answer, told_answer
from angelia.web.openapi import Api
from angelia.wire.problems import TITLES

ROOMS = {
    "messages": ("messages",),
    "people": ("people",),
    "groups": ("people",),
    "relations": ("people",),
    "objects": ("people",),
    "site": ("site",),
    "types": ("site",),
    "sources": ("site",),
    "deliveries": ("operations",),
    "breakers": ("operations",),
    "agents": ("operations",),
    "parked": ("operations",),
    "backlog": ("operations",),
    "conservation": ("operations",),
    "templates": ("templates",),
    "audit": ("audit",),
    "statistics": ("statistics",),
    "experiments": ("experiments",),
    "events": ("events",),
    "exchanges": ("exchanges",),
    "expectations": ("expectations",),
    "ping": ("pings",),
    "jobs": ("plots", "jobs"),
    "instruments": ("jobs",),
    "uploads": ("jobs",),
}
"""Whose routes lie below /api/v1/ and this word."""
OF_PERSON = {
    "preferences": ("wants", "wishes"),
    "rules": ("rules", "wants"),
    "addresses": ("addresses",),
    "agents": ("addresses",),
    "inbox": ("inbox",),
    "feeds": ("keys",),
    "tokens": ("keys",),
    "password-link": ("accounts",),
    "expectations": ("expectations",),
}
"""And below /api/v1/people/<login>/ and this one."""


def rooms_of(path: str) -> Sequence[str]:
    """The rooms at a path, in the order in which the whole API asks them; none where this table does not know the path."""
    parts = path.removeprefix("/api/v1/").split("/")
    if not path.startswith("/api/v1/"):
        return ()
    return OF_PERSON.get(parts[2], ()) if parts[0] == "people" and len(parts) > 2 else ROOMS.get(parts[0], ())


def make_narrow(context: Context, rooms: Sequence[str]) -> Api:
    """As `make_api`, with these rooms alone."""
    app = Api(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.context = context
    for room in rooms:
        app.take(importlib.import_module(f"angelia.web.{room}").router)
    app.add_exception_handler(AngeliaError, _told)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=context.max_body)
    app.middleware("http")(_bounded)
    return app


async def _bounded(request: Request, proceed: Callable[[Request], Awaitable[Response]]) -> Response:
    return problem_answer(413, TOO_LONG) if is_too_long(request) else await proceed(request)


async def _told(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, AngeliaError)
    return told_answer(error)


async def _invalid(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, RequestValidationError)
    return problem_answer(*invalid_of(error))


async def _http(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, HTTPException)
    return problem_answer(error.status_code, TITLES.get(error.status_code, str(error.detail)))
