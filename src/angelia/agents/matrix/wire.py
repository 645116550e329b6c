"""Requests to the homeserver (Client-Server API v1.11, spec.matrix.org), as the bot."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode

from angelia.agents.matrix.settings import MatrixSettings
from angelia.outbound import Answer, NoAnswer, Outbound, Request

MOST_WAIT = timedelta(days=1)


def in_path(text: str) -> str:
    """A room, an event or a transaction as a part of a path."""
    return quote(text, safe="")


class Homeserver:
    """The way there."""

    def __init__(self, settings: MatrixSettings, outbound: Outbound) -> None:
        self._settings, self._outbound = settings, outbound

    async def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, query: Mapping[str, str] | None = None, patience: float = 0.0
    ) -> Answer | NoAnswer:
        """One request. `patience` are seconds that the server may wait before it answers; then much may come."""
        headers = {"Authorization": f"Bearer {self._settings.token}", "Content-Type": "application/json"}
        asked = f"?{urlencode(query)}" if query else ""
        url = f"{self._settings.server}/_matrix/client/v3{path}{asked}"
        content = b"" if body is None else json.dumps(body, ensure_ascii=False).encode(errors="replace")
        request = Request(
            url=url,
            method=method,
            headers=headers,
            content=content,
            timeout=self._settings.timeout + patience,
            most=32 * 1_048_576 if patience else 4 * 1_048_576,
        )
        return await self._outbound.fetch(request)


def error_of(answer: Answer) -> str:
    """The specification's name of the error, "" for none."""
    return str(answer.said.get("errcode", ""))[:64]


def limited_for(answer: Answer) -> timedelta | None:
    """How long the server wants us to wait; None where it does not say so."""
    wait = answer.said.get("retry_after_ms", 5_000)
    return min(timedelta(milliseconds=int(wait)), MOST_WAIT) if isinstance(wait, int | float) and 0 <= wait < 1e12 else None
