"""What a message says, as data for media that programs read."""

from collections.abc import Iterable
from typing import Any

from angelia.model.message import Message
from angelia.model.moments import public_id


def facts_of(message: Message, because: Iterable[str]) -> dict[str, Any]:
    """JSON of the message beside its rendered text; `because` are the reasons for which its reader gets it."""
    return {
        "message_id": public_id("msg", message.message_id),
        "severity": message.severity.label,
        "source": message.source,
        "object": message.object,
        "object_url": message.object_url,
        "tags": [[name, value] for name, value in message.tags],
        "params": dict(message.params),
        "because": list(because),
    }
