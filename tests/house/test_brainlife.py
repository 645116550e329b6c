"""The brainlife dialect over real sockets, against what clients of brainlife/event rely on; and none of its faults."""

import ast
import asyncio
import base64
import contextlib
import hmac
import json
import re
import socket
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from joserfc import jws
from joserfc.jwk import RSAKey
from structlog.testing import CapturingLogger
from websockets.exceptions import ConnectionClosed

from angelia import telemetry
from angelia.broker import ExchangeSettings
from angelia.dialects import brainlife, brainlife_requests
from angelia.dialects.brainlife_settings import BrainlifeSettings
from angelia.flow import streams as streams_room
from angelia.front import app_of
from angelia.model.errors import BrokerUnavailable
from angelia.model.event import Event
from angelia.planning.topic import matches
from angelia.settings import OutboundSettings, StreamSettings
from angelia.wire import admission
from angelia_testing.live import following, served
from angelia_testing.peers.http import Reply, ScriptedHttp
from angelia_testing.waiting import eventually

KEY, OTHER_KEY = RSAKey.generate_key(2048), RSAKey.generate_key(2048)
CLAIMS = {
    "iss": "https://brainlife.io/api/auth", "exp": 4e9 + 0.078, "iat": 1.7e9, "sub": 1, "gids": [7, 8, 0, 9],
    "scopes": {"brainlife": ["user"]}, "profile": {"username": "alice"},
}  # fmt: skip


def signed(key=KEY, algorithm="RS256", **claims):
    payload = {name: value for name, value in (CLAIMS | claims).items() if value is not None}
    return jws.serialize_compact({"alg": algorithm, "typ": "JWT"}, json.dumps(payload), key, [algorithm])


@pytest.fixture
def auth():
    """The service that says who may see an instance or project: `ok...` may be seen."""

    def answer(asked):
        word = asked.path.rpartition("/")[2]
        if asked.path == "/auth/user/1":
            assert asked.headers["authorization"] == "Bearer service-token"
            return Reply(body=json.dumps({"sub": 1, "username": "alice", "fullname": "Alice", "email": "alice@example.org"}).encode())
        if word.startswith("slow"):
            return Reply(body=b'{"status":"ok"}', delay=1.0)
        if word.startswith("ok") and asked.headers["authorization"].startswith("Bearer ey"):
            return Reply(body=b'{"status":"ok"}')
        return {"cut": Reply(is_cut=True), "empty": Reply(), "text": Reply(401, b"no"), "json401": Reply(401, b'{"status":"failed"}')}.get(
            word, Reply(404, b"<html>")
        )

    peer = ScriptedHttp(answer)
    yield peer
    peer.stop()


def speaking(settings, folder, auth):
    """These settings, of a hub that takes the place of brainlife/event."""
    pem = folder / "auth.pub"
    pem.write_bytes(KEY.as_pem(private=False))
    check = ExchangeSettings(access="check", check_url=f"{auth.url}/event/checkaccess/instance/{{word}}")
    exchanges = {
        "public": ExchangeSettings(access="signed-in"),
        "wf.task": check,
        "wf.instance": ExchangeSettings(access="claim", claim="gids", open_words="na"),
        "warehouse": replace(check, word=4, first_words="dataset,project,rule", check_url=f"{auth.url}/event/checkaccess/project/{{word}}"),
    }
    streams = StreamSettings(public_key=str(pem))
    wanted = BrainlifeSettings(auth_url=f"{auth.url}/auth", token="service-token")
    return replace(settings, exchanges=exchanges, streams=streams, brainlife=wanted, outbound=OutboundSettings(allow="127.0.0.0/8"))


@pytest.fixture
def settings(settings, tmp_path, auth):
    return speaking(settings, tmp_path, auth)


@pytest.fixture
async def port(house):
    async with served(app_of(house)) as port:
        yield port


@pytest.fixture
def publish(house):
    async def publish(exchange, key, body=b'{"a":1}', content_type="application/json", headers=None, **properties):
        await house.broker.publish([Event(exchange, key, body, content_type, headers or {}, properties)])

    return publish


def old(port, token=None, path="/api/event/subscribe", **options):
    return following(port, f"{path}?jwt={signed() if token is None else token}", **options)


@contextlib.asynccontextmanager
async def bystander(port, house):
    """A second client that must not notice."""
    async with old(port) as client:
        await bound(client, house, "public", "probe.#")
        yield client


async def bound(client, house, exchange, key):
    """Bind, and wait until it holds: nothing on the wire says so."""

    def count():
        return sum(listener.bindings.get((exchange, key), 0) for listener in house.streams._listeners.values())

    before = count()
    await client.say({"bind": {"ex": exchange, "key": key}})
    # Who is given what came meanwhile is not live for a moment, with all bindings.
    await eventually(lambda: count() > before and all(listener.positions is None for listener in house.streams._listeners.values()))


async def notices_nothing(client, publish):
    await publish("public", "probe.x", b'{"probe":1}')
    assert (await client.next())["msg"] == {"probe": 1}


TASK = {"_id": "64f0", "user_id": "1", "_group_id": 7, "instance_id": "ok64f0", "status": "finished", "status_msg": "done", "config": {"_tid": 3}}


async def test_a_task_event_is_what_the_original_sent(port, house, publish):
    """Transcript s03: key order, the Node Buffer, the whole task as msg."""
    async with old(port) as client:
        await bound(client, house, "wf.task", "ok64f0.#")
        await publish("wf.task", "ok64f0.64f0", json.dumps(TASK).encode())
        raw = await client.socket.recv()
    event = json.loads(raw)
    assert list(event) == ["headers", "dinfo", "msg"] and event["msg"] == TASK and event["headers"] == {}
    assert list(event["dinfo"]) == ["contentType", "queue", "deliveryTag", "redelivered", "exchange", "routingKey", "consumerTag"]
    assert event["dinfo"]["exchange"] == "wf.task" and event["dinfo"]["routingKey"] == "ok64f0.64f0" and event["dinfo"]["redelivered"] is False
    assert event["dinfo"]["deliveryTag"] == {"type": "Buffer", "data": [0, 0, 0, 0, 0, 0, 0, 1]}
    assert raw.startswith('{"headers":{},"dinfo":{"contentType":"application/json",')


async def test_properties_come_in_the_original_order(port, house, publish):
    properties = {
        "content_encoding": "utf-8", "delivery_mode": 2, "priority": 3, "correlation_id": "c1", "reply_to": "rt", "expiration": "60000",
        "message_id": "m1", "timestamp": 1700000000, "message_type": "ty", "user_id": "guest", "app_id": "app",
    }  # fmt: skip
    async with old(port) as client:
        await bound(client, house, "public", "#")
        await publish("public", "x", headers={"h1": "v", "n": 5, "nest": {"k": "v"}, "l": ["a", 1], "none": None}, **properties)
        event = await client.next()
    assert event["headers"] == {"h1": "v", "n": 5, "nest": {"k": "v"}, "l": ["a", 1], "none": None}
    assert list(event["dinfo"])[:13] == [
        "contentType", "contentEncoding", "headers", "deliveryMode", "priority", "correlationId", "replyTo", "expiration", "messageId", "timestamp",
        "type", "userId", "appId",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "content_type, body, msg, about",
    [
        ("application/json", b"null", None, {}),
        ("application/json", b'"str"', "str", {}),
        ("text/json", b'{"a":1}', {"a": 1}, {}),
        ("application/json", '{"u":"привет"}'.encode(), {"u": "привет"}, {}),
        ("application/json", b"{broken", None, {"parseError": {}, "rawData": "{broken"}),
        ("application/json", b"", None, {"parseError": {}, "rawData": ""}),
        ("application/json", b"[1e999, 1.5]", [None, 1.5], {}),
        ("text/plain", b"plain", {"data": {"type": "Buffer", "data": list(b"plain")}, "contentType": "text/plain"}, {}),
        (
            "application/json; charset=utf-8",
            b"{}",
            {"data": {"type": "Buffer", "data": [123, 125]}, "contentType": "application/json; charset=utf-8"},
            {},
        ),
        (
            "application/octet-stream",
            b"\xff\xfe\x00",
            {"data": {"type": "Buffer", "data": [255, 254, 0]}, "contentType": "application/octet-stream"},
            {},
        ),
        ("", b'{"no":"ctype"}', {"data": {"type": "Buffer", "data": list(b'{"no":"ctype"}')}}, {}),
    ],
)
def test_bodies_by_content_type(content_type, body, msg, about):
    document = brainlife.event_document(Event("public", "k", body, content_type))
    assert document["msg"] == msg and {name: document["dinfo"][name] for name in ("parseError", "rawData") if name in document["dinfo"]} == about
    assert list(document["dinfo"])[: len(about)] == list(about) and ("contentType" in document["dinfo"]) == bool(content_type)


async def test_each_matching_bind_brings_the_event_once_more(port, house, publish):
    """Transcript s04: three binds, one publication, three frames."""
    async with old(port) as client:
        for key in ("a.#", "a.b", "a.b"):
            await bound(client, house, "public", key)
        await publish("public", "a.b")
        assert [(await client.next())["msg"] for _ in range(3)] == [{"a": 1}] * 3 and await client.nothing()


async def test_large_bodies_and_order(port, house, publish):
    async with old(port) as client:
        await bound(client, house, "public", "#")
        await publish("public", "big", json.dumps({"big": "x" * 200_000}).encode())
        for number in range(100):
            await publish("public", "n", str(number).encode())
        assert len((await client.next())["msg"]["big"]) == 200_000
        assert [(await client.next())["msg"] for _ in range(100)] == list(range(100))


@pytest.mark.parametrize(
    "exchange, key, is_granted",
    [
        ("wf.task", "ok1.#", True), ("wf.task", "text.#", False), ("wf.task", "json401.#", False), ("wf.task", "page.#", False), ("wf.task", "#", False),
        ("wf.task", "*.x", False), ("wf.task", "", False), ("wf.task", "cut.#", False), ("wf.task", "empty.#", False),
        ("wf.instance", "7.#", True), ("wf.instance", "9.x", True), ("wf.instance", "99.#", False), ("wf.instance", "0.#", False),
        ("wf.instance", "na.#", True), ("wf.instance", "#", False),
        ("warehouse", "dataset.create.x.ok1", True), ("warehouse", "project.*.*.okp1", True), ("warehouse", "rule.a.b.bad", False),
        ("warehouse", "comment_project.*.*.ok1", False), ("warehouse", "dataset.#.ok1", False), ("warehouse", "dataset.#.x.ok1", False),
        ("warehouse", "dataset.x.y.*", False), ("warehouse", "#", False),
    ],
)  # fmt: skip
async def test_who_may_bind_what(port, house, exchange, key, is_granted):
    async with old(port) as client:
        if is_granted:
            await bound(client, house, exchange, key)
            assert await client.nothing()
        else:
            await client.say({"bind": {"ex": exchange, "key": key}})
            assert await client.socket.recv() == f'{{"error":"Access denided {exchange}"}}'
            await bound(client, house, "public", "still.usable")


async def test_an_unknown_exchange_is_silence(port, house, publish):
    async with bystander(port, house) as other, old(port) as client:
        for name in ("nowhere", "constructor", "__proto__", "me", ""):
            await client.say({"bind": {"ex": name, "key": "#"}})
        for noise in ({"unbind": {"ex": "public", "key": "#"}}, {"hello": 1}, [], 5, "str", {"bind": 0}, {"bind": True}, {"bind": {"key": "#"}}, {}):
            await client.say(json.dumps(noise))
        assert await client.nothing()
        await client.say(b'{"bind": {"ex": "public", "key": "b.#"}}')
        await eventually(lambda: len(house.streams._trunks["public"].index) == 2)
        await notices_nothing(other, publish)


@pytest.mark.parametrize("token", ["RS256", "RS384", "RS512", "PS256", "no exp", "no sub", "service"])
async def test_tokens_that_open(port, house, token):
    made = {
        "no exp": lambda: signed(exp=None),
        "no sub": lambda: signed(sub=None, scopes=None, gids=None),
        "service": lambda: signed(sub="event", exp=None),
    }.get(token, lambda: signed(algorithm=token))()
    for path in sorted(brainlife.PATHS):
        async with old(port, made, path) as client:
            await bound(client, house, "public", "#")


def _part(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _forged(algorithm, secret=None):
    """A token without a signature, or signed with the public key as if that were a secret."""
    text = f"{_part(json.dumps({'alg': algorithm}).encode())}.{_part(json.dumps(CLAIMS).encode())}"
    return f"{text}.{_part(hmac.digest(secret, text.encode(), 'sha256')) if secret else ''}"


@pytest.mark.parametrize(
    "query",
    [
        "", "?jwt=", "?jwt=x", "?jwt=a.b.c", f"?jwt={signed(exp=time.time() - 0.5)}", f"?jwt={signed(nbf=4e9)}", f"?jwt={signed(OTHER_KEY)}",
        f"?jwt={_forged('none')}", f"?jwt={_forged('HS256', KEY.as_pem(private=False))}", f"?jwt={signed()}&jwt={signed()}",
        f"?jwt={signed(exp='soon')}",
    ],
)  # fmt: skip
async def test_tokens_that_do_not_open_are_1006_after_the_handshake(port, query):
    with pytest.raises(ConnectionClosed) as caught:
        async with following(port, f"/api/event/subscribe{query}") as client:
            await client.socket.recv()
    assert caught.value.rcvd is None, "no close frame"


async def test_the_first_subprotocol_is_echoed(port):
    async with old(port, subprotocols=["a", "b"]) as client:
        assert client.socket.subprotocol == "a"


async def test_what_is_no_json_ends_that_connection_alone(port, house, publish):
    async with bystander(port, house) as other:
        async with old(port) as client:
            await client.say("ping")
            assert (await client.closed())[0] == 1006
        await notices_nothing(other, publish)


FAULTS = {  # section 1.6 of the behaviour of brainlife/event: the row, and what the client is told
    "row 1: null": ("null", None),
    "row 2: no key where a check is": ('{"bind":{"ex":"wf.task"}}', "wf.task"),
    "row 2: a number as key where a check is": ('{"bind":{"ex":"wf.task","key":5}}', "wf.task"),
    "row 3: a check that is cut": ('{"bind":{"ex":"wf.task","key":"cut.#"}}', "wf.task"),
    "row 3: a check that says nothing": ('{"bind":{"ex":"wf.task","key":"empty.#"}}', "wf.task"),
    "row 5: null as key": ('{"bind":{"ex":"public","key":null}}', "public"),
    "row 5: a key of 256 bytes": (json.dumps({"bind": {"ex": "public", "key": "k" * 256}}), "public"),
    "row 6: no key where no check is": ('{"bind":{"ex":"public"}}', "public"),
    "a number as exchange": ('{"bind":{"ex":5,"key":"#"}}', None),
    "half a character": ('{"bind":{"ex":"wf.task","key":"\\ud800.#"}}', "wf.task"),
    "null as bind": ('{"bind":null}', None),
    "too deep": ("[" * 50_000, None),
}


@pytest.mark.parametrize(("frame", "refused"), FAULTS.values(), ids=FAULTS.keys())
async def test_no_frame_disturbs_others(port, house, publish, frame, refused):
    """Frames that killed the process, silenced everybody, or bound what was not asked for. Row 4 needs a broker: it is in the tests with RabbitMQ."""
    async with bystander(port, house) as other:
        async with old(port) as client:
            await client.say(frame)
            if refused:
                assert await client.next(30) == {"error": f"Access denided {refused}"}
            await notices_nothing(other, publish)
            assert sum(len(trunk.index) for trunk in house.streams._trunks.values()) == 1, "nothing was bound"
        await notices_nothing(other, publish)


async def test_a_check_that_nobody_answers_is_a_no(port, house, publish, auth):  # section 1.6, row 3
    auth.stop()
    async with bystander(port, house) as other, old(port) as client:
        await client.say({"bind": {"ex": "wf.task", "key": "ok1.#"}})
        assert await client.next() == {"error": "Access denided wf.task"}
        await notices_nothing(other, publish)
    auth._thread.join(0)


async def test_a_check_that_is_out_of_reach_is_told_once_in_the_log(port, auth, monkeypatch):
    log = CapturingLogger()
    monkeypatch.setattr(telemetry, "log", log)
    auth.stop()
    async with old(port) as client:
        for word in ("ok1", "ok2"):
            await client.say({"bind": {"ex": "wf.task", "key": f"{word}.#"}})
            assert await client.next() == {"error": "Access denided wf.task"}
    auth._thread.join(0)
    (told,) = [call.kwargs for call in log.calls if call.args == ("check_unanswered",)]
    assert told["exchange"] == "wf.task" and auth.url in told["url"] and "failed" in told["why"]


async def test_a_check_that_takes_too_long_is_a_no(port, monkeypatch):
    monkeypatch.setattr(admission, "CHECK_WITHIN", 0.2)
    async with old(port) as client:
        await client.say({"bind": {"ex": "wf.task", "key": "slow.#"}})
        assert await client.next() == {"error": "Access denided wf.task"}


async def test_who_leaves_during_the_check_leaves_nothing(port, house, publish):  # section 1.6, row 7
    async with bystander(port, house) as other:
        async with old(port) as client:
            await client.say({"bind": {"ex": "wf.task", "key": "slow.#"}})
            await asyncio.sleep(0.1)
        await eventually(lambda: house.streams.listeners == 1)
        await asyncio.sleep(1.2)
        assert "wf.task" not in house.streams._trunks
        await notices_nothing(other, publish)


async def test_checks_run_at_the_same_time_and_are_shared(port, house, auth):
    token = signed()
    async with old(port, token) as client, old(port, token) as twin:
        for each in (client, twin):
            await each.say({"bind": {"ex": "wf.task", "key": "slow.#"}})
        began = time.monotonic()
        await bound(client, house, "wf.task", "ok1.#")
        assert time.monotonic() - began < 0.9, "a fast check waits for no slow one"
        await eventually(lambda: len(house.streams._trunks["wf.task"].index) == 3)
        assert len([asked for asked in auth.asked if asked.path.endswith("/slow")]) == 1


async def test_a_broker_that_is_away_is_told_and_survived(port, house, publish, monkeypatch):  # section 1.6, rows 4 and 8
    async def away(exchange):
        raise BrokerUnavailable("away")

    async with bystander(port, house) as other, old(port) as client:
        monkeypatch.setattr(house.broker, "head", away)
        await client.say({"bind": {"ex": "wf.instance", "key": "7.#"}})
        assert await client.next() == {"error": "Access denided wf.instance"}
        await notices_nothing(other, publish)


async def test_who_never_reads_is_cut_and_nobody_else_notices(port, house, publish, monkeypatch):
    """Transcript s30: there, a hundred megabytes waited for such a client."""
    monkeypatch.setattr(streams_room, "SLOW", 1.0)
    big = json.dumps({"big": "x" * 200_000}).encode()
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    narrow.connect(("127.0.0.1", port))
    async with bystander(port, house) as other, old(port, max_queue=1, sock=narrow) as client:
        await bound(client, house, "public", "probe.#")
        deaf = next(one for one in house.streams._listeners.values() if one.number == house.streams._last)
        for _ in range(100):
            await publish("public", "probe.x", big)
            assert len((await other.next(60))["msg"]["big"]) == 200_000
            if deaf.is_paused:  # what sockets hold is full
                break
        assert deaf.is_paused
        await eventually(lambda: house.streams.listeners == 1)
        await notices_nothing(other, publish)
        client.socket.transport.abort()


async def test_no_body_is_too_deep_for_others(port, house, publish, monkeypatch):
    """What one form can't write must be no gap for those of another form. How deep the library goes differs from one Python to the next."""
    dumped = brainlife._dumped

    def shallow(value):
        if "msg" in value and isinstance(value["msg"], list):
            raise RecursionError
        return dumped(value)

    monkeypatch.setattr(brainlife, "_dumped", shallow)
    async with following(port, token=signed()) as other, old(port) as client:
        await other.ask({"bind": {"exchange": "public", "key": "#"}})
        await client.say({"bind": {"ex": "public", "key": "#"}})
        await eventually(lambda: len(house.streams._trunks["public"].index) == 2)
        for depth in (1, 960, 100_000):
            await publish("public", "x", b"[" * depth + b"]" * depth)
            assert (await other.socket.recv()).startswith('{"event":{"exchange":"public"')
            event = await client.next()
            assert event["msg"] is None and len(event["dinfo"]["rawData"]) == 2 * depth


async def test_the_close_code_of_a_client_comes_back(port, house):
    """Transcript s26."""
    async with old(port) as client:
        await client.socket.close(4001, "enough")
        assert client.socket.protocol.close_rcvd.code == 4001


async def test_binds_have_a_limit(port, house, publish):
    async with bystander(port, house) as other:
        async with old(port) as client:
            for number in range(80):
                await client.say({"bind": {"ex": "public", "key": f"k{number}"}})
            assert (await client.closed())[0] == brainlife.TOO_MANY
        await notices_nothing(other, publish)


async def test_a_check_that_is_away_for_a_while_ends_no_bind(port, house, publish, auth, monkeypatch):
    """The original asked once; pages that are open while the service restarts must not fall silent."""
    monkeypatch.setattr(brainlife, "RECHECK", 0.1)
    monkeypatch.setattr(admission, "REMEMBERED", 0.1)
    answer = auth.answer

    async def looked_at(count):
        before = len(auth.asked)
        await eventually(lambda: len(auth.asked) >= before + count)

    async with old(port) as client, old(port) as newcomer:
        await bound(client, house, "wf.task", "ok1.#")
        for away in (Reply(is_cut=True), Reply(503, b"<html>"), Reply(500, b'{"status":"failed"}')):
            auth.answer = lambda asked, away=away: away
            await looked_at(2)
            await newcomer.say({"bind": {"ex": "wf.task", "key": "ok1.#"}})
            assert await newcomer.next() == {"error": "Access denided wf.task"}, "who has nothing yet gets nothing"
            await publish("wf.task", "ok1.x")
            assert (await client.next())["msg"] == {"a": 1}
        auth.answer = answer
        await looked_at(2)
        monkeypatch.setattr(admission, "HELD", 0.5)
        auth.answer = lambda asked: Reply(is_cut=True)
        assert await client.next() == {"error": "Access denided wf.task"}, "but not for ever"
        await publish("wf.task", "ok1.x")
        assert await client.nothing()


async def test_a_check_that_says_no_ends_the_bind(port, house, publish, auth, monkeypatch):
    monkeypatch.setattr(brainlife, "RECHECK", 0.1)
    monkeypatch.setattr(admission, "REMEMBERED", 0.1)
    async with old(port) as client:
        await bound(client, house, "wf.task", "ok1.#")
        auth.answer = lambda asked: Reply(401, b"no such instance or you don't have access to it")
        assert await client.next() == {"error": "Access denided wf.task"}
        await publish("wf.task", "ok1.x")
        assert await client.nothing()


async def test_rights_that_are_gone_end_the_bind(port, house, publish, monkeypatch):
    monkeypatch.setattr(brainlife, "RECHECK", 0.5)
    monkeypatch.setattr(admission, "REMEMBERED", 0.1)
    async with old(port) as client:
        await bound(client, house, "wf.task", "ok1.#")
        house.broker.exchanges["wf.task"] = replace(house.broker.exchanges["wf.task"], access="admin")
        assert await client.next() == {"error": "Access denided wf.task"}
        await publish("wf.task", "ok1.x")
        assert await client.nothing()


async def test_health_tells_the_truth(port, house, monkeypatch):
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as api:
        answer = await api.get("/api/event/health")
        assert (
            answer.json() == {"status": "ok", "amqp_connected": True, "message": "all good"} and answer.headers["access-control-allow-origin"] == "*"
        )

        async def faults():
            return {"": "refused"}

        monkeypatch.setattr(house.broker, "faults", faults)
        assert (await api.get("/api/event/health")).json() == {"status": "failed", "amqp_connected": False, "message": "amqp disconnected"}


REQUEST = {"event": "wf.task.finished", "handler": "email", "config": {"task_id": "64f0", "subject": "It ends", "message": "Look at it."}}


@pytest.fixture
async def asking(port):
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {signed()}"}) as api:
        yield api


async def test_a_request_is_kept_as_the_original_did(asking):
    """Transcript n01."""
    made = (await asking.post("/api/event/notification", json=REQUEST | {"user_id": "999", "bogus": 1})).json()
    assert {name: made[name] for name in ("__v", "event", "handler", "config", "user_id")} == REQUEST | {"__v": 0, "user_id": "1"}
    assert len(made["_id"]) == 24 and made["create_date"].endswith("Z") and "trigger_date" not in made and "bogus" not in made
    inert = (await asking.post("/notification", data={"event": "wf.task.failed", "handler": "email", "trigger_date": "2020-01-01"})).json()
    assert "trigger_date" in inert
    found = (await asking.get("/api/event/notification/")).json()
    assert found["count"] == 2 and {entry["_id"] for entry in found["notifications"]} == {made["_id"], inert["_id"]}
    found = (await asking.get("/notification", params={"find": '{"config.task_id":"64f0","user_id":"2"}', "select": "event"})).json()
    assert found == {"notifications": [{"event": "wf.task.finished", "_id": made["_id"]}], "count": 1}
    other = {"Authorization": f"Bearer {signed(sub=2)}"}
    assert (await asking.get("/notification", headers=other)).json() == {"notifications": [], "count": 0}
    admin = {"Authorization": f"Bearer {signed(sub=2, scopes={'sca': ['admin']})}"}
    assert (await asking.get("/notification", params={"find": '{"user_id":null}'}, headers=admin)).json()["count"] == 2


@pytest.mark.parametrize(
    "headers, code",
    [({"Authorization": ""}, "credentials_required"), ({"Authorization": "Basic x"}, "credentials_bad_scheme"), ({"Authorization": "Bearer x"}, "invalid_token"),
     ({"Authorization": f"Bearer {signed(exp=1)}"}, "invalid_token")],
)  # fmt: skip
async def test_requests_need_a_token(asking, headers, code):
    for answer in (await asking.post("/notification", json=REQUEST, headers=headers), await asking.get("/notification", headers=headers)):
        assert answer.status_code == 401 and answer.json()["name"] == "UnauthorizedError" and answer.json()["code"] == code


@pytest.mark.parametrize(
    "body, status",
    [
        (b"{bad", 400),
        (b"[]", 400),
        (b'{"event":{"a":1}}', 422),
        (b'{"_id":"zzz"}', 422),
        (b"x" * 200_000, 413),
        (b"{}", 200),
        (b'{"config":"text"}', 200),
    ],
)
async def test_requests_that_are_wrong_are_refused(asking, body, status):
    answer = await asking.post("/notification", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status


async def test_when_the_task_ends_a_mail_goes_out_once(asking, house, bench, publish):
    await house.store.put_stream_position("brainlife wf.task", str(await house.broker.head("wf.task")))
    await asking.post("/notification", json=REQUEST)
    await asking.post("/notification", json=REQUEST | {"config": {"task_id": "other"}})
    await publish("wf.task", "ok64f0.64f0", json.dumps(TASK | {"status": "running"}).encode())
    await publish("wf.task", "ok64f0.64f0", b"null")
    await publish("wf.task", "ok64f0.64f0", b"{broken")
    await publish("wf.task", "ok64f0.64f0", json.dumps(TASK | {"user_id": "2"}).encode())
    # These came while nobody looked: the place up to which events were read is durable.
    for _ in range(3):
        await publish("wf.task", "ok64f0.64f0", json.dumps(TASK).encode())
    watch = asyncio.create_task(house.task_watch.run())
    try:
        async with asyncio.timeout(60):
            while not any("trigger_date" in entry for entry in (await asking.get("/notification")).json()["notifications"]):
                await asyncio.sleep(0.05)
    finally:
        watch.cancel()
    await bench.work()
    (letter,) = bench.mail.letters
    assert letter.address.value == "alice@example.org" and letter.message.subject == "It ends" and letter.message.type == "brainlife.task.finished"
    found = (await asking.get("/notification")).json()["notifications"]
    assert ["trigger_date" in entry for entry in sorted(found, key=lambda entry: entry["config"]["task_id"])] == [True, False]


async def test_a_login_that_somebody_has_is_not_taken_over(asking, house, bench, publish):
    await bench.person("alice")
    await asking.post("/notification", json=REQUEST)
    await house.store.match_task_requests("1", "wf.task.finished", "64f0", "", house.now())
    assert await house.task_watch.speak() == 1
    assert (await house.store.person("brainlife-1")) is not None


async def test_what_the_auth_service_holds_up_is_tried_again(asking, house, bench, auth, monkeypatch):
    await asking.post("/notification", json=REQUEST)
    await house.store.match_task_requests("1", "wf.task.finished", "64f0", "", house.now())
    answer = auth.answer
    auth.answer = lambda asked: Reply(503)
    assert await house.task_watch.speak() == 0
    auth.answer = answer
    assert await house.task_watch.speak() == 1 and await house.task_watch.speak() == 0


async def due(asking, house, *requests, sub=1):
    """Kept, and the event that each waits for has come."""
    headers = {"Authorization": f"Bearer {signed(sub=sub)}", "Content-Type": "application/json"}
    for request in requests:
        made = await asking.post("/notification", content=json.dumps(request), headers=headers)
        assert made.status_code == 200, made.text
    assert await house.store.match_task_requests(str(sub), "wf.task.finished", "64f0", "", house.now()) == len(requests)


async def known(bench, house, login, sub):
    await bench.person(login)
    await house.store.link_identity("brainlife", str(sub), (await house.store.person(login)).person_id)


def asked_for(auth):
    return [asked.path for asked in auth.asked if asked.path.startswith("/auth/")]


async def test_what_no_message_could_hold_is_said_all_the_same_and_holds_up_nobody(asking, house, bench):
    """Whoever may ask at all could otherwise silence everybody who comes later."""
    odd = {"task_id": "64f0", "subject": "half \ud800 and nothing \x00", "message": "x" * 90_000}
    await due(asking, house, REQUEST | {"config": odd}, REQUEST | {"config": {"task_id": "64f0", "subject": {"a": ["\udfff"]}, "message": 5}})
    await known(bench, house, "bob", 2)
    await due(asking, house, REQUEST, sub=2)
    assert await house.task_watch.speak() == 3 and await house.task_watch.speak() == 0
    await bench.work()
    assert sorted((letter.message.subject, len(letter.message.body)) for letter in bench.mail.letters) == [
        ("It ends", 11), ("half ? and nothing ", 65_536), (r"{'a': ['\udfff']}", 1),
    ]  # fmt: skip


async def test_one_that_is_refused_holds_up_nobody_and_is_given_up_in_the_end(asking, house, bench, monkeypatch):
    await due(asking, house, REQUEST)
    await known(bench, house, "bob", 2)
    await due(asking, house, REQUEST, sub=2)
    told = brainlife_requests._message
    monkeypatch.setattr(brainlife_requests, "_message", lambda request, login: told(request, login) | ({"odd": 1} if request.user_id == "1" else {}))
    assert await house.task_watch.speak() == 1
    (left,) = await house.store.matched_task_requests()
    monkeypatch.setattr(brainlife_requests, "GIVES_UP", timedelta(0))
    assert left.user_id == "1" and await house.task_watch.speak() == 0
    assert await house.store.matched_task_requests() == []


async def test_who_waits_for_the_auth_service_holds_up_nobody(asking, house, bench, auth, monkeypatch):
    """However many wait: each user is asked for once a turn, and nobody else where the service gives no answer."""
    monkeypatch.setattr(brainlife_requests, "AT_ONCE", 2)
    for sub in (3, 4):
        await due(asking, house, REQUEST, REQUEST, REQUEST, sub=sub)
    await known(bench, house, "bob", 2)
    await due(asking, house, REQUEST, sub=2)
    assert await house.task_watch.speak() == 1, "those two are unknown there, bob is known here"
    assert asked_for(auth) == ["/auth/user/3", "/auth/user/4"]
    await due(asking, house, REQUEST, sub=2)
    auth.answer = lambda asked: Reply(is_cut=True)
    assert await house.task_watch.speak() == 1
    assert asked_for(auth)[2:] == ["/auth/user/3"], "no answer: so the others wait for the next turn"


async def test_an_event_that_no_database_could_hold_stops_no_later_one(asking, house, bench, publish):
    await house.store.put_stream_position("brainlife wf.task", str(await house.broker.head("wf.task")))
    await asking.post("/api/event/notification", json=REQUEST)
    await publish("wf.task", "x", b'{"_id": "64f0", "user_id": "\\ud800", "status": "finished"}')
    await publish("wf.task", "ok64f0.64f0", json.dumps(TASK).encode())
    watch = asyncio.create_task(house.task_watch.run())
    try:
        async with asyncio.timeout(60):
            while not any("trigger_date" in entry for entry in (await asking.get("/notification")).json()["notifications"]):
                assert not watch.done(), watch
                await asyncio.sleep(0.05)
    finally:
        watch.cancel()


async def test_a_page_of_another_site_may_ask(asking):
    headers = {"Origin": "https://x.example", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    for path in ("/api/event/health", "/api/event/notification", "/notification/"):
        answer = await asking.options(path, headers=headers)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (204, "*")
        assert "POST" in answer.headers["access-control-allow-methods"] and answer.headers["access-control-allow-headers"] == "authorization"
    refused = await asking.post("/notification", content=b"{bad", headers={"Content-Type": "application/json"})
    assert refused.status_code == 400 and refused.headers["access-control-allow-origin"] == "*"


# ---- transcripts of the original ------------------------------------------------------------------------------------------------

TRANSCRIPTS = Path(__file__).parent / "transcripts"
_STEP = re.compile(r" *[\d.]+ (C>|P>|S<) (.*)")
_PUBLISHED = re.compile(r"ex=(\S+) key=(\S+) content_type=(.*?) props=(\{.*?\}) body=(b['\"].*)")
_NOT_OURS = ("queue", "deliveryTag", "consumerTag")
"""What no client reads, and what is another each time."""
_FAULTS = ("'b': True", "'big': ", "'nested': ")
"""Headers that the original's library read wrongly, with all that follows them: these frames are compared in what clients read."""

_TOLD = {'{"bind": {"ex": "warehouse", "key": "comment_project.*.*.okp1"}}': '{"error":"Access denided warehouse"}'}
"""Where the original said nothing, we refuse aloud: a key that its rule can't read left the page waiting for ever."""


def steps(name):
    """Of one connection: (who, what, how many frames the original answered before the next step)."""
    found = []
    for line in (TRANSCRIPTS / f"{name}.txt").read_text().splitlines():
        step = _STEP.match(line)
        if step is None or step[2].startswith(("CONNECT", "101")):
            continue
        if step[1] == "S<":
            found[-1][2].append(step[2])
        else:
            found.append((step[1], step[2], [_TOLD[step[2]]] if step[2] in _TOLD else []))
    return found


def relied_on(frame, *, is_faulty, lost=()):
    """What stands in a frame and is the same for everybody; of a faulty one what clients read."""
    if "error" in frame:
        return frame
    about = {name: value for name, value in frame["dinfo"].items() if name not in _NOT_OURS and name not in lost}
    if is_faulty:
        return {"exchange": about["exchange"], "routingKey": about["routingKey"], "msg": frame["msg"]}
    return {"headers": frame["headers"], "dinfo": list(about.items()), "msg": frame["msg"]}


def published(text):
    exchange, key, content_type, properties, body = _PUBLISHED.fullmatch(text).groups()
    given = ast.literal_eval(properties)
    headers = given.pop("headers", {})
    given |= {"message_type": given.pop("type")} if "type" in given else {}
    return Event(exchange, key, ast.literal_eval(body), "" if content_type == "None" else content_type, headers, given)


SPOKEN = {"receive": 19, "denied": 7, "unknown": 0, "noise": 1, "repeated": 3, "expiry": 3, "ordering": 2}
"""Conversations, and how many frames the original sent in each. In `ordering` each frame stands behind what brought it."""
LIFE = 4.0
"""Seconds that a token is good for in `expiry`; there it had five."""


@pytest.mark.parametrize("name", SPOKEN)
async def test_a_transcript_is_answered_as_by_the_original(port, house, publish, name):

    async def put(event):
        await house.broker.publish([event])

    assert await retold(port, house, publish, name, put) == SPOKEN[name]


async def retold(port, house, publish, name, put, faults=_FAULTS, lost=()):
    """A whole conversation, in order: a frame too many or too few shows at the next one. How many frames came."""
    count, ends_at = 0, time.time() + LIFE
    async with old(port, signed(exp=ends_at) if name == "expiry" else None) as client:
        for who, what, expected in steps(name):
            if who == "C>":
                await client.say(ast.literal_eval(what) if what.startswith("b'") else what)
            else:
                event = published(what)
                if name == "expiry" and event.routing_key != "a.1":
                    await asyncio.sleep(max(0.0, ends_at + 0.1 - time.time()))
                # The original's clients waited half a second and hoped.
                await eventually(lambda event=event, expected=expected: matching(house, event) >= len(expected))
                await put(event)
            is_faulty = any(fault in what for fault in faults)
            for line in expected:
                if line.startswith("CLOSED"):
                    assert (await client.closed())[0] == 1006
                    return count
                answer = await client.next()
                told = relied_on(json.loads(line), is_faulty=is_faulty, lost=lost)
                assert relied_on(answer, is_faulty=is_faulty) == told, what
                count += 1
        await bound(client, house, "public", "probe.#")
        await notices_nothing(client, publish)
        return count


def matching(house, event):
    bindings = [pair for listener in house.streams._listeners.values() for pair in listener.bindings.items()]
    return sum(count for (exchange, pattern), count in bindings if exchange == event.exchange and matches(pattern, event.routing_key))
