"""A setting with its explanation beside its default: what the reference and `angelia config show` print."""

from dataclasses import field
from typing import Any


def say(default: Any, text: str) -> Any:
    """A field of a frozen dataclass of settings; `text` is kept as its metadata `help`."""
    return field(default=default, metadata={"help": text})
