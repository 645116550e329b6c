"""Live events to the clients that follow them: one follower of the broker for each exchange in use, the same bytes to every matching client.

A client that can't take more is taken out of the live ones and its positions are noted; once it can, it is caught up from memory. So slow
readers cost what their sockets hold and no queue, and those who come back after an interruption take the same way.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic
from weakref import WeakValueDictionary

from angelia import telemetry
from angelia.broker import Broker, Gap
from angelia.flow.cursor import MOST_BINDINGS, cursor_text, parse_cursor
from angelia.flow.trunk import Follower, Form, Listener, Route, Trunk, label_of, times
from angelia.model.errors import BrokerUnavailable, InvalidInput
from angelia.model.event import Event, Position

MOST_EVENTS = 10_000  # remembered of each exchange
MOST_BYTES = 16_777_216
CHUNK = 65_536  # bytes of bodies that are written together
SLOW = 20.0  # seconds in which a client must take something
IDLE = 60.0  # seconds after which an exchange that nobody follows is let go


class Streams:
    """All live clients of one process."""

    def __init__(self, broker: Broker, clock: Callable[[], float] = monotonic, most_events: int = MOST_EVENTS) -> None:
        self._broker = broker
        self._clock = clock
        self._most_events = most_events
        self._trunks: dict[str, Trunk] = {}
        self._followers: dict[str, asyncio.Task[None]] = {}
        # Each as long as somebody holds it or waits for it: there is an exchange for each inbox.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._listeners: dict[int, Listener] = {}
        self._paused: set[Listener] = set()
        self._catching: set[asyncio.Task[None]] = set()
        self._last = 0
        self._gauged: set[str] = set()
        self._looker: asyncio.Task[None] | None = None

    def join(self, form: Form, write: Callable[[bytes], None], cut: Callable[[], None], name: str = "") -> Listener:
        """A new client, without bindings. `cut` is called once it was too slow or can't be caught up; `name` is for operators."""
        listener = Listener(form, write, cut, name)
        self._last += 1
        listener.number = self._last
        self._listeners[listener.number] = listener
        if self._looker is None:
            self._looker = asyncio.create_task(self._look_around(), name="look after streams")
        return listener

    def leave(self, listener: Listener) -> None:
        """It is gone."""
        self._take_out(listener)
        if self._listeners.pop(listener.number, None) is not None:
            listener.bindings.clear()
            self._paused.discard(listener)

    async def bind(self, listener: Listener, bindings: Sequence[tuple[str, str]], since: str | None = None) -> str:
        """Add bindings (exchange, pattern); the cursor from which they hold. With `since`, go on from there: `go_live` sends what was missed.

        Until `go_live` the client gets nothing, so that the acknowledgement can be written first.
        """
        if sum(listener.bindings.values()) + len(bindings) > MOST_BINDINGS:
            raise InvalidInput(f"a client has at most {MOST_BINDINGS} bindings", "bind")
        for exchange in dict.fromkeys(exchange for exchange, _ in bindings):
            await self._trunk(exchange)
        if listener.number not in self._listeners:
            return ""
        self._take_out(listener)
        assert listener.positions is not None
        wanted = parse_cursor(since) if since is not None else {}
        for exchange, pattern in bindings:
            # The name that the trunk has anyway: each binding would keep another copy.
            exchange = self._trunks[exchange].exchange
            count = listener.bindings.get((exchange, pattern), 0)
            listener.bindings[exchange, pattern] = count + 1 if listener.form.has_repeats else 1
            head = self._trunks[exchange].head
            if exchange not in listener.positions or (wanted is not None and exchange in wanted):
                # What is no cursor of ours is told as a gap, as one from another epoch is.
                listener.positions[exchange] = Position("0", 0) if wanted is None else wanted.get(exchange, head)
        self._settle(listener)
        return cursor_text(listener.positions)

    def unbind(self, listener: Listener, bindings: Iterable[tuple[str, str]]) -> str:
        """Take bindings away; the cursor over those that are left. `go_live` again afterwards."""
        self._take_out(listener)
        for binding in bindings:
            listener.bindings.pop(binding, None)
        self._settle(listener)
        assert listener.positions is not None
        return cursor_text(listener.positions)

    def _settle(self, listener: Listener) -> None:
        listener.trunks = tuple(sorted({exchange for exchange, _ in listener.bindings}))
        positions = listener.positions or {}
        listener.positions = {name: positions[name] for name in listener.trunks}

    def cursor(self, listener: Listener) -> str:
        """How far it is."""
        return cursor_text(listener.positions if listener.positions is not None else self._heads(listener.trunks))

    def _heads(self, names: Iterable[str]) -> dict[str, Position]:
        return {name: self._trunks[name].head for name in names}

    def pause(self, listener: Listener) -> None:
        """It can't take more for now."""
        if listener.number in self._listeners and not listener.is_paused:
            listener.is_paused = True
            listener.paused_at = self._clock()
            self._paused.add(listener)
            self._take_out(listener)

    def resume(self, listener: Listener) -> None:
        """It can take again."""
        if listener.is_paused:
            listener.is_paused = False
            self._paused.discard(listener)
            self.go_live(listener)

    def go_live(self, listener: Listener) -> None:
        """Send what it missed, then what comes."""
        if listener.number in self._listeners and not listener.is_paused and not listener.is_catching_up:
            if self._catch_up_from_memory(listener):
                return
            listener.is_catching_up = True
            task = asyncio.create_task(self._catch_up(listener))
            self._catching.add(task)
            task.add_done_callback(self._catching.discard)

    def _take_out(self, listener: Listener) -> None:
        """No longer live; its positions are what it has by now."""
        if listener.positions is None:
            listener.positions = self._heads(listener.trunks)
            for (exchange, pattern), count in listener.bindings.items():
                trunk = self._trunks[exchange]
                for _ in range(count):
                    trunk.index.discard(pattern, None, listener.number)
                trunk.forget_routes()
                trunk.used_at = self._clock()
        elif not listener.bindings:
            listener.positions = {}

    def _put_in(self, listener: Listener) -> None:
        listener.positions = None
        for (exchange, pattern), count in listener.bindings.items():
            trunk = self._trunks[exchange]
            for _ in range(count):
                trunk.index.add(pattern, None, listener.number)
            trunk.forget_routes()

    def _catch_up_from_memory(self, listener: Listener) -> bool:
        """Write what memory holds after its positions; False if it must be read from the broker first. Never waits, so nothing comes between."""
        if listener.positions is None:
            self._put_in(listener) if not listener.trunks else None
            return True
        for name in listener.trunks:
            trunk, position = self._trunks[name], listener.positions[name]
            if trunk.is_lost(position):
                # A place ahead of the stream has nothing after it; from any other, what is left comes.
                is_ahead = position.epoch == trunk.head.epoch and position.sequence > trunk.head.sequence
                listener.positions[name] = trunk.head if is_ahead else trunk.oldest()
                self._tell_gap(listener, name)
            if not trunk.reaches(listener.positions[name]):
                return False
            self._write_after(listener, trunk, trunk.after(listener.positions[name]))
            if listener.is_paused or listener.number not in self._listeners:
                return True
        self._put_in(listener)
        return True

    def _tell_gap(self, listener: Listener, name: str) -> None:
        assert listener.positions is not None
        if told := listener.form.gap(name, cursor_text(listener.positions)):
            listener.write(told)

    def _write_after(self, listener: Listener, trunk: Trunk, events: Iterable[Event]) -> None:
        """Write those of the events that match, until all are written or it can't take more."""
        patterns = listener.patterns(trunk.exchange)
        positions = listener.positions
        assert positions is not None
        frames: list[bytes] = []
        size = 0
        for event in events:
            assert event.position is not None
            positions[trunk.exchange] = event.position
            if count := times(listener, patterns, event.routing_key):
                frame = self._frame(listener, event, cursor_text(positions))
                frames.extend([frame] * count)
                size += len(frame) * count
            if size > CHUNK:
                listener.write(b"".join(frames))
                frames, size = [], 0
                if listener.is_paused or listener.number not in self._listeners:
                    return
        if frames:
            listener.write(b"".join(frames))

    def _frame(self, listener: Listener, event: Event, cursor: str) -> bytes:
        """The event in the client's form; where that has no words for it the gap that it leaves, and what comes after it goes on."""
        try:
            return listener.form.event(event, cursor)
        except Exception:  # noqa: BLE001 - a bug of one form must silence nobody
            telemetry.log.exception("event_not_written", exchange=event.exchange, key=event.routing_key)
            return listener.form.gap(event.exchange, cursor)

    async def _catch_up(self, listener: Listener) -> None:
        try:
            while listener.number in self._listeners and not listener.is_paused and listener.positions is not None:
                if self._catch_up_from_memory(listener):
                    return
                try:
                    await self._read_first(listener)
                except BrokerUnavailable as error:
                    # It waits, as those who are live do: what it missed comes once the broker is back.
                    telemetry.log.warning("replay_failed", error=str(error))
                    await asyncio.sleep(1)
        except Exception:  # noqa: BLE001 - who is not caught up must not wait for ever: she comes back with her cursor
            telemetry.log.exception("catch_up_failed", client=listener.name)
            self.leave(listener)
            listener.cut()
        finally:
            listener.is_catching_up = False

    async def _read_first(self, listener: Listener) -> None:
        """Read back for the first exchange that needs it."""
        for name in listener.trunks:
            trunk, position = self._trunks[name], (listener.positions or {})[name]
            if not trunk.reaches(position) and not trunk.is_lost(position):
                await self._read_back(listener, trunk)
                return

    async def _read_back(self, listener: Listener, trunk: Trunk) -> None:
        """Bring memory back to its position; where that is more than memory holds, give it a part straight from the broker."""
        async with self._locks.setdefault(trunk.exchange, asyncio.Lock()):
            assert listener.positions is not None
            since = listener.positions[trunk.exchange]
            if trunk.reaches(since) or trunk.is_lost(since):
                return
            replay = await self._broker.replay(trunk.exchange, since, self._most_events)
            if listener.positions is None or listener.positions.get(trunk.exchange) != since:
                return
            if replay.until.epoch == trunk.start.epoch and replay.until.sequence >= trunk.start.sequence:
                trunk.extend(since, replay)
            if trunk.reaches(since) or trunk.is_lost(since):
                return
            if not replay.is_complete:
                self._tell_gap(listener, trunk.exchange)
            self._write_after(listener, trunk, replay.events)
            if not listener.is_paused:
                listener.positions[trunk.exchange] = replay.until if replay.until != since else trunk.start

    async def _trunk(self, exchange: str) -> Trunk:
        trunk = self._trunks.get(exchange)
        if trunk is None:
            async with self._locks.setdefault(exchange, asyncio.Lock()):
                trunk = self._trunks.get(exchange)
                if trunk is None:
                    head = await self._broker.head(exchange)
                    trunk = self._trunks[exchange] = Trunk(exchange, head, self._most_events, MOST_BYTES)
                    self._followers[exchange] = asyncio.create_task(self._follow(trunk), name=f"follow {exchange}")
        trunk.used_at = self._clock()
        return trunk

    async def _follow(self, trunk: Trunk) -> None:
        while True:
            try:
                async for found in self._broker.follow(trunk.exchange, trunk.head):
                    if isinstance(found, Gap):
                        self._lose(trunk, found.resumes_at)
                    else:
                        self.deliver(trunk, found)
                        # One turn of the loop writes to the sockets what was put together for it.
                        await asyncio.sleep(0)
                return
            except BrokerUnavailable as error:
                telemetry.log.warning("follow_failed", exchange=trunk.exchange, error=str(error))
                await asyncio.sleep(1)
            except Exception:  # noqa: BLE001 - one event that a form has no words for must not silence an exchange for ever
                telemetry.log.exception("follow_failed", exchange=trunk.exchange)
                self._lose(trunk, trunk.head)
                await asyncio.sleep(1)

    def _lose(self, trunk: Trunk, at: Position) -> None:
        """Tell everybody who follows the exchange, also those who are behind."""
        live = [listener for listener in self._listeners.values() if trunk.exchange in listener.trunks and listener.positions is None]
        trunk.restart(at)
        for listener in live:
            if told := listener.form.gap(trunk.exchange, cursor_text(self._heads(listener.trunks))):
                listener.write(told)

    def deliver(self, trunk: Trunk, events: Sequence[Event]) -> None:
        """To all who are live. Consecutive events for the same listeners are written together."""
        run: list[Event] = []
        route: Route = []
        size = 0
        for event in events:
            found = trunk.route(event.routing_key, self._listeners)
            if run and (found is not route or size > CHUNK):
                self._flush(trunk, route, run)
                run, size = [], 0
                # Somebody may have become slow by that.
                found = trunk.route(event.routing_key, self._listeners)
            route = found
            run.append(event)
            size += len(event.body)
        if run:
            self._flush(trunk, route, run)

    def _flush(self, trunk: Trunk, route: Route, run: Sequence[Event]) -> None:
        trunk.remember(run)
        for group in route:
            heads = self._heads(group.trunks)
            frames = []
            for event in run:
                assert event.position is not None
                heads[trunk.exchange] = event.position
                frames.extend([group.form.event(event, cursor_text(heads))] * group.times)
            data = b"".join(frames)
            for write in group.writes:
                write(data)
            trunk.written.inc(len(frames) * len(group.writes))

    async def _look_around(self) -> None:
        while True:
            await asyncio.sleep(1)
            self.look()

    def look(self) -> None:
        """Once a second: cut those who take nothing, let go of exchanges that nobody follows."""
        now = self._clock()
        for listener in list(self._paused):
            if now - listener.paused_at >= SLOW or not self._is_within_memory(listener):
                self.leave(listener)
                listener.cut()
        followed = self.counts()
        self._gauge(followed)
        for name, trunk in list(self._trunks.items()):
            if len(trunk.index) or name in followed:
                trunk.used_at = now
            elif now - trunk.used_at > IDLE:
                self._followers.pop(name).cancel()
                del self._trunks[name]

    def _is_within_memory(self, listener: Listener) -> bool:
        positions = listener.positions or {}
        return all(self._trunks[name].reaches(position) or self._trunks[name].is_lost(position) for name, position in positions.items())

    def _gauge(self, followed: Mapping[str, int]) -> None:
        found: Counter[str] = Counter()
        for name, count in followed.items():
            found[label_of(name)] += count
        for label in self._gauged | found.keys():
            telemetry.stream_followers.labels(label).set(found[label])
        self._gauged = set(found)

    def followers(self, exchange: str) -> list[Follower]:
        """Who follows an exchange in this process."""
        return [
            Follower(listener.name, tuple(listener.patterns(exchange)), listener.positions is not None)
            for listener in self._listeners.values()
            if exchange in listener.trunks
        ]

    def counts(self) -> dict[str, int]:
        """How many clients follow which exchange in this process."""
        return Counter(name for listener in self._listeners.values() for name in listener.trunks)

    @property
    def listeners(self) -> int:
        """How many clients there are."""
        return len(self._listeners)

    async def close(self) -> None:
        """End all followers."""
        tasks = [*self._followers.values(), *self._catching, *([self._looker] if self._looker is not None else [])]
        self._looker = None
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._followers.clear()
        self._trunks.clear()
