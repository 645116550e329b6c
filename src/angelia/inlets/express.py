"""The HTTP inlet's express: single JSON messages of known callers, those of one turn of the loop accepted together."""

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from angelia import telemetry
from angelia.inlet import Accept, Draft
from angelia.inlets.http import JSON, MESSAGES, answer_of, rated
from angelia.model.errors import AngeliaError, StoreUnavailable
from angelia.wire import express
from angelia.wire.callers import Caller, Callers
from angelia.wire.fields import draft_of, key_of, parse_one
from angelia.wire.problems import PROBLEM_HEADERS, problem, problem_of

_KINDS = frozenset({JSON, b"application/json; charset=utf-8", b"application/json;charset=utf-8"})


class _Posted(NamedTuple):
    caller: Caller
    draft: Draft
    answer: express.Answer


class ExpressInlet:
    """An `Express`. It says only what the ordinary inlet would have said."""

    url = MESSAGES.encode()

    def __init__(self, accept: Accept, callers: Callers, now: Callable[[], datetime], most: int) -> None:
        self._accept, self._callers, self._now, self._most = accept, callers, now, most
        self._posted: dict[str, list[_Posted]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, head: express.Head, body: bytes, answer: express.Answer) -> bool:
        """See Express: one message in JSON that may be posted now, and in which nothing is wrong."""
        if head.get(b"content-type", JSON) not in _KINDS or len(body) > self._most or body[:64].lstrip()[:1] == b"[":
            return False
        try:
            caller = self._callers.known(head.get(b"authorization", b""))
            if caller is None:
                return False
            fields = parse_one(body)
            caller.check_right(fields.get("type", ""), fields.get("severity", "normal"))
            draft = draft_of(fields, self._now, key_of(head.get(b"idempotency-key", b"")))
            caller.take(1)
        except Exception:  # noqa: BLE001 - whatever it is, it is said on the ordinary way
            return False
        if not self._posted:
            asyncio.get_running_loop().call_soon(self._go)
        self._posted.setdefault(caller.name, []).append(_Posted(caller, draft, answer))
        return True

    def _go(self) -> None:
        posted, self._posted = self._posted, {}
        for source, some in posted.items():
            task = asyncio.get_running_loop().create_task(self._store(source, some))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _store(self, source: str, some: Sequence[_Posted]) -> None:
        """Accepted together, answered each. Where that fails for another reason than a store that takes nothing, what one brought must not
        refuse the others.
        """
        try:
            receipts = await self._accept(source, [one.draft for one in some])
        except Exception as error:  # noqa: BLE001 - each of those who wait gets it
            if len(some) == 1 or isinstance(error, StoreUnavailable):
                for one in some:
                    one.answer(*_refusal(error))
            else:
                for one in some:
                    await self._store(source, [one])
            return
        for one, receipt in zip(some, receipts, strict=True):
            try:
                said = rated(one.caller, answer_of(receipt))
            except AngeliaError as error:
                said = problem_of(error)
            one.answer(*said)


def _refusal(error: Exception) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    if isinstance(error, AngeliaError):
        return problem_of(error)
    telemetry.log.error("message_not_taken", exc_info=error)
    return 500, json.dumps(problem(500, "an operator will find it in the log")).encode(), PROBLEM_HEADERS
