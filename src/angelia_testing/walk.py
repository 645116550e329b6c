"""Walking through an application: the framework's app behind the hot inlets, and all its routes."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from starlette.routing import Route

from angelia.web.late import Late


def app_behind(app: Any) -> FastAPI:
    """The framework's app; what stands before it gives on what it does not know."""
    while not isinstance(app, FastAPI):
        app = app.made() if isinstance(app, Late) else app._behind
    return app


def routes_of(app: Any) -> Iterator[Route]:
    """Each route once, those of included routers too."""
    for route in app.routes:
        included = getattr(route, "original_router", None)
        if included is not None:
            yield from routes_of(included)
        elif isinstance(route, Route):
            yield route
