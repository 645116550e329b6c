"""Calls of the Bot API by one bot. Its token is part of the URL, so no URL is ever shown."""

import json
from typing import Any

from angelia.outbound import NoAnswer, Outbound, Request
from angelia.telegram import Answer, Kind, judged

MOST_ANSWER = 16_777_216  # bytes: a hundred updates with long texts


class Calls:
    """One bot at one server."""

    def __init__(self, outbound: Outbound, api: str, token: str, timeout: float) -> None:
        self._outbound, self._root, self._timeout = outbound, f"{api}/bot{token}", timeout

    async def __call__(self, method: str, fields: dict[str, Any], extra: float = 0.0) -> Answer:
        """One call; `extra` seconds where the server may let us wait. What brings no answer is DOWN."""
        request = Request(
            url=f"{self._root}/{method}",
            method="POST",
            headers={"Content-Type": "application/json"},
            content=json.dumps(fields).encode(),
            timeout=self._timeout + extra,
            most=MOST_ANSWER,
        )
        answer = await self._outbound.fetch(request)
        return Answer(Kind.DOWN, answer.why) if isinstance(answer, NoAnswer) else judged(answer.status, answer.said)
