"""The ntfy dialect over real sockets: publishing in all its forms, the four kinds of streams, since and filters, credentials and their end."""

import asyncio
import base64
import json
from datetime import UTC, datetime

import httpx2
import pytest
from python_ntfy import NtfyClient
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from angelia.agent import Surroundings
from angelia.agents.ntfy import NtfyAgent, NtfySettings
from angelia.dialects import ntfy
from angelia.dialects.ntfy_forms import WRITERS, document_of, since_of
from angelia.front import app_of
from angelia.model.delivery import Sent
from angelia.model.errors import InvalidInput
from angelia.outbound import Outbound
from angelia.web.shapes import item_out
from angelia.wire import callers
from angelia.wire.redaction import without_secrets
from angelia_testing.live import served
from angelia_testing.suites.agent import Bench as AgentBench
from angelia_testing.waiting import eventually


@pytest.fixture
async def port(house):
    async with served(app_of(house)) as port:
        yield port


@pytest.fixture
async def tokens(bench):
    made = {}
    for login, scopes in (("alice", ["read"]), ("bob", ["read", "post"])):
        await bench.person(login)
        made[login] = await bench.call("POST", f"/api/v1/people/{login}/tokens", {"title": "phone", "scopes": scopes}, 201)
    return {login: token["secret"] for login, token in made.items()} | {"id": (made["alice"]["id"])}


@pytest.fixture
async def api(port):
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}/ntfy") as client:
        yield client


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


async def polled(api, tokens, topic="alice", **query):
    answer = await api.get(f"/{topic}/json", params={"poll": "1"} | query, headers=bearer(tokens["alice"]))
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


class Following:
    """Lines of one stream as they come."""

    def __init__(self, answer):
        self.answer, self.lines = answer, answer.aiter_lines()

    async def next(self):
        async with asyncio.timeout(60):
            return await anext(self.lines)


async def test_what_is_published_comes_out_at_her_stream(bench, api, tokens):
    async with api.stream("GET", "/alice/json", headers=bearer(tokens["alice"])) as answer:
        assert answer.headers["content-type"].startswith("application/x-ndjson")
        stream = Following(answer)
        opened = json.loads(await stream.next())
        assert (opened["event"], opened["topic"]) == ("open", "alice")
        assert set(opened) == {"id", "time", "event", "topic"}
        headers = bearer(tokens["bob"]) | {
            "Title": "=?UTF-8?B?R3LDvMOfZQ==?=",
            "X-Priority": "max",
            "Tags": "warning, skull",
            "Click": "https://example.org/x",
        }
        told = (await api.post("/alice", content=b"The beam is *down*", headers=headers)).json()
        assert (told["event"], told["topic"], told["title"], told["priority"], told["click"]) == (
            "message",
            "alice",
            "Grüße",
            5,
            "https://example.org/x",
        )
        await bench.work(datetime.now(UTC))
        came = json.loads(await stream.next())
        assert came["id"].startswith("dlv_") and came["click"].endswith(f"/inbox/{came['id']}")
        assert (came["event"], came["title"], came["message"], came["priority"]) == ("message", "Grüße", "The beam is *down*", 5)
        assert came["tags"] == ["warning", "skull"]
        assert abs(came["time"] - datetime.now(UTC).timestamp()) < 60


async def test_a_message_comes_to_a_stream_once_whether_it_is_past_or_not(bench, api, tokens):
    async with api.stream("GET", "/me/json", headers=bearer(tokens["alice"])) as first:
        one = Following(first)
        await one.next()
        await bench.post(subject="one", to=["alice"])
        await bench.work(datetime.now(UTC))
        assert json.loads(await one.next())["message"] == "one"
        await bench.post(subject="two", to=["alice"])
        await bench.work(datetime.now(UTC))
        # The other one's past has both, also what the follower of the first has not seen yet.
        async with api.stream("GET", "/me/json", params={"since": "all"}, headers=bearer(tokens["alice"])) as second:
            two = Following(second)
            assert json.loads(await two.next())["event"] == "open"
            assert [json.loads(await two.next())["message"] for _ in range(2)] == ["one", "two"]
            assert json.loads(await one.next())["message"] == "two"
            await bench.post(subject="three", to=["alice"])
            await bench.work(datetime.now(UTC))
            assert [json.loads(await stream.next())["message"] for stream in (one, two)] == ["three", "three"]


async def test_since_and_filters(bench, api, tokens):
    for number, severity in ((1, "low"), (2, "normal"), (3, "urgent")):
        await bench.post(subject=f"number {number}", to=["alice"], severity=severity, tags=[["tag", f"t{number}"], ["tag", "all"]])
        await bench.work(datetime.now(UTC))
    found = await polled(api, tokens)
    assert [entry["message"] for entry in found] == ["number 1", "number 2", "number 3"]
    assert [entry.get("priority", 3) for entry in found] == [2, 3, 5]

    async def texts(**query):
        return [entry["message"][-1] for entry in await polled(api, tokens, **query)]

    assert await texts(since=found[1]["id"]) == ["3"]
    assert await texts(since="latest") == ["3"]
    assert await texts(since="none") == []
    assert await texts(since="10m") == await texts(since="1h30m") == await texts(since=str(found[0]["time"])) == ["1", "2", "3"]
    assert await texts(since=str(found[2]["time"] + 100)) == []
    assert await texts(priority="low,5") == ["1", "3"]
    assert await texts(tags="all,t2") == ["2"]
    assert await texts(message="number 3") == ["3"] == await texts(id=found[2]["id"])
    for bad in ({"since": "yesterday"}, {"since": "dlv"}, {"priority": "9"}):
        answer = await api.get("/alice/json", params={"poll": "1"} | bad, headers=bearer(tokens["alice"]))
        assert (answer.status_code, answer.json()["code"]) == (400, 40001), bad


async def test_events_and_raw_lines(bench, api, tokens):
    await bench.post(subject="a title", body="two\nlines", to=["alice"])
    await bench.work(datetime.now(UTC))
    raw = await api.get("/alice/raw", params={"poll": "1"}, headers=bearer(tokens["alice"]))
    assert raw.text == "two lines\n" and raw.headers["content-type"].startswith("text/plain")
    async with api.stream("GET", "/alice/sse", params={"since": "all"}, headers=bearer(tokens["alice"])) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        stream = Following(answer)
        assert await stream.next() == "event: open"
        assert json.loads((await stream.next()).removeprefix("data: "))["event"] == "open"
        assert await stream.next() == ""
        assert json.loads((await stream.next()).removeprefix("data: "))["title"] == "a title"


async def test_a_quiet_stream_is_kept_alive_in_each_form(api, tokens, monkeypatch):
    monkeypatch.setattr(ntfy, "KEEPALIVE", 0.05)
    async with api.stream("GET", "/alice/json", headers=bearer(tokens["alice"])) as answer:
        stream = Following(answer)
        assert [json.loads(await stream.next())["event"] for _ in range(3)] == ["open", "keepalive", "keepalive"]
    async with api.stream("GET", "/alice/raw", headers=bearer(tokens["alice"])) as answer:
        stream = Following(answer)
        assert [await stream.next() for _ in range(3)] == ["", "", ""]


async def test_a_socket(bench, port, tokens):
    auth = base64.urlsafe_b64encode(f"Bearer {tokens['alice']}".encode()).decode().rstrip("=")
    await bench.post(subject="before", to=["alice"])
    await bench.work(datetime.now(UTC))
    async with connect(f"ws://127.0.0.1:{port}/ntfy/alice/ws?since=all&auth={auth}") as socket, asyncio.timeout(60):
        assert json.loads(await socket.recv())["event"] == "open"
        assert json.loads(await socket.recv())["message"] == "before"
        await bench.post(subject="after", to=["alice"])
        await bench.work(datetime.now(UTC))
        assert json.loads(await socket.recv())["message"] == "after"
    for path in ("alice/ws", "alice/json", "bob/ws", "nobody/ws?since=x"):
        with pytest.raises(InvalidStatus):
            await connect(f"ws://127.0.0.1:{port}/ntfy/{path}", additional_headers=bearer(tokens["alice"]) if "alice" not in path else {})


async def test_a_token_that_is_revoked_ends_streams_and_sockets(bench, house, port, api, tokens, monkeypatch):
    monkeypatch.setattr(ntfy, "RECHECK", 0.05)
    monkeypatch.setattr(callers, "REMEMBERED", 0.1)
    async with (
        connect(f"ws://127.0.0.1:{port}/ntfy/me/ws", additional_headers=bearer(tokens["alice"])) as socket,
        api.stream("GET", "/alice/json", headers=bearer(tokens["alice"])) as answer,
    ):
        stream = Following(answer)
        await stream.next()
        await socket.recv()
        await bench.call("DELETE", f"/api/v1/people/alice/tokens/{tokens['id']}", status=204)
        async with asyncio.timeout(60):
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            with pytest.raises(StopAsyncIteration):
                await anext(stream.lines)
    assert socket.close_code == 4401
    await eventually(lambda: house.streams.listeners == 0)


async def test_whose_topic_it_is(api, tokens, bench):
    basic = {"Authorization": "Basic " + base64.b64encode(f"alice:{tokens['alice']}".encode()).decode()}
    empty = {"Authorization": "Basic " + base64.b64encode(f":{tokens['alice']}".encode()).decode()}
    for headers in (basic, empty, bearer(tokens["alice"])):
        assert (await api.get("/alice/auth", headers=headers)).json() == {"success": True}
        assert (await api.get("/me/auth", headers=headers)).status_code == 200
    answer = await api.get("/alice/auth")
    assert answer.status_code == 401 and answer.json()["http"] == 401 and "Basic" in answer.headers.get_list("www-authenticate")
    for topic, headers, status in (
        ("bob", bearer(tokens["alice"]), 404),
        ("alice,bob", bearer(tokens["alice"]), 404),
        ("nobody", bearer(tokens["alice"]), 404),
        ("alice", bearer("ang_wrong"), 401),
        ("alice", {"Authorization": "Basic !"}, 401),
        ("a b", bearer(tokens["alice"]), 400),
    ):
        for ending in ("json", "sse", "raw", "auth"):
            answer = await api.get(f"/{topic}/{ending}", params={"poll": "1"}, headers=headers)
            assert (answer.status_code, answer.json()["http"]) == (status, status), (topic, ending)
    assert (await api.get("/alice/nothing", headers=bearer(tokens["alice"]))).status_code == 404
    assert (await api.get("/v1/health")).json() == {"healthy": True}
    both = await api.get("/alice,me/json", params={"poll": "1"}, headers=bearer(tokens["alice"]))
    assert both.status_code == 200


async def test_publishing_in_all_forms(bench, api, tokens):
    headers = bearer(tokens["bob"])
    answers = [
        await api.put("/alice", content=b"by put", headers=headers),
        await api.post("/alice", params={"message": "by query", "title": "t", "priority": "2"}, headers=headers),
        await api.post("/", json={"topic": "alice", "message": "by JSON", "tags": ["x"], "priority": 4, "markdown": True}, headers=headers),
        await api.post("/alice", headers=headers),
        await api.post("/alice", content=b"not by a proxy's word", headers=headers | {"Priority": "u=1, i"}),
    ]
    assert [answer.status_code for answer in answers] == [200] * 5, [answer.text for answer in answers]
    await bench.work(datetime.now(UTC))
    came = await polled(api, tokens)
    assert [entry["message"] for entry in came] == ["by put", "by query", "by JSON", "triggered", "not by a proxy's word"]
    assert (came[1]["title"], came[1]["priority"], came[2]["tags"], came[2]["content_type"]) == ("t", 2, ["x"], "text/markdown")
    later = await api.post("/alice", content=b"later", headers=headers | {"Delay": "30m"})
    message = await bench.call("GET", f"/api/v1/messages/{later.json()['id']}")
    assert 1_700 < (datetime.fromisoformat(message["not_before"]) - datetime.now(UTC)).total_seconds() <= 1_800
    for wrong, status in (
        ({"headers": {"Priority": "9"}}, 400),
        ({"headers": {"Delay": "tomorrow, 10am"}}, 400),
        ({"headers": {"Attach": "https://example.org/x.jpg"}}, 422),
        ({"headers": {"Email": "bob@example.org"}}, 422),
        ({"content": b"\xff\xfe"}, 400),
        ({"headers": {"Click": "javascript:alert(1)"}}, 422),
    ):
        answer = await api.post("/alice", **wrong | {"headers": headers | wrong.get("headers", {})})
        assert answer.status_code == status, (wrong, answer.text)
    assert (await api.post("/nobody", content=b"x", headers=headers)).status_code == 404
    assert (await api.post("/alice", content=b"x", headers=bearer(tokens["alice"]))).status_code == 403
    assert (await api.post("/", content=b"[]", headers=headers)).status_code == 400
    for path in ("/alice/publish", "/alice/send", "/alice/trigger"):
        assert (await api.get(path, params={"message": "x"}, headers=headers)).status_code == 405
    assert (await api.delete("/alice", headers=headers)).status_code == 405


async def test_a_client_of_others_publishes_and_reads(bench, port, tokens, monkeypatch):
    for name in ("NTFY_SERVER", "NTFY_USER", "NTFY_PASSWORD", "NTFY_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    server = f"http://127.0.0.1:{port}/ntfy"
    bob, alice = NtfyClient("alice", server, tokens["bob"]), NtfyClient("me", server, ("alice", tokens["alice"]))
    options = {"title": "Strahl", "priority": NtfyClient.MessagePriority.HIGH, "tags": ["warning"], "format_as_markdown": True, "timeout_seconds": 60}
    told = await asyncio.to_thread(bob.send, "**The beam** is down", **options)
    assert (told["event"], told["topic"], told["message"]) == ("message", "alice", "**The beam** is down")
    await bench.work(datetime.now(UTC))
    (read,) = await asyncio.to_thread(alice.get_cached_messages, timeout_seconds=60)
    assert (read["title"], read["message"], read["tags"], read["content_type"]) == ("Strahl", "**The beam** is down", ["warning"], "text/markdown")
    assert read["priority"] == 4


async def test_our_own_agent_publishes_to_it(bench, port, api, tokens):
    outbound = Outbound("127.0.0.1/32")
    settings = NtfySettings(server=f"http://127.0.0.1:{port}/ntfy", token=tokens["bob"], allow_http=True)
    agent = NtfyAgent(settings, Surroundings(outbound=outbound))
    assert await agent.deliver(AgentBench(agent, "alice").letter(subject="from hub to hub")) == Sent("200")
    await bench.work(datetime.now(UTC))
    assert [entry["title"] for entry in await polled(api, tokens)] == ["from hub to hub"]
    await outbound.close()


async def test_what_is_written_is_one_line(bench, house):
    await bench.person("alice")
    await bench.post(subject="a\u2028b", body="<b>x</b>\r\nevent: forged\n\n", body_format="html", to=["alice"])
    await bench.work()
    query = ntfy.InboxQuery(limit=1)
    (item,) = await house.store.inbox((await house.store.person("alice")).person_id, query)
    document = document_of(item_out(item), "alice", "http://hub")
    assert "<b>" not in document["message"]
    assert WRITERS["json"][1](document).count(b"\n") == 1
    assert WRITERS["sse"][1](document).count(b"\n") == 2
    assert WRITERS["raw"][1](document).count(b"\n") == 1


@pytest.mark.parametrize("text", ["999999999d", "99999999999", "-5m", "1x", "٣m", ""])
def test_since_never_breaks(text):
    try:
        since_of({"since": text}, 10, datetime.now(UTC), is_poll=True)
    except InvalidInput:
        return
    assert text in ("", "99999999999")


def test_a_token_in_a_query_is_in_no_log():
    assert without_secrets("/ntfy/alice/ws?since=all&auth=QmVhcmVyIHg") == "/ntfy/alice/ws?since=all&auth=***"
