"""Where a message stands among others: its thread, the thing that it tells of, and whether that goes on. Pure."""

from dataclasses import dataclass

from angelia.model.job import STATES
from angelia.model.message import Message

_FOREIGN = frozenset({"submitted", "waiting", "pending", "started", "progress", "paused"})
_RUNNING = _FOREIGN | {label for label, state in STATES.items() if not state.is_final}


@dataclass(frozen=True, slots=True)
class Place:
    """`thread` is the thread, or else the object; `track` the thing of which each word makes the one before out of date; "" for none.
    `is_progress`: the thing goes on, so the next word on it may take this one's place.
    """

    thread: str = ""
    track: str = ""
    is_progress: bool = False


def place_of(message: Message | None) -> Place:
    """Of a message; a digest has none. A thing goes on while the parameter `state` says so (`queued`, `running`, `started`, ...)."""
    if message is None:
        return Place()
    thread = message.thread or message.object
    track = message.collapse_key or thread
    state = message.params.get("state", "")
    return Place(thread, track, isinstance(state, str) and state.lower() in _RUNNING and bool(track))
