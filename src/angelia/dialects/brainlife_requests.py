"""brainlife's notification requests: "tell me once when this task ends" becomes an ordinary message when the task's event comes.

The request is durable, and so is how far the exchange was read; what an address or the store held up is tried again.
"""

import asyncio
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from angelia import telemetry
from angelia.broker import Broker, Gap
from angelia.dialects.brainlife_settings import BrainlifeSettings
from angelia.inlet import Accept
from angelia.model.errors import AngeliaError, BrokerUnavailable, InvalidInput, StoreUnavailable
from angelia.model.event import Event, Position
from angelia.model.person import Address, AddressState, Person
from angelia.outbound import Answer, Outbound, Request
from angelia.store import Store, TaskRequest
from angelia.wire.fields import BODY, draft_of, parse_fields

EVENT = "wf.task."
RETRY = 30.0  # seconds
GIVES_UP = timedelta(days=3)
KEPT = timedelta(days=90)
AT_ONCE = 500
_LOGIN = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_MAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}")


class TaskWatch:
    """Follows the exchange, matches requests, speaks through intake."""

    def __init__(
        self,
        settings: BrainlifeSettings,
        store: Store,
        broker: Broker,
        accept: Accept,
        outbound: Outbound,
        now: Callable[[], datetime],
        changed: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._store = store
        self._broker = broker
        self._accept = accept
        self._outbound = outbound
        self._now = now
        self._changed = changed
        self._name = f"brainlife {settings.exchange}"
        self._matched = asyncio.Event()
        self._is_auth_away = False

    async def run(self) -> None:
        """Until cancelled."""
        speaking = asyncio.create_task(self._speak_again())
        try:
            while True:
                try:
                    await self._follow()
                    await asyncio.sleep(1)
                except (BrokerUnavailable, StoreUnavailable) as error:
                    telemetry.log.warning("task_watch_failed", error=str(error))
                    await asyncio.sleep(RETRY)
        finally:
            speaking.cancel()

    async def _follow(self) -> None:
        exchange = self._settings.exchange
        # From where it was, or from now: the requests there are wait for what comes.
        since = Position.parse(await self._store.stream_position(self._name)) or await self._broker.head(exchange)
        async for found in self._broker.follow(exchange, since):
            if isinstance(found, Gap):
                telemetry.log.error("task_events_lost", exchange=exchange)
                await self._store.put_stream_position(self._name, str(found.resumes_at))
                continue
            for event in found:
                await self._see(event)
            await self._store.put_stream_position(self._name, str(found[-1].position))

    async def _see(self, event: Event) -> None:
        try:
            task: Any = json.loads(event.body)
        except (ValueError, RecursionError):
            return
        if not isinstance(task, dict) or not isinstance(task.get("status"), str):
            return
        user, task_id, instance_id = (str(task.get(name, "")) for name in ("user_id", "_id", "instance_id"))
        try:
            matched = await self._store.match_task_requests(user, EVENT + task["status"], task_id, instance_id, self._now())
        except InvalidInput:
            # No request holds what the database can't keep; and no event may stand in the way of those behind it.
            return
        if matched:
            self._matched.set()

    async def _speak_again(self) -> None:
        while True:
            try:
                await self.speak()
            except AngeliaError as error:
                telemetry.log.warning("task_request_waits", error=str(error))
            self._matched.clear()
            try:
                async with asyncio.timeout(RETRY):
                    await self._matched.wait()
            except TimeoutError:
                continue

    async def speak(self) -> int:
        """Turn what has matched into messages; how many. A repeat is caught by its key, and one that can't be said holds up nobody else."""
        said, last = 0, None
        logins: dict[str, str | None] = {}
        self._is_auth_away = False
        while some := await self._store.matched_task_requests(AT_ONCE, last):
            for request in some:
                said += await self._say(request, logins)
            last = some[-1]
        return said

    async def _say(self, request: TaskRequest, logins: dict[str, str | None]) -> bool:
        """Was it said? `logins` are those that were looked for in this turn."""
        now = self._now()
        try:
            if request.user_id not in logins:
                logins[request.user_id] = await self._login(request.user_id)
            login = logins[request.user_id]
            if login is not None:
                draft = draft_of(parse_fields(_message(request, login)), self._now, f"task-request {request.request_id}")
                await self._accept("brainlife", [draft])
                await self._store.end_task_requests([request.request_id], now)
                return True
        except StoreUnavailable:
            raise
        except AngeliaError as error:
            telemetry.log.error("task_request_failed", request=request.request_id, error=str(error))
        if request.matched_at is not None and now - request.matched_at > GIVES_UP:
            telemetry.log.error("task_request_given_up", request=request.request_id)
            await self._store.end_task_requests([request.request_id], now)
        return False

    async def _login(self, sub: str) -> str | None:
        """Who she is to the hub: known already, or as the auth service says; None where nobody can say now."""
        person = await self._store.person_of_identity(self._settings.issuer, sub)
        if person is None and self._settings.auth_url and not self._is_auth_away:
            person = await self._newcomer(sub)
        return person.login if person is not None else None

    async def _newcomer(self, sub: str) -> Person | None:
        url = f"{self._settings.auth_url.rstrip('/')}/user/{quote(sub, safe='')}"
        headers = {"Accept": "application/json", "Authorization": f"Bearer {self._settings.token}"}
        answer = await self._outbound.fetch(Request(url=url, headers=headers, timeout=10.0, most=65_536))
        # Who gives no answer is not asked again for each of the others: those whom we know would wait for all of that.
        self._is_auth_away = not isinstance(answer, Answer)
        if not isinstance(answer, Answer) or answer.status != 200:
            telemetry.log.warning("auth_service_failed", why=f"it answers {answer.status}" if isinstance(answer, Answer) else answer.why)
            return None
        try:
            said: Any = json.loads(answer.body)
        except (ValueError, RecursionError):
            return None
        email = said.get("email") if isinstance(said, dict) else None
        if not isinstance(email, str) or not _MAIL.fullmatch(email):
            return None
        name, full = str(said.get("username", "")).lower(), str(said.get("fullname", ""))[:200]
        # A login that somebody has already is never taken over.
        login = name if _LOGIN.fullmatch(name) and await self._store.person(name) is None else f"brainlife-{sub.lower()}"
        if not _LOGIN.fullmatch(login):
            return None
        person = await self._store.person(login) or await self._store.put_person(Person(person_id=0, login=login, name=full))
        address = Address(
            address_id=0, person_id=person.person_id, agent="mail", value=email, state=AddressState.OK, origin="directory", verified_at=self._now()
        )
        if all(held.value != email for held in await self._store.addresses(person.person_id)):
            await self._store.add_address(address)
        await self._store.link_identity(self._settings.issuer, sub, person.person_id)
        self._changed()
        return person

    async def prune(self, now: datetime) -> None:
        """Forget old requests."""
        await self._store.forget_task_requests(now - KEPT)


def _message(request: TaskRequest, login: str) -> dict[str, Any]:
    found = json.loads(request.document).get("config")
    config: dict[str, Any] = found if isinstance(found, dict) else {}
    status = request.event.removeprefix(EVENT)
    subject = _text(config.get("subject") or f"Your task is {status}")
    body = _text(config.get("message") or "")
    kind = re.sub(r"[^a-z0-9_:-]", "-", status.lower())[:60] or "ended"
    fields = {"type": f"brainlife.task.{kind}", "to": [login], "subject": subject[:200], "body": body[:BODY]}
    return fields | ({"object": f"brainlife:task:{_text(request.task_id)}"} if request.task_id else {})


def _text(value: object) -> str:
    """What was posted as a text that a message can hold: whatever was taken must be said."""
    return str(value).replace("\x00", "").encode("utf-8", "replace").decode()


def stored_form(request: TaskRequest) -> dict[str, Any]:
    """A request as the original showed it."""
    document = json.loads(request.document)
    shown = {"__v": 0} | {name: document[name] for name in ("event", "handler", "config") if name in document}
    if request.user_id:
        shown["user_id"] = request.user_id
    if request.triggered_at is not None:
        shown["trigger_date"] = _milliseconds(request.triggered_at)
    made = _milliseconds(request.created_at)
    return shown | {"_id": request.request_id, "update_date": made, "create_date": made}


def _milliseconds(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1_000:03d}Z"
