"""What happens in the bot's rooms: invitations are taken, reactions acknowledge, receipts say what was read, codes verify. One long poll."""

import json
import re
from asyncio import sleep as wait
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from angelia import telemetry
from angelia.agent import Ear
from angelia.agents.matrix.settings import MatrixSettings, plain_key
from angelia.agents.matrix.wire import Homeserver, error_of, in_path, limited_for
from angelia.model.errors import AngeliaError
from angelia.outbound import Answer, NoAnswer

POLL = 30.0  # seconds that the homeserver waits for news
MOST_EVENTS = 100  # of one room at a time
MOST_PAGES = 20  # of what happened in one room while nobody listened
READ_BACK = 100  # events around a receipt: what stands before it was read, too
MOST_WAITS = 5
MOST_KEPT = 10_000
_CODE = re.compile(r"[0-9a-f]{20}")
_Event = Mapping[str, Any]


class NotHeard(AngeliaError):
    """The homeserver can't be followed now."""


class Hearing:
    """Follows the homeserver from the ear's cursor. All is done before the cursor moves, and doing it twice changes nothing."""

    def __init__(self, homeserver: Homeserver, settings: MatrixSettings, ear: Ear) -> None:
        self._homeserver, self._ear = homeserver, ear
        self._servers, self._acknowledging = settings.servers, settings.acknowledging
        self._me = ""
        self._ours: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._told: OrderedDict[str, None] = OrderedDict()

    async def run(self) -> None:
        """Until it is cancelled; raises NotHeard where the homeserver says no, or nothing."""
        self._me = str((await self._asked("GET", "/account/whoami")).said.get("user_id", ""))
        since = await self._ear.cursor()
        while True:
            news = (await self._sync(since)).said
            rooms = _part(news, "rooms")
            for room, invited in _part(rooms, "invite").items():
                await self._invited(room, invited)
            if since:  # at the very first start the past is nobody's answer
                for room, joined in _part(rooms, "join").items():
                    await self._joined(room, joined, since)
            now_at = str(news.get("next_batch") or "")
            if not now_at:
                raise NotHeard("the homeserver answers /sync without a next_batch")
            if now_at != since:
                await self._ear.keep_cursor(now_at)
            since = now_at

    async def _sync(self, since: str) -> Answer:
        wanted = {
            "presence": {"types": []},
            "account_data": {"types": []},
            "room": {
                "account_data": {"types": []},
                "state": {"types": []},
                "ephemeral": {"types": ["m.receipt"]},
                "timeline": self._timeline(),
            },
        }
        query = {"filter": json.dumps(wanted), "timeout": f"{POLL * 1000:.0f}" if since else "0"} | ({"since": since} if since else {})
        return await self._asked("GET", "/sync", query=query, patience=POLL)

    def _timeline(self) -> dict[str, Any]:
        return {"types": ["m.reaction", "m.room.message"], "not_senders": [self._me], "limit": MOST_EVENTS}

    async def _invited(self, room: str, invited: Any) -> None:
        """Joined where who invites is on a server that is allowed, else refused, so that it is not asked again."""
        events = _part(invited, "invite_state").get("events", [])
        ours = [event for event in _events(events) if event.get("type") == "m.room.member" and event.get("state_key") == self._me]
        inviter = str(ours[-1].get("sender", "")) if ours else ""
        is_allowed = not self._servers or inviter.partition(":")[2].lower() in self._servers
        answer = await self._tried("POST", f"/rooms/{in_path(room)}/{'join' if is_allowed else 'leave'}", {})
        telemetry.log.info("room_invitation", room=room, by=inviter, is_allowed=is_allowed, status=answer.status)
        if is_allowed and answer.status in (403, 404):  # it was taken back, or the room is gone
            await self._tried("POST", f"/rooms/{in_path(room)}/leave", {})

    async def _joined(self, room: str, joined: Any, since: str) -> None:
        timeline = _part(joined, "timeline")
        if timeline.get("limited"):
            async for event in self._missed(room, str(timeline.get("prev_batch", "")), since):
                await self._event(room, event)
        for event in _events(timeline.get("events", [])):
            await self._event(room, event)
        for event in _events(_part(joined, "ephemeral").get("events", [])):
            for event_id, thread in _read_up_to(event, self._me):
                await self._read(room, event_id, thread)

    async def _missed(self, room: str, start: str, since: str) -> AsyncIterator[_Event]:
        """What happened between two polls and was too much for one, newest first."""
        query = {"dir": "b", "to": since, "limit": str(MOST_EVENTS), "filter": json.dumps(self._timeline())}
        for _ in range(MOST_PAGES):
            answer = await self._tried("GET", f"/rooms/{in_path(room)}/messages", query=query | {"from": start}) if start else None
            if answer is None or answer.status != 200:
                return
            for event in _events(answer.said.get("chunk", [])):
                yield event
            start = str(answer.said.get("end", ""))

    async def _event(self, room: str, event: _Event) -> None:
        if event.get("sender") == self._me:
            return
        content = _part(event, "content")
        if event.get("type") == "m.reaction":
            relation = _part(content, "m.relates_to")
            if plain_key(str(relation.get("key", ""))) in self._acknowledging:
                receipt = await self._receipt(room, str(relation.get("event_id", "")))
                if receipt:
                    await self._ear.acknowledged("", receipt)
        code = str(content.get("body", "")).strip() if event.get("type") == "m.room.message" else ""
        if _CODE.fullmatch(code) and await self._ear.verified(code, room):
            await self._confirm(room, str(event.get("event_id", "")))

    async def _confirm(self, room: str, event_id: str) -> None:
        """A sign that all languages know."""
        mark = {"rel_type": "m.annotation", "event_id": event_id, "key": "\N{WHITE HEAVY CHECK MARK}"}
        await self._tried("PUT", f"/rooms/{in_path(room)}/send/m.reaction/{in_path(f'seen{event_id}')}", {"m.relates_to": mark})

    async def _receipt(self, room: str, event_id: str) -> str:
        """The receipt that a letter of ours has in this room, "" for what is none. That it stands there is asked of the homeserver: whoever
        reacts in a room of his to a number that he knows from elsewhere answers nothing.
        """
        if not event_id:
            return ""
        if (known := self._ours.get((room, event_id))) is None:
            answer = await self._tried("GET", f"/rooms/{in_path(room)}/event/{in_path(event_id)}")
            known = _receipt_of(answer.said, self._me) if answer.status == 200 else ""
            _remember(self._ours, (room, event_id), known)
        return known

    async def _read(self, room: str, event_id: str, thread: str) -> None:
        """Somebody read up to this event: so what we said before it is seen."""
        wanted = {"types": ["m.room.message"], "senders": [self._me]}
        query = {"limit": str(READ_BACK), "filter": json.dumps(wanted)}
        answer = await self._tried("GET", f"/rooms/{in_path(room)}/context/{in_path(event_id)}", query=query)
        if answer.status != 200:
            return
        said = answer.said
        for event in (_part(said, "event"), *_events(said.get("events_before", []))):
            receipt, key = _receipt_of(event, self._me), str(event.get("event_id", ""))
            if receipt and _stands_in(event, thread) and key not in self._told and await self._ear.seen("", receipt):
                _remember(self._told, key, None)

    async def _tried(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, query: Mapping[str, str] | None = None, patience: float = 0.0
    ) -> Answer:
        """An answer of whatever status that is for us to judge: limits are waited for, and what would be the same for all requests raises."""
        for _ in range(MOST_WAITS):
            answer = await self._homeserver.call(method, path, body, query=query, patience=patience)
            if isinstance(answer, NoAnswer):
                raise NotHeard(f"the homeserver gives no answer: {answer.why}")
            if answer.status == 401:
                raise NotHeard("the homeserver does not know the bot's token: look at agents.matrix.token")
            if answer.status >= 500:
                raise NotHeard(f"the homeserver answered {answer.status}")
            if answer.status != 429:
                return answer
            limit = limited_for(answer)
            await wait(5.0 if limit is None else limit.total_seconds())
        raise NotHeard("the homeserver limits the bot")

    async def _asked(self, method: str, path: str, *, query: Mapping[str, str] | None = None, patience: float = 0.0) -> Answer:
        """An answer that must be good."""
        answer = await self._tried(method, path, query=query, patience=patience)
        if answer.status != 200:
            raise NotHeard(f"the homeserver answered {path} with {answer.status} {error_of(answer)}".rstrip())
        return answer


def _part(of: Any, name: str) -> Mapping[str, Any]:
    """A JSON object within another; an empty one for whatever is none."""
    found = of.get(name) if isinstance(of, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _events(found: Any) -> Sequence[_Event]:
    return [event for event in found if isinstance(event, Mapping)] if isinstance(found, list) else []


def _receipt_of(event: _Event, me: str) -> str:
    """What we gave as the receipt of this event: an edit has that of what it edits."""
    if event.get("sender") != me:
        return ""
    relation = _part(_part(event, "content"), "m.relates_to")
    is_edit = relation.get("rel_type") == "m.replace"
    return str(relation.get("event_id", "") if is_edit else event.get("event_id", ""))


def _stands_in(event: _Event, thread: str) -> bool:
    """Does a receipt for this thread speak of this event? "" stands for all, `main` for what is in none."""
    relation = _part(_part(event, "content"), "m.relates_to")
    root = relation.get("event_id") if relation.get("rel_type") == "m.thread" else "main"
    return not thread or root == thread or event.get("event_id") == thread


def _read_up_to(event: _Event, me: str) -> Iterable[tuple[str, str]]:
    """(event, thread) up to which others read, each once. Public receipts only: private ones are not for us."""
    found: set[tuple[str, str]] = set()
    for event_id, kinds in _part(event, "content").items():
        for user, receipt in _part(kinds, "m.read").items():
            if user != me:
                thread = receipt.get("thread_id") if isinstance(receipt, Mapping) else None
                found.add((event_id, thread if isinstance(thread, str) else ""))
    return sorted(found)


def _remember(memory: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    """For a while: the oldest go first."""
    memory[key] = value
    while len(memory) > MOST_KEPT:
        memory.popitem(last=False)
