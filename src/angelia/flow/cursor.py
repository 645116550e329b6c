"""What a client of live streams asks with and comes back with: patterns of its bindings, and one cursor over all its exchanges."""

from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote, unquote

from angelia.model.errors import InvalidInput
from angelia.model.event import Position

MOST_BINDINGS = 64  # of one client
MOST_KEY = 255  # bytes, AMQP's limit

Cursor = Mapping[str, Position]


def cursor_text(positions: Cursor) -> str:
    """One cursor over all exchanges of a client: opaque to it, the same on every way."""
    if len(positions) == 1:
        ((name, position),) = positions.items()
        return f"{_quoted(name)}@{position.epoch}-{position.sequence}"
    return ",".join(f"{_quoted(name)}@{position}" for name, position in sorted(positions.items()))


@lru_cache(maxsize=1_024)
def _quoted(name: str) -> str:
    return quote(name, safe="")


def parse_cursor(text: str) -> dict[str, Position] | None:
    """The positions in a cursor, or None if it is none of ours."""
    found: dict[str, Position] = {}
    for part in text.split(",") if text else ():
        name, sign, rest = part.partition("@")
        position = Position.parse(rest)
        if not sign or position is None:
            return None
        found[unquote(name)] = position
    return found if len(found) <= MOST_BINDINGS else None


def check_pattern(key: object) -> str:
    """A pattern that AMQP can hold, or InvalidInput."""
    if not isinstance(key, str):
        raise InvalidInput("the key is a text", "key")
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise InvalidInput("the key is no Unicode text", "key") from None
    if size > MOST_KEY or "\x00" in key:
        raise InvalidInput(f"a key has at most {MOST_KEY} bytes", "key")
    return key
