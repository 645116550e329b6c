"""Requests that the hub makes: never to where it must not go, bounded in time and size."""

import asyncio
import time

import pytest

from angelia.model.errors import BadSettings
from angelia.outbound import Answer, NoAnswer, Outbound, Request
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
