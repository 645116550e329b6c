"""Messages that go past the framework: the same answers as on the ordinary way, in order, and whatever is unusual or wrong goes that way."""

import asyncio
import gc
import gzip
import itertools
import json
import re
import weakref

import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from angelia.front import Front
from angelia.model.errors import InvalidInput, StoreUnavailable
from angelia.wire.connection import Limits, protocol
from angelia.wire.express import Again
from angelia_testing.live import served

PATH = "/api/v1/messages"


class Counted:
    """An express, and how often it took something."""

    def __init__(self, express):
        self.express, self.url, self.taken = express, express.url, 0

    def take(self, head, body, answer):
        is_taken = self.express.take(head, body, answer)
        self.taken += is_taken
        return is_taken


class Hub:
    """A house on a port, asked by raw bytes."""

    def __init__(self, bench, front, express):
        self.bench, self.front, self.express, self.port = bench, front, express, 0
        self.token = b""

    def request(self, body, *headers, path=PATH, method="POST", version="1.1", token=None):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        token = self.token if token is None else token
        lines = [f"{method} {path} HTTP/{version}", "Host: here", f"Content-Length: {len(body)}", *headers]
        if token:
            lines.append(f"Authorization: Bearer {token}")
        if not any(line.lower().startswith("content-type") for line in headers):
            lines.append("Content-Type: application/json")
        return "\r\n".join([*lines, "", ""]).encode() + body

    async def ask(self, *requests, in_parts=0):
        """The answers to what is sent on one connection; in one write, or in parts of so many bytes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        data = b"".join(requests)
        for start in range(0, len(data), in_parts or len(data)):
            writer.write(data[start : start + (in_parts or len(data))])
            if in_parts:
                await asyncio.sleep(0.002)
        answers = [await read_one(reader) for _ in requests]
        writer.close()
        return answers

    async def both(self, body, *headers, **more):
        """The answer, and the one to the same request on the ordinary way: a header that nobody knows sends it there."""
        before = self.express.taken
        [quick] = await self.ask(self.request(body, *headers, **more))
        is_taken = self.express.taken > before
        [slow] = await self.ask(self.request(body, "X-Whatever: 1", *headers, **more))
        assert self.express.taken - before == is_taken, "a header that nobody knows went by express"
        return quick, slow, is_taken


async def read_one(reader):
    async with asyncio.timeout(20):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        return head + await reader.readexactly(length)


def alike(answer):
    """Without what differs from message to message."""
    return re.sub(rb"msg_[0-9a-z]{13}", b"msg_", answer)


@pytest.fixture
async def hub(bench):
    await bench.call("PUT", "/api/v1/sources/ci", {"subtrees": ["obs", "example"], "may_be_urgent": False}, 200)
    front = Front(bench.house)
    hub = Hub(bench, front, Counted(front.express()))
    hub.token = (await bench.call("POST", "/api/v1/sources/ci/tokens", {}, 201))["secret"]
    async with served(front.app(), limits=Limits(body=5), express=hub.express) as hub.port:
        await hub.ask(hub.request({"type": "obs.first"}))  # from now on the token is known
        yield hub


async def test_what_is_usual_goes_past(hub):
    for number in range(3):
        quick, slow, is_taken = await hub.both({"type": "obs.x", "subject": f"number {number}", "to": ["alice"]})
        assert is_taken and quick.startswith(b"HTTP/1.1 201 Created\r\n") and alike(quick) == alike(slow)
    found = await hub.bench.store.list_messages(person_id=None, subtree="obs.x")
    assert sorted(message.subject for message in found) == ["number 0", "number 0", "number 1", "number 1", "number 2", "number 2"]


async def test_the_first_with_a_token_goes_the_ordinary_way_and_a_revoked_one_no_way(hub, monkeypatch):
    made = await hub.bench.call("POST", "/api/v1/sources/ci/tokens", {}, 201)
    before = hub.express.taken
    for _ in range(2):
        [answer] = await hub.ask(hub.request({"type": "obs.x"}, token=made["secret"]))
        assert b" 201 " in answer
    assert hub.express.taken == before + 1
    tokens = (await hub.bench.call("GET", "/api/v1/sources/ci/tokens"))["items"]
    newest = max(token["id"] for token in tokens)
    await hub.bench.call("DELETE", f"/api/v1/sources/ci/tokens/{newest}", None, 204)
    monkeypatch.setattr("angelia.wire.callers.REMEMBERED", 0.0)
    [answer] = await hub.ask(hub.request({"type": "obs.x"}, token=made["secret"]))
    assert b" 401 " in answer and hub.express.taken == before + 1


CASES = {
    "no JSON": (b"{", (), 400),
    "nothing": (b"", (), 400),
    "no object": (b"7", (), 422),
    "a name twice": (b'{"type":"obs.x","type":"obs.y"}', (), 400),
    "no such field": ({"type": "obs.x", "nope": 1}, (), 422),
    "no type": ({"subject": "x"}, (), 403),
    "not its type": ({"type": "wiki.x"}, (), 403),
    "not so urgent": ({"type": "obs.x", "severity": "urgent"}, (), 403),
    "half a character": (b'{"type":"obs.x","subject":"\\ud800"}', (), 400),
    "no time": ({"type": "obs.x", "occurred_at": "2026-02-31T00:00:00Z"}, (), 422),
    "a key that is none": ({"type": "obs.x"}, ("Idempotency-Key: a b",), 400),
    "two keys": ({"type": "obs.x", "idempotency_key": "a"}, ("Idempotency-Key: b",), 422),
    "another content": ({"type": "obs.y"}, ("Idempotency-Key: taken",), 409),
    "the same content": ({"type": "obs.x"}, ("Idempotency-Key: taken",), 200),
    "a batch": ([{"type": "obs.x"}], (), 201),
    "a batch after space": (b' \n[{"type":"obs.x"}]', (), 201),
    "text": (b"x", ("Content-Type: text/plain",), 415),
    "an event": (
        {"specversion": "1.0", "type": "obs.x", "source": "/s", "id": "1", "data": {}},
        ("Content-Type: application/cloudevents+json",),
        201,
    ),
    "gzip": (gzip.compress(b'{"type":"obs.x"}'), ("Content-Encoding: gzip",), 201),
    "a header twice": ({"type": "obs.x"}, ("Accept: a/b", "Accept: c/d"), 201),
    "Latin": (b'{"type":"obs.x"}', ("Content-Type: application/json; charset=latin-1",), 415),
    "UTF-8, said": ({"type": "obs.x"}, ("Content-Type: application/json; charset=utf-8",), 201),
    "no token": ({"type": "obs.x"}, ("Authorization: Basic eDp5",), 401),
    "much": ({"type": "obs.x", "body": "x" * 60_000}, (), 201),
    "more than one read": ({"type": "obs.x", "body": "x" * 65_500, "subject": "y" * 200}, (), 201),
    "too much": ({"type": "obs.x", "body": "x" * 70_000}, (), 413),
}


@pytest.mark.parametrize("case", CASES)
async def test_it_says_what_the_ordinary_way_says(hub, case):
    await hub.ask(hub.request({"type": "obs.x"}, "Idempotency-Key: taken"))
    body, headers, status = CASES[case]
    more = {"token": ""} if case == "no token" else {}
    quick, slow, is_taken = await hub.both(body, *headers, **more)
    if case == "an event":  # it has a key of its own
        assert b" 201 " in quick and b" 200 " in slow
        return
    assert int(quick[9:12]) == status and alike(quick) == alike(slow)
    if status not in (200, 201, 409):
        assert not is_taken


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    fields=st.dictionaries(
        st.sampled_from(["type", "subject", "to", "tags", "severity", "params", "test", "expires_at", "idempotency_key", "sender", "odd"]),
        st.one_of(
            st.sampled_from(["obs.x", "OBS.X", "wiki.y", "low", "urgent", "", "2026-11-25T10:00:00Z", "k\n", "\x00"]),
            st.text(max_size=5), st.booleans(), st.lists(st.sampled_from(["alice", {"id": "bob"}, {}, 1]), max_size=2),
            st.dictionaries(st.sampled_from(["id", "a"]), st.sampled_from(["x", "", 1]), max_size=2),
        ),
        max_size=4,
    ).map(lambda fields: {"type": "obs.x"} | fields)
)  # fmt: skip
async def test_anything_is_answered_alike(hub, fields):
    quick, slow, _ = await hub.both(fields)
    if "idempotency_key" in fields and b" 201 " in quick:
        assert b" 200 " in slow
    else:
        assert alike(quick) == alike(slow)


async def test_what_comes_in_small_parts_or_ahead_is_answered_in_order(hub):
    before = hub.express.taken
    wanted = [hub.request({"type": "obs.x", "idempotency_key": f"n{number}"}) for number in range(5)]
    first = await hub.ask(*wanted, in_parts=37)
    again = await hub.ask(*wanted)
    assert [b" 201 " in answer[:20] for answer in first] == [True] * 5 and hub.express.taken > before
    ids = [re.search(rb"msg_[0-9a-z]{13}", answer)[0] for answer in first]
    assert [re.search(rb"msg_[0-9a-z]{13}", answer)[0] for answer in again] == ids


async def test_other_methods_versions_and_wishes_go_the_ordinary_way(hub):
    before = hub.express.taken
    [answer] = await hub.ask(hub.request({"type": "obs.x"}, "Connection: close"))
    assert b" 201 " in answer and b"connection: close" in answer
    [answer] = await hub.ask(hub.request({"type": "obs.x"}, version="1.0"))
    assert b" 201 " in answer and b"connection: close" in answer
    [answer] = await hub.ask(hub.request({"type": "obs.x"}, path=f"{PATH}?x=1"))
    assert b" 201 " in answer
    [answer] = await hub.ask(hub.request({"type": "obs.x"}, method="PUT"))
    assert b" 405 " in answer
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    whole = hub.request({"type": "obs.x"}, "Expect: 100-continue")
    head, _, body = whole.partition(b"\r\n\r\n")
    writer.write(head + b"\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    assert b" 201 " in await read_one(reader)
    writer.close()
    assert hub.express.taken == before


async def test_a_handshake_behind_a_message_does_not_post_it_again(hub):
    wish = b"GET /nowhere HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    writer.write(hub.request({"type": "obs.once"}))
    assert b" 201 " in await read_one(reader)
    before = hub.express.taken
    writer.write(wish + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    async with asyncio.timeout(20):
        assert (await reader.read()).startswith(b"HTTP/1.1 404")
    writer.close()
    assert hub.express.taken == before
    assert len(await hub.bench.store.list_messages(person_id=None, subtree="obs.once")) == 1


async def test_many_at_once_are_accepted_together_and_each_gets_its_own_answer(hub, monkeypatch):
    sizes = []
    accept = hub.express.express._accept

    async def counted(source, drafts):
        sizes.append(len(drafts))
        return await accept(source, drafts)

    monkeypatch.setattr(hub.express.express, "_accept", counted)
    wanted = [hub.request({"type": "obs.x", "idempotency_key": f"k{number % 20}", "subject": str(number % 40)}) for number in range(100)]
    answers = await asyncio.gather(*(hub.ask(one) for one in wanted))
    kinds = [int(answer[9:12]) for [answer] in answers]
    assert kinds.count(201) == 20 and set(kinds) == {200, 201, 409}
    assert sum(sizes) == 100 and max(sizes) > 1
    assert len(await hub.bench.store.list_messages(person_id=None, subtree="obs.x", limit=100)) == 20


async def test_what_one_brings_does_not_refuse_the_others(hub, monkeypatch):
    accept = hub.express.express._accept

    async def picky(source, drafts):
        if any("bad" in draft.payload for draft in drafts):
            raise InvalidInput("this is bad", "subject")
        return await accept(source, drafts)

    monkeypatch.setattr(hub.express.express, "_accept", picky)
    subjects = ["good", "bad", "good", "bad", "good"]
    answers = await asyncio.gather(*(hub.ask(hub.request({"type": "obs.x", "subject": subject})) for subject in subjects))
    assert [int(answer[9:12]) for [answer] in answers] == [201, 422, 201, 422, 201]


@pytest.mark.parametrize(("error", "status", "said"), [(StoreUnavailable("full", 7), 503, b"retry-after: 7"), (RuntimeError("secret"), 500, b"log")])
async def test_a_store_that_takes_nothing_is_said_to_each(hub, monkeypatch, error, status, said):
    async def nothing(source, drafts):
        raise error

    monkeypatch.setattr(hub.express.express, "_accept", nothing)
    answers = await asyncio.gather(*(hub.ask(hub.request({"type": "obs.x"})) for _ in range(5)))
    for [answer] in answers:
        assert int(answer[9:12]) == status and said in answer and b"secret" not in answer and b"problem+json" in answer


async def test_a_rate_is_counted_once(hub):
    await hub.bench.call("PUT", "/api/v1/sources/slow", {"rate_per_second": 1}, 200)
    token = (await hub.bench.call("POST", "/api/v1/sources/slow/tokens", {}, 201))["secret"]
    answers = [(await hub.ask(hub.request({"type": "a.b"}, token=token)))[0] for _ in range(12)]
    kinds = [int(answer[9:12]) for answer in answers]
    assert kinds[:10] == [201] * 10 and kinds[-1] == 429 and all(b"ratelimit" in answer for answer in answers)
    left = [int(re.search(rb'"posts";r=(\d+)', answer)[1]) for answer in answers[:10]]
    assert left == list(range(9, -1, -1))


async def test_a_client_that_is_gone_has_posted_all_the_same(hub, caplog):
    for _ in range(5):
        _, writer = await asyncio.open_connection("127.0.0.1", hub.port)
        writer.write(hub.request({"type": "obs.gone"}))
        await writer.drain()
        writer.transport.abort()
    _, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    writer.write(hub.request({"type": "obs.half"})[:-3])
    await writer.drain()
    writer.transport.abort()
    await asyncio.sleep(0.3)
    assert len(await hub.bench.store.list_messages(person_id=None, subtree="obs.gone")) == 5
    assert not await hub.bench.store.list_messages(person_id=None, subtree="obs.half")
    assert not caplog.records


class Line:
    """As much of a transport as a connection asks for."""

    def __init__(self):
        self.written, self.is_closed = [], False

    def get_extra_info(self, name):
        return ("127.0.0.1", 1) if name in ("sockname", "peername") else None

    def write(self, data):
        self.written.append(data)

    def is_closing(self):
        return self.is_closed

    def close(self):
        self.is_closed = True

    def pause_reading(self):
        """What was read already comes all the same."""

    resume_reading = pause_reading


class Holding:
    """An express that answers when it is told to."""

    url = PATH.encode()

    def __init__(self):
        self.answers, self.heads, self.bodies = [], [], []

    def take(self, head, body, answer):
        self.answers.append(answer)
        self.heads.append(head)
        self.bodies.append(body)
        return True


HEAD = b"POST /api/v1/messages HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\nAccept: */*\r\n\r\n"


def connected(express, line, app=None):
    config = uvicorn.Config(app, interface="asgi3", ws="none", lifespan="off", log_config=None)
    config.loaded, config.loaded_app, config.ws_protocol_class = True, app, None
    connection = protocol(Limits(), express)(config=config, server_state=ServerState(), app_state={})
    connection.connection_made(line)
    return connection


async def test_a_head_that_was_here_before_is_not_parsed_again():
    express, line = Holding(), Line()
    connection = connected(express, line)
    connection.data_received(HEAD % 5 + b"{...}")
    express.answers.pop()(201, b"{}", [])
    parser, connection.parser = connection.parser, None
    for body in (b"{....}", b"{" + b"x" * 3_000 + b"}", b"{}"):
        connection.data_received(HEAD % len(body) + body)
        assert express.bodies[-1] == body and express.heads[-1] == {b"host": b"here", b"accept": b"*/*"}
        express.answers.pop()(201, b"{}", [])
    connection.parser = parser
    assert len(line.written) == 4 and len(set(line.written)) == 1
    # Half of one is none.
    connection.data_received(HEAD % 5 + b"{..")
    assert len(express.bodies) == 4
    connection.data_received(b".}")
    assert express.bodies[-1] == b"{...}" and len(express.bodies) == 5
    connection.connection_lost(None)


async def test_what_looks_like_a_message_in_the_middle_of_another_is_its_body():
    express, line = Holding(), Line()
    connection = connected(express, line)
    inner = HEAD % 2 + b"{}"
    connection.data_received(inner)
    express.answers.pop()(201, b"{}", [])
    connection.data_received(HEAD % (5 + len(inner)) + b"{...}")
    connection.data_received(inner)
    assert express.bodies == [b"{}", b"{...}" + inner]
    express.answers.pop()(201, b"{}", [])
    connection.data_received(b"GET /api/v1/inbox HTTP/1.1\r\nHost: here\r\nX-Odd: ")
    connection.data_received(inner)
    assert len(express.bodies) == 2
    connection.connection_lost(None)


LINES = [
    b"Host: here",
    b"Host:  here",
    b"Accept: */*",
    b"content-length: 2",
    b"User-Agent: content-length: %d",
    b"User-Agent: a",
    b"User-Agent: b",
    b"X-Odd: 1",
    b"Connection: close",
]
a_head = (
    st.just([]) | st.sampled_from([[b"User-Agent: a"], [b"User-Agent: b"]]) | st.lists(st.sampled_from(LINES), min_size=0, max_size=2, unique=True)
)
a_body = st.sampled_from([b"", b"{}", b"{...}", b"!...", b"\r\n\r\n", HEAD % 2 + b"{}", b"{" + b"x" * 98 + b"}", b"{" + b"x" * 997 + b"}"])
a_length = st.sampled_from([b"%d", b"%d", b"%d", b"%d", b"0%d", b"%d ", b"%d0", b"+%d"])
a_request = st.tuples(st.just([]), st.just(b"{...}"), st.just(b"%d"), st.just(b"")) | st.tuples(
    a_head, a_body, a_length, st.sampled_from([b"", b"", b"", b"\r\n"])
)


def written(some, body, length, before):
    lines = [
        b"POST /api/v1/messages HTTP/1.1",
        b"Host: here",
        b"Content-Length: " + length % len(body),
        *[line.replace(b"%d", b"%d" % len(body)) for line in some],
    ]
    return before + b"\r\n".join([*lines, b"", b""]) + body


async def told(requests, cuts):
    """What is taken, by whom, and what is said, where these are sent on one connection, and cut at these places in a thousand."""
    log, line = [], Line()

    class Taking:
        url = PATH.encode()

        def take(self, head, body, answer):
            if body[:1] == b"!":
                return False
            log.append(("express", sorted(head.items()), body))
            asyncio.get_running_loop().call_soon(answer, 201, b"%d" % len(log), [])
            return True

    async def app(scope, receive, send):
        body, event = b"", await receive()
        while event["type"] == "http.request":
            body += event["body"]
            if not event["more_body"]:
                break
            event = await receive()
        log.append(("app", sorted(scope["headers"]), body, event["type"]))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
        await send({"type": "http.response.body", "body": b"x"})

    connection = connected(Taking(), line, app)
    for request in requests:
        places = sorted({0, len(request), *[len(request) * cut // 1_000 for cut in cuts]})
        for start, end in itertools.pairwise(places):
            if not line.is_closed:
                connection.data_received(request[start:end])
            for _ in range(6):
                await asyncio.sleep(0)
    connection.connection_lost(None)
    await asyncio.sleep(0)
    return log, line.written


@settings(max_examples=300, deadline=None)
@given(requests=st.lists(a_request, min_size=3, max_size=8), are_together=st.booleans(), cuts=st.lists(st.integers(1, 999), max_size=2))
async def test_a_head_that_is_remembered_means_what_it_would_mean_if_it_were_not(requests, are_together, cuts):
    data = [written(*request) for request in requests]
    if are_together:
        data = [b"".join(data[at : at + 2]) for at in range(0, len(data), 2)]
    with_memory = await told(data, cuts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Again, "of", lambda *_: None)
        assert await told(data, cuts) == with_memory


@pytest.mark.parametrize(("cut", "is_answered"), [(None, True), (None, False), (-3, False)])
async def test_nothing_is_kept_of_who_is_gone(cut, is_answered):
    """In a hub the collector comes by seldom."""
    express, line = Holding(), Line()
    whole = b"POST /api/v1/messages HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\n\r\n{...}"
    gc.collect()
    gc.disable()
    try:
        connection = connected(express, line)
        connection.data_received(whole[:cut])
        if is_answered:
            express.answers.pop()(201, b"{}", [])
        connection.connection_lost(None)
        while express.answers:
            express.answers.pop()(201, b"{}", [])
        assert len(line.written) == is_answered
        seen = weakref.ref(connection)
        del connection
        assert seen() is None
    finally:
        gc.enable()


async def test_a_body_that_does_not_come_is_not_waited_for(bench):
    front = Front(bench.house)
    hub = Hub(bench, front, Counted(front.express()))
    async with served(front.app(), limits=Limits(body=0.5), express=hub.express) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(hub.request({"type": "obs.half"}, token="x")[:-3])
        async with asyncio.timeout(10):
            assert b" 408 " in await reader.read()
        writer.close()


async def test_where_the_server_ends_what_waits_is_answered(hub, monkeypatch):
    accept = hub.express.express._accept

    async def slow(source, drafts):
        await asyncio.sleep(0.3)
        return await accept(source, drafts)

    monkeypatch.setattr(hub.express.express, "_accept", slow)
    async with served(hub.front.app(), express=hub.express) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(hub.request({"type": "obs.last"}))
        await asyncio.sleep(0.1)
    answer = await read_one(reader)
    assert b" 201 " in answer and b"connection: close" in answer and await reader.read() == b""
    writer.close()
