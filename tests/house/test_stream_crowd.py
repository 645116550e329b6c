"""Thousands of live clients that all come back at once, and one client that asks for a hundred thousand bindings (fault F49, catalogue E10)."""

import asyncio
import contextlib
import json
import resource
import time
from dataclasses import replace

import pytest
from tests.house.test_sockets import Raw

from angelia.broker import ExchangeSettings
from angelia.flow.clock import now
from angelia.front import app_of
from angelia.model.errors import NotAuthenticated
from angelia.model.event import Event
from angelia.wire.callers import REMEMBERED, Callers
from angelia_testing.live import following, served
from angelia_testing.soak import IS_SOAK
from angelia_testing.waiting import eventually

WITHIN = 240.0
MISSED = 20
PING = b"\x89\0"
HEAD = (
    b"GET /api/v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nAuthorization: Bearer %s\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@pytest.fixture
def settings(settings):
    return replace(settings, exchanges={"inner": ExchangeSettings(access="signed-in"), "open": ExchangeSettings(access="public")})


@pytest.fixture
async def token(bench):
    await bench.person("alice")
    return (await bench.call("POST", "/api/v1/people/alice/tokens", {"title": "t", "scopes": ["read"]}, 201))["secret"]


@pytest.fixture
def many():
    """So many clients as there may be sockets for: each is one here, and one in the house."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield min(5_000 if IS_SOAK else 2_000, (before[1] - 500) // 2)
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def command(said):
    text = json.dumps(said).encode()
    size = bytes([0x80 | len(text)]) if len(text) < 126 else bytes([0xFF]) + len(text).to_bytes(8, "big")
    return b"\x81" + size + b"\0\0\0\0" + text


PING, PONG = b"\x89\x00", b"\x8a\x80\x00\x00\x00\x00"


class Returning(asyncio.Protocol):
    """A client as small as can be: it binds, keeps what comes, and notes when the last event is there."""

    def __init__(self, head, binding, last, crowd):
        self.head, self.binding, self.last, self.crowd = head, binding, last, crowd
        self.seen, self.is_open, self.is_complete = bytearray(), False, False

    def connection_made(self, transport):
        self.transport = transport
        transport.write(self.head)

    def data_received(self, data):
        self.seen += data
        if self.is_open and PING in data:  # on a slow machine it takes longer than a silent client is kept
            self.transport.write(PONG)
        if not self.is_open and (end := self.seen.find(b"\r\n\r\n")) >= 0:
            self.is_open = self.seen.startswith(b"HTTP/1.1 101")
            if not self.is_open:
                self.transport.close()
                return
            del self.seen[: end + 4]
            self.transport.write(self.binding)
        elif self.is_open and not self.is_complete and self.last in self.seen[-1_000:]:
            self.is_complete = True
            self.crowd.release()

    def connection_lost(self, error):
        if not self.is_complete:
            self.crowd.release()


def bodies_of(data):
    """What a client saw, after the answer to its bind."""
    found = []
    while data:
        size, begin = data[1], 2
        if size == 126:
            size, begin = int.from_bytes(data[2:4], "big"), 4
        if data[0] == 0x81:
            found.append(json.loads(data[begin : begin + size]))
        data = data[begin + size :]
    assert "bound" in found[0]
    return [frame["event"]["body"] for frame in found[1:]]


async def wave(port, count, head, binding, last):
    """All come at once, as after a restart; what each of them saw, and the seconds until all had all."""
    loop, ready = asyncio.get_running_loop(), asyncio.Semaphore(0)
    clients = [Returning(head, binding, last, ready) for _ in range(count)]
    began = time.monotonic()
    try:
        async with asyncio.timeout(WITHIN):
            await asyncio.gather(*(loop.create_connection(lambda one=one: one, "127.0.0.1", port) for one in clients))
            for _ in clients:
                await ready.acquire()
        refused = [bytes(one.seen[:300]) for one in clients if not one.is_complete]
        assert not refused, (len(refused), refused[0])
        return {bytes(one.seen).replace(PING, b"") for one in clients}, time.monotonic() - began
    finally:
        for one in clients:
            with contextlib.suppress(AttributeError):
                one.transport.abort()


@pytest.mark.timeout(300)
async def test_thousands_who_come_back_at_once_are_all_caught_up(house, token, many, monkeypatch):  # fault F49
    asked, looked_up = [], []
    replay, look_up = house.broker.replay, Callers._look_up

    async def counted(*arguments):
        asked.append(arguments)
        return await replay(*arguments)

    async def noted(self, hashed):
        looked_up.append(hashed)
        return await look_up(self, hashed)

    # The hub was away, and what happened meanwhile is in its store alone.
    cursor = str(await house.broker.head("inner"))
    await house.broker.publish([Event("inner", "a.b", json.dumps(number).encode(), "application/json") for number in range(MISSED)])
    last = await house.broker.head("inner")
    monkeypatch.setattr(house.broker, "replay", counted)
    monkeypatch.setattr(Callers, "_look_up", noted)
    binding = command({"bind": {"exchange": "inner"}, "since": f"inner@{cursor}"})
    async with served(app_of(house), backlog=4_096) as port:
        seen, took = await wave(port, many, HEAD % token.encode(), binding, f'inner@{last}"}}'.encode())
        # Whoever comes now is answered as ever.
        async with following(port) as client:
            assert "bound" in await client.ask({"bind": {"exchange": "open"}})
    assert len(seen) == 1, "the same bytes for all"
    assert bodies_of(seen.pop()) == list(range(MISSED))
    assert len(asked) <= 1, "one look at the broker for all"
    assert len(looked_up) <= 2 + took / REMEMBERED, "credentials are remembered, and those who come together share one look"


@pytest.mark.parametrize(("kind", "code"), [("in as many frames", 4429), ("in one frame", 1009)])
async def test_a_hundred_thousand_bindings_are_refused_and_nobody_else_notices(house, kind, code):  # catalogue E10.117
    wanted = [{"exchange": "open", "key": f"k{number}.#"} for number in range(100_000)]
    asked = [command({"bind": wanted})] if kind == "in one frame" else (command({"bind": one}) for one in wanted)
    async with served(app_of(house)) as port, following(port) as other:
        await other.ask({"bind": {"exchange": "open", "key": "probe.#"}})
        raw = await Raw.shaken(port)

        async def flood():
            with contextlib.suppress(ConnectionError):
                for frame in asked:
                    if raw.writer.is_closing():
                        return
                    raw.writer.write(frame)
                    await raw.writer.drain()

        flooding = asyncio.create_task(flood())
        found = await raw.close_code()
        # Too many frames a second, or more than are answered meanwhile: what is seen first.
        assert found == code or (code == 4429 and found == 1008)
        await house.broker.publish([Event("open", "probe.x", b"1", "application/json")])
        assert await other.bodies(1, WITHIN) == [1]
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
        await eventually(lambda: house.streams.listeners == 1)
        assert len(house.streams._trunks["open"].index) == 1, "what was bound before is gone with it"


async def test_what_was_asked_before_a_revocation_is_not_remembered_after_it(house, token, monkeypatch):  # promise P19
    callers, looked, may_go_on = Callers(house.store, now, open_posting=False, trusts_caller=False), [], asyncio.Event()
    find = house.store.token

    async def slow(hashed):
        found = await find(hashed)
        looked.append(hashed)
        await may_go_on.wait()
        return found

    monkeypatch.setattr(house.store, "token", slow)
    asking = [asyncio.create_task(callers.of(b"Bearer " + token.encode())) for _ in range(3)]
    await eventually(lambda: looked)
    # One of them gives up; that is nothing to the others.
    asking.pop().cancel()
    (held,) = await house.store.list_tokens("person:alice")
    await house.store.revoke_token(held.token_id)
    callers.forget()
    may_go_on.set()
    assert {caller.person.login for caller in await asyncio.gather(*asking)} == {"alice"}, "who asked before"
    with pytest.raises(NotAuthenticated):
        await callers.of(b"Bearer " + token.encode())
    assert len(looked) == 2
