"""Live streams over real sockets: bind, resume, gaps, three ways with one cursor, credentials and their end."""

import asyncio
import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import httpx2
import jsonschema_rs
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from angelia.broker import ExchangeSettings
from angelia.brokers.embedded import EmbeddedBroker
from angelia.flow import inbox_feed
from angelia.flow import streams as streams_room
from angelia.front import app_of
from angelia.model.event import Event
from angelia.web.stream import forms, native, sse
from angelia_testing.hub import crowd
from angelia_testing.live import following, served
from angelia_testing.waiting import eventually

OPEN = ExchangeSettings(access="public")
EXCHANGES = {
    "open": OPEN,
    "other": OPEN,
    "inner": ExchangeSettings(access="signed-in"),
    "staff": ExchangeSettings(access="admin"),
    "words": ExchangeSettings(access="claim", claim="groups", open_words="news"),
}


@pytest.fixture
def settings(settings):
    return replace(settings, exchanges=EXCHANGES)


@pytest.fixture
async def port(house):
    async with served(app_of(house)) as port:
        yield port


@pytest.fixture
def publish(house):
    async def publish(*numbers, exchange="open", key="a.b"):
        await house.broker.publish([Event(exchange, key, json.dumps(number).encode(), "application/json") for number in numbers])

    return publish


@pytest.fixture
async def token(bench):
    await bench.person("alice")
    return await bench.call("POST", "/api/v1/people/alice/tokens", {"title": "t", "scopes": ["read"]}, 201)


@cache
def asyncapi():
    return json.loads((Path(__file__).parents[2] / "docs/reference/asyncapi.json").read_text())


def schemas():
    return asyncapi()["components"]["schemas"]


async def bound(client, exchange="open", key="#", **more):
    answer = await client.ask({"id": 1, "bind": {"exchange": exchange, "key": key}} | more)
    assert answer["bound"] == [{"exchange": exchange, "key": key}], answer
    return answer["cursor"]


async def test_what_matches_comes_in_order_and_nothing_else(port, publish):
    async with following(port) as client, following(port) as other:
        await bound(client, key="a.*")
        await bound(other, key="z.#")
        await publish(1, 2, 3)
        await publish(9, key="a.b.c")
        await publish(4, key="a.c")
        assert await client.bodies(4) == [1, 2, 3, 4]
        assert await client.nothing() and await other.nothing()


async def test_an_event_that_matches_twice_comes_once(port, publish):
    async with following(port) as client:
        await bound(client, key="a.*")
        await bound(client, key="#")
        await bound(client, key="#")
        await publish(1, 2)
        assert await client.bodies(2) == [1, 2] and await client.nothing()


async def test_an_event_looks_as_documented(port, house):
    async with following(port) as client:
        await bound(client)
        await house.broker.publish([
            Event("open", "k", b"\xff\x00", "application/octet-stream", {"h": 1}, {"message_id": "m"}),
            Event("open", "k", "tänk\n".encode(), "text/plain"),
            Event("open", "k", b"{broken", "application/json"),
        ])  # fmt: skip
        first, second, third = [(await client.next())["event"] for _ in range(3)]
        assert first == {
            "exchange": "open", "key": "k", "content_type": "application/octet-stream", "headers": {"h": 1}, "properties": {"message_id": "m"},
            "base64": "/wA=",
        }  # fmt: skip
        assert second["text"] == "tänk\n" and third["text"] == "{broken"


@pytest.mark.parametrize(
    "body, shown",
    [
        (b'{ "a" : [1.50, "\\u00e4"],\r\n\t"b": null }\n', b'"body":{ "a" : [1.50, "\\u00e4"], "b": null } }'),
        (b"[1e999, -1e999]", b'"body":[1e999, -1e999]}'),
        (b"123456789012345678901234567890", b'"body":123456789012345678901234567890}'),
        ('"ä"'.encode("utf-16"), b'"body":"\xc3\xa4"}'),
        (b'{"a": NaN}', b'"text":"{\\"a\\": NaN}"}'),
        (b'"\xff"', b'"base64":"Iv8i"}'),
        (b'{"a": "x\ny"}', b'"text":"{\\"a\\": \\"x\\ny\\"}"}'),
        (b"", b'"text":""}'),
    ],
)
def test_json_goes_through_as_it_stands_on_one_line(body, shown):
    document = forms.event_document(Event("e", "k", body, "application/json"))
    assert document == b'{"exchange":"e","key":"k","content_type":"application/json","headers":{},"properties":{},' + shown
    json.loads(document)


@pytest.mark.parametrize("body", [b"1e999", b"[" * 100_000, b'"\\ud800"'])
async def test_no_body_silences_an_exchange(port, house, publish, body):
    async with following(port) as client:
        await bound(client)
        await house.broker.publish([Event("open", "k", body, "application/json")])
        await publish(1)
        await client.next()
        assert await client.bodies(1) == [1]


async def test_an_event_that_a_form_has_no_words_for_is_told_as_a_gap(port, publish, monkeypatch):
    tell = native.FORM.event

    def event(self, event, cursor):
        if event.body == b"13":
            raise ValueError("no words")
        return tell(event, cursor)

    async with following(port) as client:
        await bound(client)
        monkeypatch.setattr(type(native.FORM), "event", event)
        await publish(13)
        assert (await client.next())["gap"] == {"exchange": "open"}
        await publish(1)
        assert await client.bodies(1) == [1]


@pytest.mark.parametrize("is_in_memory", [True, False])
async def test_one_that_a_form_has_no_words_for_holds_up_nobody_who_is_behind(port, house, publish, monkeypatch, is_in_memory):
    tell = native.FORM.event

    def event(self, event, cursor):
        if event.body == b"13":
            raise ValueError("no words")
        return tell(event, cursor)

    async with following(port) as client, following(port) as other:
        cursor = await bound(client)
        await bound(other)
        await publish(1, 13, 2)
        assert await other.bodies(3) == [1, 13, 2]
    if not is_in_memory:
        await house.streams.close()
    monkeypatch.setattr(type(native.FORM), "event", event)
    async with following(port) as client:
        await bound(client, since=cursor)
        assert await client.bodies(1) == [1]
        told = await client.next()
        assert told["gap"] == {"exchange": "open"}
        assert await client.bodies(1) == [2]
        await publish(3)
        assert await client.bodies(1) == [3]
    async with following(port) as client:
        await bound(client, since=told["cursor"])
        assert await client.bodies(2) == [2, 3]


async def test_who_can_not_be_caught_up_is_sent_away(port, house, publish, monkeypatch):
    async def replay(*_):
        raise ValueError("a bug")

    async with following(port) as client:
        cursor = await bound(client)
    await publish(1)
    await house.streams.close()
    monkeypatch.setattr(house.sources, "replay", replay)
    async with following(port) as client:
        await bound(client, since=cursor)
        with pytest.raises(ConnectionClosed):
            await client.next()
    assert house.streams.listeners == 0


async def test_after_an_unbind_nothing_comes(port, publish):
    async with following(port) as client:
        await bound(client)
        answer = await client.ask({"unbind": {"exchange": "open", "key": "#"}})
        assert answer == {"unbound": [{"exchange": "open", "key": "#"}], "cursor": ""}
        await publish(1)
        assert await client.nothing()


async def test_a_client_goes_on_from_its_cursor_on_all_three_ways(port, publish):
    async with following(port) as client:
        await bound(client)
        await bound(client, "other")
        await publish(1)
        await publish(2, exchange="other")
        await client.bodies(1)
        cursor = (await client.next())["cursor"]
    await publish(3, 4)
    await publish(5, exchange="other")
    async with following(port) as client:
        both = [{"exchange": "open", "key": "#"}, {"exchange": "other", "key": "#"}]
        await client.ask({"bind": both, "since": cursor})
        assert sorted(await client.bodies(3)) == [3, 4, 5] and await client.nothing()
    query = f"exchange=open&exchange=other&since={cursor}"
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as api:
        page = (await api.get(f"/api/v1/events?{query}")).json()
        assert sorted(item["body"] for item in page["items"]) == [3, 4, 5] and page["gaps"] == [] and not page["has_more"]
        assert (await api.get(f"/api/v1/events?exchange=open&exchange=other&since={page['cursor']}")).json()["items"] == []
        page = (await api.get(f"/api/v1/events?{query}&limit=2")).json()
        assert len(page["items"]) == 2 and page["has_more"]
        page = (await api.get(f"/api/v1/events?exchange=open&exchange=other&since={page['cursor']}")).json()
        assert len(page["items"]) == 1
        seen, last = await read_sse(api, query, {}, 3)
        assert sorted(seen) == [3, 4, 5]
        await publish(6)
        assert (await read_sse(api, "exchange=open&exchange=other", {"Last-Event-ID": last}, 1))[0] == [6]


async def read_sse(api, query, headers, count):
    """Bodies of events, and the last id."""
    seen, last = [], ""
    async with api.stream("GET", f"/api/v1/stream?{query}", headers=headers) as answer, asyncio.timeout(60):
        assert answer.headers["content-type"] == "text/event-stream"
        async for line in answer.aiter_lines():
            if line.startswith("id: "):
                last = line[4:]
            if line.startswith("data: ") and "event" in (data := json.loads(line[6:])):
                seen.append(data["event"]["body"])
                if len(seen) == count:
                    return seen, last
    raise AssertionError(seen)


async def test_what_memory_lacks_is_read_from_the_broker(port, house, publish, monkeypatch):
    async with following(port) as client:
        cursor = await bound(client)
    await publish(*range(50))
    house.streams._most_events = 20
    await house.streams.close()
    async with following(port) as client, following(port) as other:
        await bound(client, since=cursor)
        assert await client.bodies(50) == list(range(50))
        await publish(50)
        await bound(other, since=cursor)
        assert await other.bodies(51) == list(range(51))
        assert await client.bodies(1) == [50]


@pytest.mark.parametrize("since", ["other-epoch", "future", "-1", "text", "'; drop", "open@"])
async def test_a_cursor_that_means_nothing_is_told_as_a_gap(port, publish, since):
    async with following(port) as client:
        cursor = await bound(client)
        position = cursor.partition("@")[2]
        epoch, _, sequence = position.rpartition("-")
        since = {"other-epoch": f"open@xxx-{sequence}", "future": f"open@{epoch}-{int(sequence) + 1000}"}.get(since, since)
        await publish(1)
    async with following(port) as client:
        answer = await client.ask({"bind": {"exchange": "open", "key": "#"}, "since": since})
        assert "bound" in answer
        gap = await client.next()
        assert gap["gap"] == {"exchange": "open"} and gap["cursor"].startswith("open@")
        await publish(2)
        frames = [await client.next()]
        while frames[-1]["event"]["body"] != 2:
            frames.append(await client.next())


async def test_pruned_events_are_told_as_a_gap_and_the_rest_comes(port, house, publish):
    async with following(port) as client:
        cursor = await bound(client)
    await publish(*range(10))
    await house.streams.close()
    await house.store.engine.write(lambda connection: connection.exec_driver_sql("DELETE FROM events WHERE sequence <= 4"))
    await house.store.engine.write(lambda connection: connection.exec_driver_sql("UPDATE exchanges SET pruned = 4"))
    for _ in range(2):  # the second one is told from memory
        async with following(port) as client:
            await bound(client, since=cursor)
            assert (await client.next())["gap"] == {"exchange": "open"}
            assert await client.bodies(6) == [4, 5, 6, 7, 8, 9]


async def test_credentials_by_header_subprotocol_and_frame(port, token, publish):
    secret = token["secret"]
    async with (
        following(port, token=secret) as by_header,
        following(port, subprotocols=["angelia.v1", f"angelia.token.{secret}"]) as by_protocol,
        following(port) as by_frame,
    ):
        assert by_protocol.socket.subprotocol == "angelia.v1"
        refused = await by_frame.ask({"id": 7, "bind": {"exchange": "inner", "key": "#"}})
        assert refused["id"] == 7 and refused["error"]["code"] == "not-authenticated"
        assert (await by_frame.ask({"token": secret}))["renewed"]["name"] == "person:alice"
        for client in (by_header, by_protocol, by_frame):
            await bound(client, "inner")
        await publish(1, exchange="inner")
        for client in (by_header, by_protocol, by_frame):
            assert await client.bodies(1) == [1]
            assert (await client.ask({"bind": {"exchange": "staff"}}))["error"]["code"] == "forbidden"
            assert (await client.ask({"bind": {"exchange": "nowhere"}}))["error"]["code"] == "not-found"


async def test_a_token_without_the_scope_to_read_shows_what_is_public_alone(port, bench, token, publish):
    made = await bench.call("POST", "/api/v1/people/alice/tokens", {"title": "cron", "scopes": ["post"]}, 201)
    await bench.call("PUT", "/api/v1/sources/ci", {}, 200)
    source = await bench.call("POST", "/api/v1/sources/ci/tokens", {"scopes": ["post"]}, 201)
    for secret in (made["secret"], source["secret"]):
        async with following(port, token=secret) as client:
            for exchange, key in (("inner", "#"), ("words", "news.#"), ("me", "#")):
                assert (await client.ask({"bind": {"exchange": exchange, "key": key}}))["error"]["code"] == "forbidden", exchange
            await bound(client)
            await publish(1)
            assert await client.bodies(1) == [1]
    async with following(port, token=token["secret"]) as reader:
        await bound(reader, "inner")
        await bound(reader, "words", "news.#")


@pytest.mark.parametrize(
    "headers, query, status",
    [
        ({"Origin": "https://evil.example"}, "", 403),
        ({"Origin": "null"}, "", 403),
        ({"Origin": "http://127.0.0.1:8080.evil.example"}, "", 403),
        ({"Origin": "https://127.0.0.1:8080"}, "", 403),
        ({"Authorization": "Bearer ang_wrong"}, "", 401),
        ({"Authorization": "Basic YTpi"}, "", 401),
        ({}, "?token=ang_x", 401),
        ({}, "?jwt=x", 401),
    ],
)
async def test_a_handshake_is_refused_before_the_upgrade(port, headers, query, status):  # E113, E114, checklist S10
    with pytest.raises(InvalidStatus) as caught:
        async with following(port, f"/api/v1/stream{query}", headers=headers):
            pass
    assert caught.value.response.status_code == status and json.loads(caught.value.response.body)["status"] == status


async def test_there_is_no_other_socket(port):
    for path in ("/", "/api/v1/messages", "/nowhere"):
        with pytest.raises(InvalidStatus) as caught:
            async with following(port, path):
                pass
        assert caught.value.response.status_code == 404


async def test_a_revoked_token_ends_its_stream_within_5_s(port, bench, token):  # checklist S3, S11, promises P14 and P19
    """Whoever revokes it: the bench has an app of its own, as another process has, and tells the one that serves nothing."""
    async with following(port, token=token["secret"]) as client:
        await bound(client, "inner")
        await bench.call("DELETE", f"/api/v1/people/alice/tokens/{token['id']}", status=204)
        code, reason = await client.closed(within=5 * crowd())
        assert code == native.NO_CREDENTIALS and "token" in reason


async def test_rights_are_looked_at_as_soon_as_they_change(port, house, bench, token, monkeypatch):
    """A person who is switched off by the app that serves her stream: nobody waits for the next look."""
    monkeypatch.setattr(native, "RECHECK", 600.0)
    monkeypatch.setattr(sse, "RECHECK", 600.0)
    monkeypatch.setattr("angelia.wire.callers.REMEMBERED", 600.0)
    await bench.person("root", is_admin=True)
    admin = (await bench.call("POST", "/api/v1/people/root/tokens", {"title": "t", "scopes": ["admin"]}, 201))["secret"]
    async with (
        following(port, token=token["secret"]) as client,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {token['secret']}"}) as api,
        api.stream("GET", "/api/v1/stream?exchange=inner") as answer,
    ):
        await bound(client, "inner")
        lines = answer.aiter_lines()
        while not (await anext(lines)).startswith("event: bound"):
            pass
        switched = await api.patch("/api/v1/people/alice", json={"is_active": False}, headers={"Authorization": f"Bearer {admin}"})
        assert switched.status_code == 200, switched.text
        assert (await client.closed(30))[0] == native.NO_CREDENTIALS
        async with asyncio.timeout(30):
            assert "event: closed" in [line async for line in lines]


async def test_the_token_of_another_does_not_go_on_with_ones_own_deliveries(port, bench, token):
    await bench.person("bob")
    his = await bench.call("POST", "/api/v1/people/bob/tokens", {"title": "t", "scopes": ["read"]}, 201)
    hers = await bench.call("POST", "/api/v1/people/alice/tokens", {"title": "t", "scopes": ["read"]}, 201)
    async with following(port, token=token["secret"]) as client:
        await bound(client, "me")
        assert (await client.ask({"token": his["secret"]}))["error"]["code"] == "forbidden"
        assert (await client.ask({"token": hers["secret"]}))["renewed"]["name"] == "person:alice"
        await client.ask({"unbind": {"exchange": "me", "key": "#"}})
        assert (await client.ask({"token": his["secret"]}))["renewed"]["name"] == "person:bob"


async def test_rights_to_an_exchange_with_a_long_name_can_end_too(port, house, token):
    """What a close frame can say is shorter than such a name."""
    name = "ж" * 60
    house.broker.exchanges[name] = ExchangeSettings(access="signed-in")
    try:
        async with following(port, token=token["secret"]) as client:
            await bound(client, name)
            house.broker.exchanges[name] = ExchangeSettings(access="admin")
            code, reason = await client.closed(30)
            assert code == native.NO_RIGHTS and reason.startswith("you may not follow 'жж")
    finally:
        del house.broker.exchanges[name]


async def test_who_shows_and_binds_nothing_is_closed(port, monkeypatch):
    monkeypatch.setattr(native, "GREETING", 0.2)
    async with following(port) as client:
        assert (await client.closed())[0] == native.NO_CREDENTIALS


async def test_her_own_deliveries_are_a_stream(port, bench, token):
    async with following(port, token=token["secret"]) as client, following(port) as stranger:
        assert (await stranger.ask({"bind": {"exchange": "me"}}))["error"]["code"] == "not-authenticated"
        answer = await client.ask({"bind": {"exchange": "me/1", "key": "#"}})
        assert answer["error"]["code"] == "not-found"
        cursor = await bound(client, "me")
        await bench.post(subject="first", to=["alice"])
        await bench.work()
        event = (await client.next())["event"]
        assert event["exchange"] == "me" and event["body"]["message"]["subject"] == "first"
    await bench.post(subject="second", to=["alice"])
    await bench.work()
    async with following(port, token=token["secret"]) as client:
        await bound(client, "me", since=cursor)
        assert [(await client.next())["event"]["body"]["message"]["subject"] for _ in range(2)] == ["first", "second"]
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {token['secret']}"}) as api:
        page = (await api.get(f"/api/v1/events?exchange=me&since={cursor}")).json()
        assert [item["body"]["message"]["subject"] for item in page["items"]] == ["first", "second"] and page["gaps"] == []
        # A place that was never reached, as after a backup was put back: who waited there would wait for ever.
        name, _, _ = cursor.partition("@")
        ahead = (await api.get(f"/api/v1/events?exchange=me&since={name}@inbox-9223372036854775807")).json()
        assert (ahead["items"], ahead["gaps"], ahead["cursor"]) == ([], ["me"], page["cursor"])


async def test_one_look_says_whether_there_is_more_of_ones_own(port, bench, token, monkeypatch):
    """An inbox is read in parts: the end of one is not the end."""
    monkeypatch.setattr(inbox_feed, "PAGE", 2)
    headers = {"Authorization": f"Bearer {token['secret']}"}
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers) as api:
        cursor = (await api.get("/api/v1/events?exchange=me")).json()["cursor"]
        for number in range(5):
            await bench.post(subject=str(number), to=["alice"])
        await bench.work()
        for limit, parts in ((100, [5]), (3, [3, 2]), (5, [5]), (1, [1] * 5)):
            seen, at, subjects = [], cursor, []
            has_more = True
            while has_more:
                page = (await api.get(f"/api/v1/events?exchange=me&since={at}&limit={limit}")).json()
                subjects += [item["body"]["message"]["subject"] for item in page["items"]]
                seen, at, has_more = [*seen, len(page["items"])], page["cursor"], page["has_more"]
            assert (subjects, [count for count in seen if count]) == (["0", "1", "2", "3", "4"], parts)


async def test_a_slow_reader_is_cut_and_others_notice_nothing(port, house, publish, monkeypatch):
    monkeypatch.setattr(streams_room, "SLOW", 1.0)
    async with following(port) as healthy, following(port, max_queue=1) as slow:
        await bound(healthy)
        await bound(slow)
        slow.socket.transport.pause_reading()
        big = "x" * 60_000
        for number in range(200):
            await publish([number, big])
            assert (await healthy.bodies(1))[0][0] == number
        assert house.streams._paused or house.streams.listeners == 1, "a client that reads nothing is paused, and after a second cut"
        await eventually(lambda: house.streams.listeners == 1)
        await publish(1)
        assert await healthy.bodies(1) == [1]


async def test_who_was_slow_for_a_moment_misses_nothing(port, house, publish):
    async with following(port, max_queue=1) as client:
        await bound(client)
        client.socket.transport.pause_reading()
        big = "x" * 60_000
        for number in range(200):
            await publish([number, big])
        await eventually(lambda: house.streams._paused)
        client.socket.transport.resume_reading()
        assert [body[0] for body in await client.bodies(200)] == list(range(200))
        await eventually(lambda: not house.streams._paused)
        await publish(1)
        assert await client.bodies(1) == [1]


@pytest.mark.parametrize("command", ["ping", "[]", "5", "null", '"x"', "", '{"id":true,"ping":1}', "\ud7ff{"])
async def test_a_frame_that_is_no_command_closes_with_4400(port, command):
    async with following(port) as client:
        await client.say(command)
        assert (await client.closed())[0] == native.BAD_FRAME


@pytest.mark.parametrize(
    "command",
    [
        {}, {"bind": []}, {"bind": 0}, {"bind": {"exchange": 5}}, {"bind": {"exchange": "open", "key": 5}}, {"bind": {"exchange": "open", "key": None}},
        {"bind": {"exchange": "open", "key": "x" * 256}}, {"bind": {"exchange": "open"}, "since": 5}, {"bind": {"exchange": "open"}, "unbind": {}},
        {"token": 5}, {"token": ""}, {"bind": {"exchange": "open"}, "more": 1}, {"bind": [{"exchange": "open"}] * 65},
        {"bind": {"exchange": "open", "key": "\udcff"}},
    ],
)  # fmt: skip
async def test_a_command_that_is_wrong_is_answered_and_harms_nobody(port, publish, command):
    async with following(port) as client, following(port) as other:
        await bound(other)
        assert (await client.ask({"id": 1} | command))["error"]["code"] == "invalid"
        assert await client.ask({"ping": 1}) == {"pong": True}
        await publish(1)
        assert await other.bodies(1) == [1]


async def test_a_client_has_at_most_64_bindings(port):
    async with following(port) as client:
        await client.ask({"bind": [{"exchange": "open", "key": f"k{number}"} for number in range(64)]})
        assert (await client.ask({"bind": {"exchange": "open"}}))["error"]["code"] == "invalid"


async def test_gone_clients_leave_nothing(port, house, publish):
    for _ in range(5):
        async with following(port) as client:
            await bound(client)
    await eventually(lambda: house.streams.listeners == 0)
    assert len(house.streams._trunks["open"].index) == 0
    house.streams._clock = lambda: 1e9
    house.streams.look()
    assert not house.streams._trunks and not house.streams._followers and not house.streams._locks


async def test_a_stop_is_told_with_a_hint_when_to_come_back(house):
    async with served(app_of(house)) as port:
        client = following(port)
        live = await client.__aenter__()
        await bound(live)
    said = json.loads(await live.socket.recv())
    assert 0 <= said["closing"]["retry_in_ms"] < 10_000
    assert [name for name, schema in schemas().items() if jsonschema_rs.is_valid(schema, said)] == ["closing"]
    assert (await live.closed())[0] == 1012
    await client.__aexit__(None, None, None)


async def test_a_stop_ends_an_event_stream_with_its_reason(house):
    async with httpx2.AsyncClient() as api:
        async with served(app_of(house)) as port:
            answer = await api.send(api.build_request("GET", f"http://127.0.0.1:{port}/api/v1/stream?exchange=open"), stream=True)
            lines = answer.aiter_lines()
            while await anext(lines) != "event: bound":
                pass
        rest = [line async for line in lines]
    said = rest[rest.index("event: closed") + 1].removeprefix("data: ")
    assert json.loads(said) == {"code": 1012, "detail": "the hub restarts; come back in a few seconds"}


@pytest.mark.parametrize(
    "query, status",
    [("", 422), ("?key=a", 422), ("?exchange=open&key=a&key=b", 422), ("?exchange=nowhere", 404), ("?exchange=inner", 401), ("?exchange=open&since=1&since=2", 422),
     ("?exchange=me", 401), ("?exchange=open&limit=0", 422), ("?exchange=open&limit=" + "9" * 5_000, 422), ("?exchange=open&x=1", 422), ("?exchange=open&token=x", 401), ("?exchange=%ff", 400)],
)  # fmt: skip
async def test_queries_that_are_wrong_are_told(port, query, status):
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as api:
        answer = await api.get(f"/api/v1/events{query}")
        assert answer.status_code == status and answer.json()["status"] == status


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT", "HEAD"])
async def test_other_methods_are_told_what_there_is(port, method):
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as api:
        for path in ("/api/v1/stream", "/api/v1/events"):
            answer = await api.request(method, f"{path}?exchange=open")
            assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
            assert method == "HEAD" or answer.json()["status"] == 405


async def test_an_event_stream_ends_with_its_rights(port, bench, token, monkeypatch):
    monkeypatch.setattr(sse, "RECHECK", 0.3)
    headers = {"Authorization": f"Bearer {token['secret']}"}
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers) as api:
        async with api.stream("GET", "/api/v1/stream?exchange=inner") as answer, asyncio.timeout(60):
            lines = answer.aiter_lines()
            while not (await anext(lines)).startswith("event: bound"):
                pass
            await bench.call("DELETE", f"/api/v1/people/alice/tokens/{token['id']}", status=204)
            rest = [line async for line in lines]
    assert "event: closed" in rest and any('"code":4401' in line for line in rest)


async def test_text_of_an_enemy_stays_in_its_data_line(port, house):
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as api:
        async with api.stream("GET", "/api/v1/stream?exchange=open") as answer, asyncio.timeout(60):
            lines = answer.aiter_lines()
            while not (await anext(lines)).startswith("data: "):
                pass
            await house.broker.publish([Event("open", "k", b"x\n\nevent: admin\ndata: y\r\rid: 9", "text/plain")])
            found = [await anext(lines) for _ in range(3)]
    assert found[0] == "" and found[1].startswith("id: open@") and json.loads(found[2][6:])["event"]["text"].startswith("x\n\nevent: admin")


def test_the_broker_under_test_is_the_embedded_one(house):
    assert isinstance(house.broker, EmbeddedBroker)


async def test_frames_are_as_the_asyncapi_document_says(port, publish, token):
    document = asyncapi()
    seen = set()

    def check(frame, names):
        fitting = [name for name in names if jsonschema_rs.is_valid(schemas()[name], frame)]
        assert len(fitting) == 1, (frame, fitting)
        seen.add(fitting[0])

    def of(operation):
        return [message["$ref"].rpartition("/")[2] for message in document["operations"][operation]["messages"]]

    commands = [
        {"id": 1, "bind": {"exchange": "open", "key": "#"}}, {"id": "x", "bind": [{"exchange": "other"}], "since": "other@x-1"}, {"token": token["secret"]},
        {"ping": 1}, {"id": 3, "bind": {"exchange": "nowhere"}}, {"unbind": {"exchange": "other", "key": "#"}},
    ]  # fmt: skip
    async with following(port) as client:
        for command in commands:
            check(command, of("command"))
            await client.say(command)
        await publish(1)
        frames = [await client.next() for _ in range(len(commands) + 2)]
        for frame in frames:
            check(frame, of("tell"))
    # The last one comes when the hub stops: that is the test of a stop.
    assert seen == set(schemas()) - {"closing"}
