"""Requests that the hub makes: never to where it must not go, bounded in time and size."""

import asyncio
import gzip
import socket
import ssl
import struct
import time

import pytest

from angelia.model.delivery import Later, Sent
from angelia.model.errors import BadSettings
from angelia.outbound import Answer, NoAnswer, Outbound, Request, outcome_of
from angelia_testing.peers.certificates import issue
from angelia_testing.peers.http import Reply, ScriptedHttp


@pytest.fixture
def peer():
    made = ScriptedHttp(lambda asked: Reply(body=asked.method.encode() + b" " + asked.path.encode()))
    yield made
    made.stop()


@pytest.fixture
async def outbound():
    made = Outbound("127.0.0.2/32, 127.0.0.1/32")
    yield made
    await made.close()


async def test_what_is_asked_and_answered(peer, outbound):
    answer = await outbound.fetch(Request(url=f"{peer.url}/x?y=1", method="POST", headers={"X-Id": "7"}, content=b"hello"))
    assert isinstance(answer, Answer)
    assert (answer.status, answer.body) == (200, b"POST /x?y=1")
    (asked,) = peer.asked
    assert (asked.body, asked.headers["x-id"], asked.headers["accept-encoding"]) == (b"hello", "7", "identity")


async def test_a_server_that_the_operator_wrote_down_may_be_anywhere_and_stays_closed_to_people(peer):
    common = Outbound(mark="ours")
    own = common.to_server(peer.url)
    assert isinstance(await own.fetch(Request(url=f"{peer.url}/x")), Answer)
    assert peer.asked[0].headers["angelia-sent-by"] == "ours"
    for way, url in ((common, f"{peer.url}/x"), (own, f"http://127.0.0.1:{peer.port + 1}/x"), (own, "http://10.0.0.1/")):
        refused = await way.fetch(Request(url=url))
        assert isinstance(refused, NoAnswer) and refused.is_forbidden
    assert common.to_server("https://push.example.org:81").fault_of("https://push.example.org:81/x") == ""
    assert common.fault_of("https://push.example.org:81/x") and len(peer.asked) == 1
    await common.close()
    assert own._opened is not None and own._opened._is_closed


async def test_a_redirect_is_an_answer_and_not_followed(peer, outbound):
    peer.answer = lambda asked: Reply(302, headers={"Location": "/inside"})
    answer = await outbound.fetch(Request(url=f"{peer.url}/"))
    assert (answer.status, answer.headers["location"]) == (302, "/inside")
    assert len(peer.asked) == 1


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["93.184.215.14", "127.0.0.1"], ["::1"], ["::ffff:127.0.0.1"], ["64:ff9b::7f00:1"], ["169.254.169.254"], []],
)
async def test_a_name_that_leads_inside_is_refused_whatever_else_it_leads_to(peer, addresses):
    async def resolve(host, port):
        return addresses

    outbound = Outbound(resolve=resolve)
    answer = await outbound.fetch(Request(url=f"http://hub.example.org:{peer.port}/"))
    assert isinstance(answer, NoAnswer) and answer.is_forbidden
    assert peer.asked == []
    await outbound.close()


async def test_a_name_is_looked_up_once_and_that_is_where_we_connect(peer):
    looked_up = []

    async def resolve(host, port):
        looked_up.append(host)
        return ["127.0.0.1"] if len(looked_up) == 1 else ["127.0.0.2"]

    outbound = Outbound("127.0.0.1/32", resolve=resolve)
    answer = await outbound.fetch(Request(url=f"http://hub.example.org:{peer.port}/"))
    assert answer.status == 200
    assert peer.asked[0].headers["host"] == f"hub.example.org:{peer.port}"
    peer.answer = lambda asked: Reply(headers={"Connection": "close"})
    await outbound.fetch(Request(url=f"http://hub.example.org:{peer.port}/"))
    again = await outbound.fetch(Request(url=f"http://other.example.org:{peer.port}/"))
    assert isinstance(again, NoAnswer) and again.is_forbidden
    assert looked_up == ["hub.example.org", "other.example.org"]
    await outbound.close()


async def test_one_address_that_does_not_answer_is_no_reason_to_give_up(peer):
    async def resolve(host, port):
        return ["127.0.0.3", "127.0.0.1"]

    outbound = Outbound("127.0.0.0/8", resolve=resolve)
    assert (await outbound.fetch(Request(url=f"http://hub.example.org:{peer.port}/"))).status == 200
    await outbound.close()


@pytest.mark.parametrize("name", ["localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1"])
async def test_other_ways_to_write_this_machine(peer, name):
    outbound = Outbound()
    answer = await outbound.fetch(Request(url=f"http://{name}:{peer.port}/"))
    assert isinstance(answer, NoAnswer) and answer.is_forbidden
    assert peer.asked == []
    await outbound.close()


async def test_limits_of_time_and_size(peer, outbound):
    peer.answer = lambda asked: Reply(delay=2.0)
    started = time.monotonic()
    answer = await outbound.fetch(Request(url=peer.url, timeout=0.2))
    assert isinstance(answer, NoAnswer) and "0.2 s" in answer.why
    assert time.monotonic() - started < 1.5
    peer.answer = lambda asked: Reply(body=b"x" * 2_000)
    assert "more than 1000 bytes" in (await outbound.fetch(Request(url=peer.url, most=1_000))).why
    assert (await outbound.fetch(Request(url=peer.url, most=2_000))).status == 200


async def test_a_body_that_trickles_is_cut_at_the_time_limit(outbound):
    is_cut = asyncio.Event()

    async def trickle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        try:
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)
        except ConnectionError:
            writer.close()
            is_cut.set()

    server = await asyncio.start_server(trickle, "127.0.0.1", 0)
    answer = await outbound.fetch(Request(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", timeout=0.4))
    assert isinstance(answer, NoAnswer)
    async with asyncio.timeout(5):
        await is_cut.wait()
    server.close()


@pytest.fixture
async def script():
    """Serves given bytes, one text a request, on one connection after the other; `connections` counts them."""
    servers, seen = [], []

    async def serve(*texts, ends=False):
        waiting = list(texts)

        async def talk(reader, writer):
            seen.append(writer)
            try:
                while waiting:
                    await reader.readuntil(b"\r\n\r\n")
                    writer.write(waiting.pop(0))
                    await writer.drain()
                    if ends:
                        break
                else:
                    await reader.read()
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            writer.close()

        servers.append(await asyncio.start_server(talk, "127.0.0.1", 0))
        return f"http://127.0.0.1:{servers[-1].sockets[0].getsockname()[1]}/"

    serve.connections = seen
    yield serve
    for server in servers:
        server.close()


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\nLate: x\r\n\r\n"


async def test_answers_in_all_their_shapes_share_one_connection(script, outbound):
    shapes = [
        (CHUNKED, 200, b"hello world"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nX: y\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok", 201, b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", 304, b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", 200, b""),
    ]
    url = await script(*(text for text, _, _ in shapes))
    for _, status, body in shapes:
        answer = await outbound.fetch(Request(url=url))
        assert (answer.status, answer.body, "x" in answer.headers, "late" in answer.headers) == (status, body, False, False)
    assert len(script.connections) == 1


async def test_an_answer_without_a_length_ends_with_its_connection(script, outbound):
    url = await script(b"HTTP/1.1 200 OK\r\n\r\nall of it", b"HTTP/1.0 200 OK\r\n\r\nold", ends=True)
    assert [(await outbound.fetch(Request(url=url))).body for _ in range(2)] == [b"all of it", b"old"]
    assert len(script.connections) == 2


@pytest.mark.parametrize(
    "text",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Y: z\r\n" * 20_000 + b"\r\n",
        b"",
    ],
)
async def test_half_an_answer_and_what_is_none(script, outbound, text):
    answer = await outbound.fetch(Request(url=await script(text, ends=True)))
    assert isinstance(answer, NoAnswer) and not answer.is_forbidden and not answer.is_too_large


async def test_what_is_said_unasked_answers_no_later_request(script, outbound):
    url = await script(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", CHUNKED)
    assert (await outbound.fetch(Request(url=url))).body == b"ok"
    assert (await outbound.fetch(Request(url=url))).body == b"hello world"
    assert len(script.connections) == 2


@pytest.fixture(scope="module")
def certified(tmp_path_factory):
    """A folder with the certificate of hub.example.org and its authority."""
    folder = tmp_path_factory.mktemp("certified")
    issue(folder, "hub.example.org")
    return folder


class Secure:
    """A receiver that speaks TLS and says what it was sent; `asked` keeps the heads, `connections` counts those that were let in."""

    def __init__(self, folder):
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.load_cert_chain(folder / "server.crt", folder / "server.key")
        self.asked, self.connections, self.keeps = [], 0, True

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.talk, "127.0.0.1", 0, ssl=self.context)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()

    async def talk(self, reader, writer):
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.asked.append(head)
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
                body = await reader.readexactly(length)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length + (body if self.keeps else body[: length // 2]))
                if not self.keeps:
                    break
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        writer.close()


@pytest.fixture
async def secure(certified):
    async with Secure(certified) as made:
        yield made


async def to_this_machine(host, port):
    return ["127.0.0.1"]


@pytest.fixture
async def trusting(certified):
    made = Outbound("127.0.0.1/32", ca_file=str(certified / "ca.crt"), resolve=to_this_machine)
    yield made
    await made.close()


async def test_a_receiver_with_a_good_certificate_keeps_its_connection(secure, trusting):
    for size in (0, 5, 500_000):
        request = Request(url=f"https://hub.example.org:{secure.port}/x", method="POST", content=b"x" * size)
        assert await trusting.fetch(request) == Answer(200, {"content-length": str(size)}, b"x" * size)
    assert (secure.connections, len(secure.asked)) == (1, 3)
    secure.keeps = False
    cut = await trusting.fetch(Request(url=f"https://hub.example.org:{secure.port}/", method="POST", content=b"x" * 500_000))
    assert isinstance(cut, NoAnswer)


async def test_a_certificate_of_another_name_or_authority_gets_no_request(secure, trusting):
    wrong_name = await trusting.fetch(Request(url=f"https://other.example.org:{secure.port}/"))
    assert isinstance(wrong_name, NoAnswer) and "other.example.org" in wrong_name.why and not wrong_name.is_forbidden
    address = await trusting.fetch(Request(url=f"https://127.0.0.1:{secure.port}/"))
    assert isinstance(address, NoAnswer) and "127.0.0.1" in address.why
    stranger = Outbound("127.0.0.1/32", hosts=[("hub.example.org", secure.port)], resolve=to_this_machine)
    unknown = await stranger.fetch(Request(url=f"https://hub.example.org:{secure.port}/"))
    assert isinstance(unknown, NoAnswer) and "certificate verify failed" in unknown.why
    assert secure.asked == []
    await stranger.close()


async def test_who_speaks_no_tls_gets_no_request(peer, secure, trusting):
    assert isinstance(await trusting.fetch(Request(url=f"https://hub.example.org:{peer.port}/")), NoAnswer)
    assert isinstance(await trusting.fetch(Request(url=f"http://hub.example.org:{secure.port}/", timeout=5.0)), NoAnswer)
    assert peer.asked == [] and secure.asked == []


async def test_what_a_broken_peer_does_is_no_answer(peer, outbound):
    peer.answer = lambda asked: Reply(is_cut=True)
    assert isinstance(await outbound.fetch(Request(url=peer.url)), NoAnswer)
    peer.answer = lambda asked: Reply(body=b"x", length=10)
    assert isinstance(await outbound.fetch(Request(url=peer.url, timeout=0.5)), NoAnswer)
    bad = Request(url=peer.url, headers={"X": "a\r\nInjected: b"})
    assert isinstance(await outbound.fetch(bad), NoAnswer)
    peer.stop()
    assert isinstance(await outbound.fetch(Request(url=peer.url)), NoAnswer)


async def test_no_proxy_connects_for_us(peer, outbound, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    assert (await outbound.fetch(Request(url=peer.url))).status == 200


def test_settings_that_would_fail_at_night(tmp_path):
    with pytest.raises(BadSettings, match=r"10\.0\.0\.300"):
        Outbound("10.0.0.0/8, 10.0.0.300")
    (tmp_path / "empty.pem").write_text("nothing")
    for path in ("missing.pem", "empty.pem"):
        with pytest.raises(BadSettings, match="ca_file"):
            Outbound(ca_file=str(tmp_path / path))


async def test_a_look_up_that_fails_or_hangs_is_later(monkeypatch):  # fault F31
    monkeypatch.setattr("angelia.outbound.LOOK_UP_WITHIN", 0.05)

    async def fails(host, port):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    async def hangs(host, port):
        await asyncio.sleep(60)

    for resolve, why in ((fails, "name resolution"), (hangs, "was not found within 0.05 s")):
        outbound = Outbound(resolve=resolve)
        answer = await outbound.fetch(Request(url="http://hub.example.org/", timeout=50.0))
        assert isinstance(answer, NoAnswer) and why in answer.why and not answer.is_forbidden
        assert isinstance(outcome_of(answer), Later)
        await outbound.close()


async def test_a_connection_that_is_reset_is_later(outbound):  # fault F30
    async def reset(reader, writer):
        await reader.read(10)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    server = await asyncio.start_server(reset, "127.0.0.1", 0)
    async with server:
        answer = await outbound.fetch(Request(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", method="POST", content=b"x" * 100_000))
    assert isinstance(answer, NoAnswer) and isinstance(outcome_of(answer), Later)


async def test_a_packed_answer_is_not_unpacked(peer, outbound):  # fault F30
    bomb = gzip.compress(bytes(20_000_000))
    peer.answer = lambda asked: Reply(200, bomb, {"Content-Encoding": "gzip"})
    answer = await outbound.fetch(Request(url=peer.url, most=65_536))
    assert answer.body == bomb and isinstance(outcome_of(answer), Sent)
