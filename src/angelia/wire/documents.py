"""A document of wishes as TOML text and back, for the command line and the pages alike."""

import tomllib
from typing import Any

import tomlkit

from angelia.model.errors import InvalidInput


def from_toml(text: str) -> dict[str, Any]:
    """The document in a TOML text, times as texts. InvalidInput says in which line it is no TOML."""
    try:
        document: dict[str, Any] = _plain(tomllib.loads(text.replace("\r\n", "\n")))
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"this is not TOML: {error}", is_syntax=True) from None
    except RecursionError:
        raise InvalidInput("this is nested too deeply", is_syntax=True) from None
    return document


def to_toml(document: dict[str, Any]) -> str:
    """A document as TOML text."""
    return tomlkit.dumps(document)


def _plain(value: Any) -> Any:
    """TOML's times become texts, as JSON has them."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value.isoformat() if hasattr(value, "isoformat") else value
