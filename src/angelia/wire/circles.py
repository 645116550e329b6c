"""What the hub sent itself does not come in again as something new: a letter to an address that posts here would go round for ever (fault F56)."""

import hmac
import json

from angelia.outbound import SENT_BY
from angelia.wire.asgi import App, Receive, Scope, Send, respond
from angelia.wire.problems import PROBLEM_HEADERS, problem

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


def mark_of(secret: bytes) -> str:
    """By which a hub knows itself again; it tells nothing of the secret."""
    return hmac.digest(secret, b"sent by", "sha256").hex()[:16]


class NoCircles:
    """Refuses what carries our own mark, unless it only reads; another hub's letters are welcome."""

    def __init__(self, behind: App, mark: str) -> None:
        self._behind, self._ours = behind, (SENT_BY.lower().encode(), mark.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI app."""
        if scope["type"] == "http" and scope["method"] not in _READING and self._ours in map(tuple, scope["headers"]):
            body = json.dumps(problem(508, "this hub has sent this itself: it would go round for ever")).encode()
            return await respond(send, 508, body, PROBLEM_HEADERS)
        return await self._behind(scope, receive, send)
