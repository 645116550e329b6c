"""What no library would send: bad requests over a plain socket to a served hub (catalogue E1, figure R12)."""

import asyncio
import json
import socket
import threading
import time

import httpx2
import pytest

from angelia_testing.hub import crowd
from angelia_testing.peers.process import ANGELIA, ENVIRONMENT, Server, free_port

HEAD_TIMEOUT = BODY_TIMEOUT = 3


class RawHub:
    """A served hub where anybody may post, with short patience."""

    def __init__(self, folder) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        argv = [*ANGELIA, "serve", "--data-dir", str(folder / "hub"), "--port", str(self.port)]
        settings = {"OPEN_POSTING": "true", "HEAD_TIMEOUT": str(HEAD_TIMEOUT), "BODY_TIMEOUT": str(BODY_TIMEOUT), "ANSWER_TIMEOUT": "3"}
        environment = ENVIRONMENT | {f"ANGELIA__WEB__{name}": value for name, value in settings.items()} | {"ANGELIA__LOG__LEVEL": "debug"}
        self.server = Server("angelia", argv, [self.port], folder, environment)

    def talk(self, *parts: bytes, timeout: float = 3.0) -> bytes:
        """All that is answered until the hub closes the connection; what has come if it stays open for `timeout`."""
        received = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as connection:
            try:
                for part in parts:
                    connection.sendall(part)
                while part := connection.recv(65_536):
                    received += part
            except ConnectionError:
                pass  # closed with something of ours unread
            except TimeoutError:
                received += b"[open]"
        return received

    def metric(self, name: str) -> float:
        lines = httpx2.get(f"{self.url}/metrics", timeout=60).text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    def stored(self) -> float:
        return self.metric("angelia_events_received_total")

    def memory(self) -> int:
        """Resident bytes."""
        with open(f"/proc/{self.server.process.pid}/statm") as file:
            return int(file.read().split()[1]) * 4096


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    made = RawHub(tmp_path_factory.mktemp("raw"))
    yield made
    assert made.server.stop() == 0
    assert "Traceback" not in made.server.log()


@pytest.fixture(autouse=True)
def _still_well(hub):
    """Whatever was sent: the hub lives, answers, and has stored nothing but what the test says."""
    yield
    assert httpx2.get(f"{hub.url}/healthz/live", timeout=60).status_code == 200
    assert hub.server.process.poll() is None


HOST = b"Host: 127.0.0.1\r\n"
GET = b"GET /healthz/live HTTP/1.1\r\n" + HOST
POST = b"POST /api/v1/messages HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
SECOND = GET + b"\r\n"
BODY = b'{"type":"raw.test"}'
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

REFUSED = {
    "1a negative length": (POST + b"Content-Length: -1\r\n\r\n", 400),
    "1b length in letters": (POST + b"Content-Length: abc\r\n\r\n", 400),
    "1c two lengths": (POST + b"Content-Length: 2\r\nContent-Length: 5\r\n\r\n{}", 400),
    "2 length and chunks": (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "2b unknown coding": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    "3a chunk size beyond all": (CHUNKED + b"F" * 17 + b"\r\nabcde\r\n0\r\n\r\n", 400),
    "3b chunk size in C": (CHUNKED + b"0x5\r\nabcde\r\n0\r\n\r\n", 400),
    "3c chunk size after a space": (CHUNKED + b" 5\r\nabcde\r\n0\r\n\r\n", 400),
    "4a a long header": (GET + b"A: " + b"x" * 100_000 + b"\r\n\r\n", 431),
    "4b many headers": (GET + b"".join(b"a%d: b\r\n" % number for number in range(5_000)) + b"\r\n", 431),
    "4c a header without end": (GET + b"A: " + b"x" * 600_000, 431),
    "5a space in a name": (GET + b"A B: c\r\n\r\n", 400),
    "5b bare LF": (b"GET /healthz/live HTTP/1.1\nHost: 127.0.0.1\n\n", 400),
    "5c bare LF between headers": (GET + b"A: b\nC: d\r\n\r\n", 400),
    "5d NUL": (GET + b"A: b\0c\r\n\r\n", 400),
    "5e folded": (GET + b"A: b\r\n c\r\n\r\n", 400),
    "6a no Host": (b"GET /healthz/live HTTP/1.1\r\n\r\n", 400),
    "6b two Hosts": (GET + HOST + b"\r\n", 400),
    "6c a foreign Host": (b"GET /healthz/live HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
    "6d a foreign Host that begins well": (b"GET /healthz/live HTTP/1.1\r\nHost: 127.0.0.1:80@evil.example\r\n\r\n", 421),
    "6e a Host that ends well": (b"GET /healthz/live HTTP/1.1\r\nHost: evil.127.0.0.1\r\n\r\n", 421),
    "7a a long path": (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    "7b bytes in a path": (b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "8a unknown method": (b"FOO / HTTP/1.1\r\n" + HOST + b"\r\n", 501),
    "8b method in small letters": (b"get / HTTP/1.1\r\n" + HOST + b"\r\n", 501),
    "8c CONNECT": (b"CONNECT evil.example:443 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "20a HTTP/2 from the start": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "20b another protocol behind a body": (POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 19\r\n\r\n" + BODY, 400),
}


@pytest.mark.parametrize(("sent", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_it_is_refused_and_nothing_behind_it_is_served(hub, sent, status):
    before = hub.stored()
    received = hub.talk(sent, SECOND)
    if not received and len(sent) > 60_000:
        # Closed while more still came: then TCP may throw the answer away on its way.
        assert hub.stored() == before
        return
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), received
    assert received.count(b"HTTP/1.1 ") == 1, received
    assert not received.endswith(b"[open]")
    assert b"connection: close" in head
    assert b"content-type: application/problem+json" in head
    assert json.loads(body)["status"] == status
    assert (b"allow: " in head) == (status == 501)
    assert hub.stored() == before


ANSWERED = {
    "5f spaces around a value": (GET + b"A:  \t b \t \r\n\r\n", 200),
    "6f loopback with a port": (b"GET /healthz/live HTTP/1.1\r\nHost: LOCALHOST:9\r\n\r\n", 200),
    "6g HTTP/1.0 without Host": (b"GET /healthz/live HTTP/1.0\r\n\r\n", 200),
    "7c NUL in a path": (b"GET /api/%00 HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "7d no UTF-8 in a path": (b"GET /api/%ff HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "7e up and out": (b"GET /../../etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "7f up and out, encoded": (b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "7g a path like a host": (b"GET //evil.example/ HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "7h a path that lacks its end": (b"GET /api/v1/people/ HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "8d TRACE": (b"TRACE /healthz/live HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "8e DELETE of messages": (b"DELETE /api/v1/messages HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "8f GET of publish": (b"GET /api/v1/publish/a.b HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "8g PUT to Hermes": (b"PUT /hermes/example HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n", 405),
    "9 override of the method": (GET + b"X-HTTP-Method-Override: DELETE\r\nX-Method-Override: DELETE\r\n\r\n", 200),
    "15 Accept an image": (GET + b"Accept: image/png\r\n\r\n", 200),
    "16a Range": (GET + b"Range: bytes=0-1,2-3\r\n\r\n", 200),
    "16b ten thousand tags": (GET + b"If-None-Match: " + b'"a",' * 6_000 + b'"b"\r\n\r\n', 200),
    "16c Expect something else": (GET + b"Expect: 200-ok\r\n\r\n", 200),
    "20c a broken WebSocket handshake": (GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: YQ==\r\n\r\n", 400),
    "20c WebSocket on a plain path": (
        GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n",
        404,
    ),
    "20d h2c": (GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n", 200),
}


@pytest.mark.parametrize(("sent", "status"), ANSWERED.values(), ids=ANSWERED.keys())
def test_it_is_odd_and_has_a_plain_answer(hub, sent, status):
    before = hub.stored()
    received = hub.talk(sent.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1) if b"Upgrade" not in sent else sent)
    head = received.partition(b"\r\n\r\n")[0]
    assert head.startswith(b"HTTP/1.1 %d " % status), received
    assert b"\r\nlocation:" not in head.lower()
    assert (b"\r\nallow: " in head.lower()) == (status == 405)
    assert b"evil.example" not in received
    assert not received.endswith(b"[open]")
    assert hub.stored() == before


def test_the_answer_before_a_bad_request_comes_whole(hub):
    """What was stored is acknowledged; the refusal of what follows must not stand in for it."""
    received = hub.talk(POST + b"Content-Length: 19\r\n\r\n" + BODY + b"\0\0 no request\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 201 ")
    assert received.count(b"HTTP/1.1 ") == 1
    assert not received.endswith(b"[open]")


def test_a_sender_that_goes_away_in_its_body_has_sent_nothing(hub):
    before = hub.stored()
    for path in (b"/api/v1/messages", b"/api/v1/publish/raw.test?subject=x", b"/hermes/raw.test", b"/hermes/"):
        for body in (b"", b"half"):
            with socket.create_connection(("127.0.0.1", hub.port)) as connection:
                connection.sendall(b"POST " + path + b" HTTP/1.1\r\n" + HOST + b"Content-Length: 50\r\n\r\n" + body)
                connection.shutdown(socket.SHUT_WR)
                assert b" 201 " not in connection.recv(65_536)
    assert hub.stored() == before


TOO_LARGE = [(b"/api/v1/messages", True), (b"/api/v1/messages", False), (b"/api/v1/publish/a", True), (b"/hermes/a", True), (b"/hermes/", False),
             (b"/api/v1/groups/a", True), (b"/api/v1/groups/a", False)]  # fmt: skip


def poured(hub, path, is_chunked):
    """What the hub says to a body without end, once it has closed the connection; None if it reads on for 15 s."""
    method = b"PUT " if b"groups" in path else b"POST "
    announced = b"Transfer-Encoding: chunked\r\n" if is_chunked else b"Content-Length: 100000000000\r\n"
    piece = b"10000\r\n" + b"x" * 65_536 + b"\r\n" if is_chunked else b"x" * 65_536
    sent, answer = 0, b""
    with socket.create_connection(("127.0.0.1", hub.port), timeout=60) as connection:
        connection.sendall(method + path + b" HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n" + announced + b"\r\n")
        connection.setblocking(False)
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            try:
                part = connection.recv(65_536)
                if not part:
                    return answer
                answer += part
            except BlockingIOError:
                pass
            except ConnectionError:
                return answer
            try:
                sent += connection.send(piece[sent % len(piece) :])
            except BlockingIOError:
                time.sleep(0.001)
            except ConnectionError:
                return answer
    return None


def test_reading_stops_where_a_body_is_too_large(hub):  # E1.11, all at once
    before, answers = hub.memory(), {}

    def pour(case):
        answers[case] = poured(hub, *case)

    threads = [threading.Thread(target=pour, args=(case,)) for case in TOO_LARGE]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for case in TOO_LARGE:
        assert answers[case] is not None, f"{case}: it read on and on"
        assert answers[case].startswith(b"HTTP/1.1 413 "), (case, answers[case][:200])
    assert hub.memory() - before < 300_000_000


def measured_close(hub, sent, drip=b"", every=0.2):
    """Seconds until the hub closes, and what it said."""
    received = b""
    with socket.create_connection(("127.0.0.1", hub.port), timeout=every) as connection:
        connection.sendall(sent)
        began = time.monotonic()
        while time.monotonic() - began < 15:
            try:
                part = connection.recv(65_536)
                if not part:
                    break
                received += part
            except TimeoutError:
                try:
                    connection.sendall(drip)
                except ConnectionError:
                    break
            except ConnectionError:
                break
        return time.monotonic() - began, received


SLOW = {
    "12a a body that stops": (POST + b"Content-Length: 1000000\r\n\r\n0123456789", b"", b"HTTP/1.1 408 "),
    "12b a body that drips": (POST + b"Content-Length: 1000000\r\n\r\n0123456789", b"x", b"HTTP/1.1 408 "),
    "12c a chunk that never ends": (CHUNKED + b"FFFFFFFFFFFFFFFF\r\nabcde\r\n0\r\n\r\n", b"", b"HTTP/1.1 408 "),
    "12d a body where the framework reads": (b"PUT /api/v1/groups/a HTTP/1.1\r\n" + HOST + b"Content-Length: 100\r\n\r\n{", b"", b"HTTP/1.1 408 "),
    "12e a body that waits to be asked for": (POST + b"Content-Length: 100\r\nExpect: 100-continue\r\n\r\n", b"", b"HTTP/1.1 100 "),
    "12f nothing at all": (b"", b"", b""),
    "12g half a head": (GET, b"", b"HTTP/1.1 408 "),
    "12h a head that drips": (GET + b"A: ", b"x", b"HTTP/1.1 408 "),
    "12i half a head after a good request": (SECOND + GET, b"", b"HTTP/1.1 200 "),
    "12j empty lines": (SECOND, b"\r\n", b"HTTP/1.1 200 "),
    "12k empty lines from the start": (b"\r\n", b"\r\n", b""),
}


def test_who_keeps_us_waiting_is_cut_off(hub):  # E1.12, all at once since each one waits
    found = {}
    before = hub.stored()

    def measure(name, sent, drip):
        found[name] = measured_close(hub, sent, drip)

    threads = [threading.Thread(target=measure, args=(name, sent, drip)) for name, (sent, drip, _) in SLOW.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, (_, _, expected) in SLOW.items():
        seconds, received = found[name]
        assert 2 < seconds < HEAD_TIMEOUT + 3, (name, seconds, received)
        assert received.startswith(expected), (name, received)
    assert hub.stored() == before


def test_a_slow_body_that_comes_on_is_taken(hub):
    body = b'{"type":"raw.test","body":"' + b"x" * 60_000 + b'"}'
    with socket.create_connection(("127.0.0.1", hub.port), timeout=60) as connection:
        connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body))
        for at in range(0, len(body), 6_000):
            connection.sendall(body[at : at + 6_000])
            time.sleep(0.45)  # 4.5 s in all, longer than the hub's patience with silence
        assert connection.recv(65_536).startswith(b"HTTP/1.1 201 ")


def test_a_thousand_requests_in_one_go(hub):  # E1.19
    before = hub.memory()
    many = SECOND * 999 + GET + b"Connection: close\r\n\r\n"
    received = hub.talk(many, timeout=60)
    assert received.count(b"HTTP/1.1 200 OK") == 1_000
    assert hub.memory() - before < 50_000_000


def test_who_sends_and_never_reads_is_cut_off(hub):
    asked = (b"GET /api/v1/openapi.json HTTP/1.1\r\n" + HOST + b"\r\n") * 200
    with socket.create_connection(("127.0.0.1", hub.port), timeout=0.5) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        sent, deadline = 0, time.monotonic() + 15
        while time.monotonic() < deadline:
            try:
                sent += connection.send(asked[sent % len(asked) :])
            except TimeoutError:
                continue
            except ConnectionError:
                return
        pytest.fail("it was never cut off")


def test_a_forged_address_changes_nothing(hub):  # E1.10
    forged = {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9;host=evil.example", "X-Forwarded-Host": "evil.example"}
    answer = httpx2.post(f"{hub.url}/api/v1/messages", json={"type": "raw.test"}, headers=forged, timeout=60)
    assert answer.status_code == 201
    assert "evil.example" not in f"{answer.headers} {answer.text}"
    assert "203.0.113.9" not in hub.server.log()


async def test_500_slow_clients_do_not_slow_a_healthy_one(hub):  # figure R12, checklist S39
    starts = [GET, GET + b"A: ", POST + b"Content-Length: 1000000\r\n\r\nx", b""]

    async def crawl(number):
        """A connection that drips, and comes again when it is cut off."""
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
        writer.write(starts[number % 4])
        try:
            while not reader.at_eof():
                if number % 4 in (1, 2):
                    writer.write(b"x")
                await asyncio.sleep(1)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def crawl_on(number):
        while True:
            await crawl(number)

    slow = [asyncio.create_task(crawl_on(number)) for number in range(500)]
    try:
        await asyncio.sleep(1)
        took = []
        async with httpx2.AsyncClient(base_url=hub.url) as client:
            until = time.monotonic() + 4
            while time.monotonic() < until or len(took) <= 100:
                began = time.monotonic()
                assert (await client.post("/api/v1/messages", json={"type": "raw.test"})).status_code == 201
                took.append(time.monotonic() - began)
        assert sorted(took)[int(len(took) * 0.99)] < 1.0 * crowd()
        assert not any(task.done() for task in slow)
    finally:
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
