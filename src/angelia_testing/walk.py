"""Walking through an application: the framework's app behind the hot inlets, and all its routes."""

from collections.abc import Iterator
from copy import copy
from typing import Any

from fastapi import FastAPI
from starlette.routing import Mount, Route

from angelia.web.late import Late


def app_behind(app: Any) -> FastAPI:
    """The framework's app; what stands before it gives on what it does not know."""
    while not isinstance(app, FastAPI):
        app = app.made() if isinstance(app, Late) else app._behind
    return app


def routes_of(app: Any) -> Iterator[Route]:
    """Each route once, those of included routers and of mounted ones too."""
    for route in app.routes:
        included = getattr(route, "original_router", None)
        if included is not None:
            yield from routes_of(included)
        elif isinstance(route, Mount):
            for below in routes_of(route):
                there = copy(below)
                there.path = route.path + below.path
                yield there
        elif isinstance(route, Route):
            yield route
