"""The BonFIRE dialect: resources and experiments report their transitions at /api/v1/transitions."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from angelia.model.errors import AngeliaError, Forbidden, NotAuthenticated, UnsupportedMedia
from angelia.model.experiment import IllegalTransition, Transition, message_type, transition_id
from angelia.model.moments import public_id
from angelia.store import ExperimentStore, TakenTransition
from angelia.wire.asgi import App, Receive, Scope, Send, body_of, headers_of, kind_of, respond
from angelia.wire.callers import Caller, Callers
from angelia.wire.problems import PROBLEM_HEADERS, Header, problem, problem_of, rate_headers
from angelia.wire.transitions import parse_transitions

PATH = "/api/v1/transitions"
SCOPE = "transitions"
_JSON = [(b"content-type", b"application/json"), (b"cache-control", b"private, no-store")]
Answer = tuple[int, bytes, list[Header]]


class BonfireDialect:
    """Takes transitions at its path, and gives everything else to the app behind it. `wake` hurries those who publish and tell."""

    def __init__(
        self, behind: App, store: ExperimentStore, callers: Callers, now: Callable[[], datetime], wake: Callable[[], None], most: int
    ) -> None:
        self._behind = behind
        self._store = store
        self._callers = callers
        self._now = now
        self._wake = wake
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["path"] != PATH:
            return await self._behind(scope, receive, send)
        if scope["method"] != "POST":
            body = json.dumps(problem(405, "transitions are reported with POST; what came of them is at /api/v1/experiments")).encode()
            return await respond(send, 405, b"" if scope["method"] == "HEAD" else body, [*PROBLEM_HEADERS, (b"allow", b"POST")])
        try:
            status, body, headers = await self._post(scope, receive)
        except AngeliaError as error:
            status, body, headers = problem_of(error)
        return await respond(send, status, body, headers, scope)

    async def _post(self, scope: Scope, receive: Receive) -> Answer:
        headers = headers_of(scope)
        caller = await self._callers.of(headers.get(b"authorization", b""))
        _check(caller)
        assert caller is not None
        if kind_of(headers) not in (b"application/json", b""):
            raise UnsupportedMedia("post application/json")
        reported, is_batch = parse_transitions(await body_of(headers, receive, self._most), self._now())
        for transition in reported:
            caller.check_right(message_type(transition), "normal")
        caller.take(len(reported))
        taken = await self._take([replace(transition, reporter=caller.name) for transition in reported], is_batch=is_batch)
        self._wake()
        items = [_as_json(transition, receipt) for transition, receipt in zip(reported, taken, strict=True)]
        status = 201 if any(receipt.is_new for receipt in taken) else 200
        rated = rate_headers(caller.rate) if caller.rate is not None else ()
        return status, json.dumps({"items": items} if is_batch else items[0]).encode(), [*_JSON, *rated]

    async def _take(self, reported: list[Transition], *, is_batch: bool) -> list[TakenTransition]:
        try:
            return await self._store.add_transitions(reported, self._now())
        except IllegalTransition as error:
            if not is_batch:
                error.field = error.field.removeprefix("0.")
            raise


def _check(caller: Caller | None) -> None:
    if caller is None:
        raise NotAuthenticated("transitions are reported with the token of a source: Authorization: Bearer ang_...")
    if not caller.is_admin and (caller.source is None or SCOPE not in caller.scopes):
        raise Forbidden(f"transitions need an administrator, or the token of a source with the scope {SCOPE}")


def _as_json(transition: Transition, receipt: TakenTransition) -> dict[str, Any]:
    """With the key of a new experiment: the platform that makes it hands it to its users."""
    experiment = receipt.experiment
    said: dict[str, Any] = {
        "id": transition_id(receipt.number),
        "status": "accepted" if receipt.is_new else "repeat",
        "experiment": None if experiment is None else public_id("exp", experiment.experiment_id),
    }
    if experiment is not None and transition.is_of_experiment:
        said["state"] = experiment.state.label
        if transition.event_type == "create":
            said["key"] = experiment.key
    return said
