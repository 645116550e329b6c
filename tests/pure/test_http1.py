"""Answers of HTTP as peers may cut, split and lengthen them: each request gets its own whole answer, or none."""

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angelia.http1 import Broken, Connection, Oversized, Pool, request_bytes

MOST = 2_000
ORIGIN = ("http", "hub.example.org", 80)
bodies = st.binary(max_size=300)
cuts = st.lists(st.integers(0, 700), max_size=12)


@pytest.fixture(scope="module")
def loop():
    with asyncio.Runner() as made:
        yield made


class Wire:
    """A transport as far as a connection knows it."""

    def __init__(self, connection, on_write=lambda wire, data: None):
        self.connection, self.on_write = connection, on_write
        self.is_closed = False
        connection.connection_made(self)

    def write(self, data):
        self.on_write(self, data)

    def get_write_buffer_size(self):
        return 0

    def abort(self):
        self.is_closed = True

    def hear(self, data):
        if not self.is_closed:
            self.connection.data_received(data)

    def end(self):
        self.is_closed = True
        self.connection.connection_lost(None)


def pieces_of(text, places):
    ends = sorted({place for place in places if 0 < place < len(text)})
    return [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]


def in_chunks(body, sizes):
    parts = pieces_of(body, sizes) if body else []
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@st.composite
def answers(draw):
    """Status, body, and the bytes of an answer that says where it ends."""
    status, body = draw(st.sampled_from([200, 201, 302, 404, 410, 500])), draw(bodies)
    before = b"".join(draw(st.lists(st.sampled_from([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"]), max_size=2)))
    head = b"HTTP/1.1 %d Some Words\r\nX-Y: z\r\n" % status
    if draw(st.booleans()):
        return status, body, before + head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    return status, body, before + head + b"Transfer-Encoding: chunked\r\n\r\n" + in_chunks(body, draw(cuts))


async def told(pieces, *, ends=False):
    """The reply or what was raised, and the connection after it, which is open or gone."""
    connection = Connection()
    wire = Wire(connection)
    asking = asyncio.ensure_future(connection.ask(b"GET / HTTP/1.1\r\n\r\n", MOST))
    await asyncio.sleep(0)
    for piece in pieces:
        wire.hear(piece)
    if ends and not wire.is_closed:
        wire.end()
    for _ in range(3):
        await asyncio.sleep(0)
    if not asking.done():
        asking.cancel()
    (outcome,) = await asyncio.gather(asking, return_exceptions=True)
    assert connection.is_open != wire.is_closed
    return outcome, connection


@given(answers(), cuts)
def test_however_an_answer_is_split_it_is_the_same(loop, answer, places):
    status, body, text = answer
    reply, connection = loop.run(told(pieces_of(text, places)))
    assert (reply.status, bytes(reply.body), reply.headers["x-y"]) == (status, body, "z")
    assert connection.is_open


@given(answers(), cuts, st.integers(0, 10_000), st.booleans())
def test_half_an_answer_is_none_and_its_connection_is_not_asked_again(loop, answer, places, length, ends):
    text = answer[2][: length % len(answer[2])]
    outcome, connection = loop.run(told(pieces_of(text, places), ends=ends))
    assert isinstance(outcome, Broken if ends else asyncio.CancelledError)
    assert not connection.is_open


@given(answers(), st.binary(min_size=1, max_size=60).filter(lambda more: more.strip(b"\r\n")), answers(), st.booleans(), cuts)
def test_what_follows_an_answer_is_no_part_of_it_and_ends_the_connection(loop, answer, garbage, second, is_answer, places):
    status, body, text = answer
    more = second[2] if is_answer else garbage
    reply, connection = loop.run(told(pieces_of(text + more, places)))
    assert (reply.status, bytes(reply.body)) == (status, body)
    assert not connection.is_open


@given(
    st.lists(st.one_of(st.binary(max_size=80), answers().map(lambda answer: answer[2][:60]), st.just(b"HTTP/1.1 200 OK\r\n")), max_size=6),
    st.booleans(),
)
def test_whatever_a_peer_says_is_an_answer_or_one_of_our_own_errors(loop, pieces, ends):
    outcome, connection = loop.run(told(pieces, ends=ends))
    if isinstance(outcome, BaseException):
        assert isinstance(outcome, (Broken, Oversized, asyncio.CancelledError))
        assert not connection.is_open
    else:
        assert 200 <= outcome.status <= 999 and len(outcome.body) <= MOST


@given(st.integers(MOST + 1, 3 * MOST), st.booleans(), cuts)
def test_a_body_that_is_too_large_is_cut_off(loop, size, is_chunked, places):
    body = b"x" * size
    framed = b"Transfer-Encoding: chunked\r\n\r\n" + in_chunks(body, places) if is_chunked else b"Content-Length: %d\r\n\r\n%b" % (size, body)
    outcome, connection = loop.run(told(pieces_of(b"HTTP/1.1 200 OK\r\n" + framed, places)))
    assert isinstance(outcome, Oversized) and not connection.is_open


def answer_to(number, more=b""):
    return b"HTTP/1.1 200 OK\r\n%bContent-Length: 6\r\n\r\n%06d" % (more, number)


EVIL = answer_to(666_666)


class Peer:
    """Answers request by request as its script says; a connection on which something went wrong must not be asked again."""

    def __init__(self, script):
        self.script, self.wires = script, 0

    async def connect(self, origin):
        assert origin == ORIGIN
        self.wires += 1
        connection = Connection()
        wire = Wire(connection, self.answer)
        wire.is_spoilt = False
        return connection

    def answer(self, wire, request):
        assert not wire.is_spoilt and not wire.is_closed
        number = int(request.split(b" ", 2)[1].removeprefix(b"/"))
        way, place = self.script[number]
        wire.is_spoilt = way not in ("whole", "split")
        text, soon = answer_to(number), asyncio.get_running_loop().call_soon
        if way == "split":
            for piece in pieces_of(text, [place]):
                soon(wire.hear, piece)
        elif way in ("half", "silent"):
            soon(wire.hear, text[: place % len(text)])
            if way == "half":
                soon(wire.end)
        elif way == "closes":
            soon(wire.hear, answer_to(number, b"Connection: close\r\n"))
        else:
            soon(wire.hear, text + EVIL if way == "twice" else text)
            if way == "unasked":
                soon(soon, wire.hear, EVIL)
            elif way == "leaves":
                soon(soon, wire.end)


async def exchanges(script):
    peer, got = Peer(script), []
    pool = Pool(peer.connect, most=3, most_idle=2, keep=60)
    for number in range(len(script)):
        asking = asyncio.ensure_future(pool.ask(ORIGIN, request_bytes("GET", f"/{number}", "hub.example.org", {}, b""), MOST))
        for _ in range(8):
            await asyncio.sleep(0)
        asking.cancel()
        with suppress(asyncio.CancelledError, Broken):
            got.append(int((await asking).body))
    await pool.close()
    return got, peer.wires


ways = st.sampled_from(["whole", "split", "half", "silent", "closes", "twice", "unasked", "leaves"])


@given(st.lists(st.tuples(ways, st.integers(1, 60)), max_size=12))
def test_each_request_gets_its_own_answer_and_what_went_wrong_is_not_asked_again(loop, script):
    got, wires = loop.run(exchanges(script))
    assert got == [number for number, (way, _) in enumerate(script) if way not in ("half", "silent")]
    # One is opened at first, and one after each that was spoilt.
    assert wires == (1 + sum(way not in ("whole", "split") for way, _ in script[:-1]) if script else 0)


names = st.one_of(*[st.sampled_from(["X-Y", "accept", "a_b"])] * 4, st.text("aZ9-_~ :\r\n\t\0é", max_size=5))
values = st.one_of(st.text("aZ9 :é", max_size=8), st.text("a:\r\n\0 ", max_size=5), st.text("a\x7f☢"))


@given(st.dictionaries(names, values, min_size=1, max_size=2), bodies)
def test_a_request_says_what_it_was_given_or_is_not_made(headers, content):
    try:
        made = request_bytes("POST", "/x", "hub.example.org", headers, content)
    except Broken:
        return
    head, _, body = made.partition(b"\r\n\r\n")
    first, host, *lines = head.decode("latin-1").split("\r\n")
    assert (first, host, body) == ("POST /x HTTP/1.1", "Host: hub.example.org", content)
    assert lines == [*(f"{name}: {value.strip()}" for name, value in headers.items()), f"Content-Length: {len(content)}"]
    assert "\n" not in head.decode("latin-1").replace("\r\n", "")
