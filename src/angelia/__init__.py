"""Angelia: a hub for personal messages in scientific computing."""

import importlib
from typing import Any

__version__ = "0.1.0"
_FROM_CLIENT = frozenset({"AsyncClient", "Client", "Receipt", "Refused", "send"})


def __getattr__(name: str) -> Any:
    """`angelia.send` and the clients, loaded when they are asked for: the command line starts without them."""
    if name in _FROM_CLIENT:
        return getattr(importlib.import_module("angelia.client"), name)
    raise AttributeError(f"module 'angelia' has no attribute {name!r}")
