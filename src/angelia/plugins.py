"""Rooms that others add: agents found by entry point, ours registered the same way."""

import sys
from collections.abc import Mapping
from functools import cache, partial
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from angelia.model.errors import BadSettings

AGENTS = "angelia.agents"
INSTRUMENTS = "angelia.instruments"
# Loaded where a provider is configured, and only there: reading its library takes a tenth of a second of every start.
_OIDC = EntryPoint("oidc", "angelia.web.signin.provider:OidcProvider", "angelia.providers")
# The framework and all routes: half of what there is to read.
_PAGES = EntryPoint("api", "angelia.web.app:make_api", "angelia.web")
_SIGNED = EntryPoint("signed", "angelia.wire.signed_tokens:SignedTokens", "angelia.tokens")


@cache
def _points(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """The entry points of a group, by name. To find them, a file of each installed package is read."""
    del path  # where they are looked for
    return tuple(sorted(entry_points(group=group), key=lambda point: point.name))


def agent_classes() -> Mapping[str, Any]:
    """Agent classes by name. A class has `Settings` (a frozen dataclass, or None for none) and is called with it."""
    classes = {}
    for point in _points(AGENTS, tuple(sys.path)):
        try:
            classes[point.name] = point.load()
        except Exception as error:
            # Whatever it is, it is not ours: the operator hears whose file it is.
            raise BadSettings(f"agent {point.name!r} can't be loaded: {error}; install its extra or remove it") from error
    return classes


def instrument_class(adapter: str) -> Any:
    """The class of one kind of instruments. It has `Settings` (a frozen dataclass, or None) and `declares` (a declaration of its own, or None).

    Only what is configured is loaded: some bring large libraries.
    """
    points = {point.name: point for point in _points(INSTRUMENTS, tuple(sys.path))}
    if adapter not in points:
        raise BadSettings(f"there is no instrument adapter {adapter!r}; there are {', '.join(sorted(points))}")
    try:
        return points[adapter].load()
    except Exception as error:
        raise BadSettings(f"instrument adapter {adapter!r} can't be loaded: {error}; install its extra or remove it") from error


def provider_class() -> Any:
    """The class of sign-in providers; it is called with a name, its settings, and the networks and certificates of outgoing requests."""
    try:
        return _OIDC.load()
    except ImportError as error:
        raise BadSettings(f"sign-in at a provider can't be loaded: {error}") from error


def signed_tokens_class() -> Any:
    """The class that knows tokens of another service; it is called with a public key and the algorithms that may be used."""
    return _SIGNED.load()


def api_maker() -> Any:
    """What makes the application of API and pages; it is called with the context of the web."""
    return _PAGES.load()


def narrow_api(path: str) -> Any:
    """What makes the API as far as a call of this path needs it; like `api_maker`."""
    rooms = part("angelia.web.narrow:rooms_of")(path)
    return partial(part("angelia.web.narrow:make_narrow"), rooms=rooms) if rooms else api_maker()


@cache
def part(reference: str) -> Any:
    """A part of the house's own, `module:name`, read when a site first needs it."""
    return EntryPoint(reference, reference, "angelia.parts").load()
