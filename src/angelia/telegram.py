"""What the answers of the Bot API mean, for all who call it; texts cut as it counts. Source: core.telegram.org/bots/api. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

MOST_TEXT = 4_096
"""UTF-16 code units of a message."""
DEFAULT_WAIT = 30.0
LONGEST_WAIT = 86_400.0
_LOST = re.compile(
    r"chat not found|bot was blocked|bot was kicked|user is deactivated|bot can't initiate|not a member|have no rights|need administrator"
    r"|group chat was deactivated|peer_id_invalid|chat_write_forbidden",
    re.IGNORECASE,
)
_UNCHANGED = re.compile(r"message is not modified", re.IGNORECASE)
_NOT_TO_EDIT = re.compile(r"message can't be edited|message to edit not found|message_id_invalid|message identifier is not specified", re.IGNORECASE)


class Kind(Enum):
    """Who must do what."""

    DONE = "done"
    UNCHANGED = "unchanged"
    """An edit that would change nothing: as good as done."""
    NOT_TO_EDIT = "not_to_edit"
    """The message is too old, or gone: say it anew."""
    BUSY = "busy"
    """Too much: ask again after `wait`."""
    MOVED = "moved"
    """The group has another number now, `moved_to`."""
    LOST = "lost"
    """The bot can't write to this chat: it was blocked, thrown out, or never let in."""
    BAD = "bad"
    """What was asked can't be done, now or later."""
    UNKNOWN_BOT = "unknown_bot"
    """The token is wrong."""
    CONFLICT = "conflict"
    """Another program asks for this bot's updates."""
    DOWN = "down"
    """The server itself has a problem."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. `wait` in seconds where it is BUSY; `moved_to` where it is MOVED; `result` where it is DONE."""

    kind: Kind
    why: str = ""
    wait: float = 0.0
    moved_to: str = ""
    result: Any = None


def judged(status: int, said: Mapping[str, Any]) -> Answer:
    """An answer by its HTTP status and its JSON, empty where it had none."""
    if status == 200 and said.get("ok") is True:
        return Answer(Kind.DONE, result=said.get("result"))
    why = str(said.get("description", f"Telegram answered {status}"))[:200]
    given = said.get("parameters")
    more: Mapping[str, Any] = given if isinstance(given, dict) else {}
    if status == 429:
        wait = more.get("retry_after")
        is_number = isinstance(wait, int | float) and 0 < wait < float("inf")
        return Answer(Kind.BUSY, why, min(float(wait), LONGEST_WAIT) if is_number and wait is not None else DEFAULT_WAIT)
    if isinstance(more.get("migrate_to_chat_id"), int):
        return Answer(Kind.MOVED, why, moved_to=str(more["migrate_to_chat_id"]))
    return Answer(_kind(status, why), why)


def _kind(status: int, why: str) -> Kind:
    if status in (401, 404):
        return Kind.UNKNOWN_BOT
    if status == 409:
        return Kind.CONFLICT
    if status == 403 or (status == 400 and _LOST.search(why)):
        return Kind.LOST
    if status == 400:
        if _UNCHANGED.search(why):
            return Kind.UNCHANGED
        return Kind.NOT_TO_EDIT if _NOT_TO_EDIT.search(why) else Kind.BAD
    return Kind.DOWN
