"""Rooms that others add: agents found by entry point, ours registered the same way."""

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from angelia.model.errors import BadSettings

AGENTS = "angelia.agents"


def agent_classes() -> Mapping[str, Any]:
    """Agent classes by name. A class has `Settings` (a frozen dataclass, or None for none) and is called with it."""
    classes = {}
    for point in sorted(entry_points(group=AGENTS), key=lambda point: point.name):
        try:
            classes[point.name] = point.load()
        except ImportError as error:
            raise BadSettings(f"agent {point.name!r} can't be loaded: {error}; install its extra or remove it") from error
    return classes
