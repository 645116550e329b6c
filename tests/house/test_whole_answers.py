"""Answers that go out in one piece: the same bytes as event by event, in the order of the requests, and not where that can't be."""

import asyncio

import pytest

from angelia.wire.asgi import WHOLE, respond
from angelia.wire.connection import Limits
from angelia_testing.live import served

JSON = (b"content-type", b"application/json")


def request(path="/", method="GET", version="1.1", *headers, body=b""):
    lines = [f"{method} {path} HTTP/{version}", "Host: here", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


async def exchanged(port, *requests, until_closed=False):
    """All that comes back for what is sent in one write; without `until_closed` as much as the lengths say."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"".join(requests))
    answers = []
    async with asyncio.timeout(20):
        for _ in requests:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            answers.append(head + (await reader.readexactly(length) if not requests[0].startswith(b"HEAD") else b""))
        if until_closed:
            assert await reader.read() == b""
    writer.close()
    return answers


class App:
    """Answers by path: `/whole` with the scope, `/parts` without, `/copied` with one that is not the connection's."""

    def __init__(self):
        self.events = 0

    async def __call__(self, scope, receive, send):
        async def counted(event):
            self.events += 1
            await send(event)

        path = scope["path"]
        body = b'{"path":"%s"}' % path.encode()
        if path == "/slow":
            await asyncio.sleep(0.05)
        if path == "/begun":
            await counted({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
            assert not scope["extensions"][WHOLE](scope, 200, body, [])
            await counted({"type": "http.response.body", "body": body})
            return
        if path == "/foreign":
            await respond(counted, 200, body, [JSON, (b"x-n", b"1\r\nx-more: 2")], scope)
            return
        given = None if path == "/parts" else dict(scope) if path == "/copied" else scope
        await respond(counted, 201 if scope["method"] == "POST" else 200, body, [JSON, (b"x-n", b"1")], given)


@pytest.fixture
def app():
    return App()


@pytest.fixture
async def port(app):
    async with served(app, limits=Limits(answer=5)) as port:
        yield port


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_the_bytes_are_those_of_the_usual_way(app, port, method, version):
    sent = [request(path, method, version, body=b"x" if method == "POST" else b"") for path in ("/whole", "/parts")]
    is_over = version == "1.0"
    [whole] = await exchanged(port, sent[0], until_closed=is_over)
    assert app.events == 0
    [parts] = await exchanged(port, sent[1], until_closed=is_over)
    assert app.events == 2
    assert whole == parts.replace(b"/parts", b"/whole")
    assert (b"connection: close" in whole) == is_over


async def test_a_client_that_wants_to_end_is_let_go(port):
    [answer] = await exchanged(port, request("/whole", "GET", "1.1", "Connection: close"), until_closed=True)
    assert b"connection: close" in answer


async def test_what_is_sent_ahead_is_answered_in_order(app, port):
    paths = ["/slow", "/whole", "/parts", "/whole", "/slow", "/whole"]
    answers = await exchanged(port, *map(request, paths))
    assert [answer.rpartition(b"\r\n\r\n")[2] for answer in answers] == [b'{"path":"%s"}' % path.encode() for path in paths]


@pytest.mark.parametrize(("path", "method"), [("/copied", "GET"), ("/begun", "GET"), ("/whole", "HEAD")])
async def test_where_it_can_not_be_the_usual_way_is_taken(app, port, path, method):
    for _ in range(2):
        [answer] = await exchanged(port, request(path, method))
        assert answer.startswith(b"HTTP/1.1 200")
    assert app.events == 4
    assert answer.endswith(b"\r\n\r\n") == (method == "HEAD")


async def test_a_client_that_is_gone_is_no_fault(app, port, caplog):
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request("/slow"))
    await writer.drain()
    writer.transport.abort()
    await asyncio.sleep(0.2)
    assert not caplog.records
    assert await exchanged(port, request("/whole"))


async def test_a_body_that_nobody_read_does_not_stand_in_the_way(port):
    """Reading stopped where much of it waited; it goes on with the answer."""
    answers = await exchanged(port, request("/whole", "POST", body=b"x" * 1_000_000), request("/whole"))
    assert [answer[:12] for answer in answers] == [b"HTTP/1.1 201", b"HTTP/1.1 200"]


async def test_what_others_wrote_becomes_no_header(app, port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request("/foreign"))
    answer = await reader.read()
    writer.close()
    assert b"x-more" not in answer and not answer.startswith(b"HTTP/1.1 200")
    assert app.events >= 1


async def test_who_says_nothing_after_an_answer_is_let_go_and_who_asks_again_is_not(app):
    async with served(app, idle=2) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        loop = asyncio.get_running_loop()
        for pause in (0.0, 1.2, 1.2, 1.2):  # longer in all than anybody may be idle
            await asyncio.sleep(pause)
            writer.write(request("/whole"))
            asked_at = loop.time()
            assert (await reader.readuntil(b'"/whole"}')).startswith(b"HTTP/1.1 200")
        async with asyncio.timeout(20):
            assert await reader.read() == b""
        assert loop.time() - asked_at > 1.5
        writer.close()
