"""Figure R13: a thousand bad inputs at each interface (ten thousand with ANGELIA_SOAK), from a seed; ANGELIA_SEED takes another."""

import io
import json
import os
import time
from contextlib import redirect_stderr

import feedparser
import pytest
import structlog

from angelia import telemetry
from angelia_testing.mutation import Mutator

COUNT = int(os.environ.get("ANGELIA_FUZZ") or ("10000" if os.environ.get("ANGELIA_SOAK") else "1000"))
SEED = int(os.environ.get("ANGELIA_SEED", "20261124"))
STRICTEST = 5.0  # seconds of the processor

MESSAGE = {
    "type": "obs.build.fail", "subject": "okular failed", "body": "text", "body_format": "markdown", "actor": "alice", "object": "KDE/okular",
    "object_url": "https://hub.example.org/x", "thread": "t", "collapse_key": "c", "language": "en", "occurred_at": "2026-11-24T09:00:00Z",
    "sender": {"id": "ci", "name": "CI"}, "to": ["alice", {"id": "bob", "reason": "why"}], "cc": ["group:x"], "severity": "high",
    "tags": [["priority", "4"], {"name": "a", "value": "b"}], "params": {"arch": "x86_64", "list": ["a", "b"]}, "test": False, "restricted": False,
    "access": ["alice"], "wish": "now", "idempotency_key": "k1",
}  # fmt: skip
EVENT = {
    "specversion": "1.0",
    "id": "1",
    "source": "/ci",
    "type": "obs.x",
    "subject": "KDE/okular",
    "time": "2026-11-24T09:00:00Z",
    "data": {"subject": "s", "a": [1, {"b": None}]},
}
XML = [
    b"""<?xml version="1.0" encoding="utf-8"?><h:message xmlns:h="http://xml.opensuse.org/hermes" type="example" id="x1"><h:sender id="ci">CI</h:sender>
<h:recipients><h:to id="alice"><h:reason>why</h:reason></h:to><h:cc id="bob"/></h:recipients><h:tag name="severity" value="high"/><h:subject>s</h:subject>
<h:body>We inform you</h:body></h:message>""",
    b'<message xmlns="http://xml.opensuse.org/hermes"><body><![CDATA[<b>]]></body></message>',
]
FORMS = [b"rm=notify&_type=obs.build.fail&sender=ci&package=okular&x=%C3%A4", b"rm=notify&_type=a&a=b+c"]
LINES = [b"it works", b"subject=Hi&to=alice&tags=a%3Db&severity=high", b'{"subject":"J","to":["alice"],"params":{"a":"b"}}']
KINDS = ["application/json", "application/json; charset=utf-8", "", "text/plain", "application/cloudevents+json", "application/cloudevents-batch+json",
         "application/x-www-form-urlencoded", "application/xml", "multipart/form-data", "\xff", ";", "application/json; charset=utf-16"]  # fmt: skip
WANTS = {
    "preferences": {"*": {"mail": "now"}, "obs.build": {"web": "off", "mail": {"when": "daily", "form": "short"}}},
    "rules": [{"id": "r1", "type": "obs.#", "when": {"object": {"regexp": "^KDE"}, "arch": ["x86_64"]}, "min_severity": "high", "do": {"mail": "now"}}],
    "mutes": {"KDE/kate": "full"}, "follows": ["KDE/okular"], "paused": ["mail"], "groups": {"x": ["mail"]}, "unknown": {"mail": "off"}, "takes_tests": True,
    "hold": {"until": "2026-12-24T00:00:00Z", "policy": {"obs": "drop"}, "pass_from": "urgent"}, "quiet": ["22:00", "07:00"],
    "schedules": {"mine": {"every": "day", "at": ["08:00"]}},
}  # fmt: skip


def headers(mutator, usual):
    chance = mutator.random
    made = {"Content-Type": usual if chance.random() < 0.8 else chance.choice(KINDS)}
    if chance.random() < 0.1:
        made["Idempotency-Key"] = chance.choice(["k1", "k" * 300, "a b", "\xff", "k2"])
    if chance.random() < 0.05:
        made["Content-Encoding"] = chance.choice(["gzip", "br", "identity", "gzip, gzip", ""])
    if chance.random() < 0.1:
        made[chance.choice(["Title", "Priority", "To", "Tags", "Click", "ce-specversion", "ce-type", "ce-id", "ce-source"])] = chance.choice(
            ["x", "5", "a,b", "=", "1.0", "%00", "%ff", "\xff", "alice", "javascript:x", ",,,"]
        )
    # Bytes as they are: what a library would refuse to send is sent.
    return [(name.encode(), value.encode("latin-1")) for name, value in made.items()]


def a_message(mutator):
    chance = mutator.random
    how = chance.random()
    if how < 0.55:
        return "POST", "/api/v1/messages", mutator.json_of(MESSAGE), headers(mutator, "application/json")
    if how < 0.7:
        return "POST", "/api/v1/messages", mutator.json_of([MESSAGE, {"type": "a.b"}]), headers(mutator, "application/json")
    if how < 0.85:
        return "POST", "/api/v1/messages", mutator.json_of(EVENT), headers(mutator, "application/cloudevents+json")
    seeds = [json.dumps(MESSAGE).encode(), json.dumps(EVENT).encode(), b'[{"type":"a"}]']
    return "POST", "/api/v1/messages", mutator.bytes_of(seeds), headers(mutator, "application/json")


def a_block(mutator):
    path = mutator.random.choice(["/hermes/example"] * 6 + ["/hermes/alice/example", "/hermes/OBS_X", "/hermes/%00", "/hermes/%ff/x", "/hermes//x"])
    return "POST", path, mutator.bytes_of(XML), headers(mutator, "application/xml")


def a_form(mutator):
    query = "" if mutator.random.random() < 0.7 else mutator.random.choice(["?x=1", "?rm=notify", "?%ff", "?a=%00", "?=&=", "?" + "a=1&" * 400])
    return "POST", "/hermes/" + query, mutator.bytes_of(FORMS), headers(mutator, "application/x-www-form-urlencoded")


def a_line(mutator):
    chance = mutator.random
    kind = chance.choice(["obs.build.fail"] * 6 + ["a", "%00", "..", "a%20b", "a" * 300, "{{7*7}}", "A.B", "\u00e4"])
    query = (
        ""
        if chance.random() < 0.6
        else chance.choice(["?to=alice", "?subject=%00", "?tags=a=b,c", "?x", "?is_admin=1", "?to=a&to=b", "?subject=%ff", "?test=1"])
    )
    return (
        "POST",
        f"/api/v1/publish/{kind}{query}",
        mutator.bytes_of(LINES),
        headers(mutator, chance.choice(["text/plain", "application/x-www-form-urlencoded", "application/json"])),
    )


def a_wish(mutator):
    body = mutator.json_of(WANTS) if mutator.random.random() < 0.8 else mutator.bytes_of([json.dumps(WANTS).encode()])
    return "PUT", "/api/v1/people/alice/preferences", body, headers(mutator, "application/json")


INTERFACES = [a_message, a_block, a_form, a_line, a_wish]


async def total(store):
    """Messages that came from outside: the hub speaks too."""
    count, before = 0, None
    while found := await store.list_messages(person_id=None, before_id=before, limit=1_000):
        count += sum(message.source != "angelia" for message in found)
        before = found[-1].message_id
    return count


def newly_stored(answer, method):
    if method == "PUT" or answer.status_code >= 400:
        return 0
    document = answer.json() if "json" in answer.headers["content-type"] else {}
    if isinstance(document, dict) and "items" in document:
        return sum(item["status"] == "accepted" for item in document["items"])
    return int(answer.status_code == 201 or answer.headers["content-type"] == "text/plain")


@pytest.mark.timeout(1_800 if COUNT > 1_000 else 120)
@pytest.mark.parametrize("make", INTERFACES, ids=lambda make: make.__name__)
async def test_bad_input_is_refused_or_taken_whole(bench, outside, make):
    await bench.person("alice")
    await bench.person("bob", mail=False)
    feed = (await bench.call("POST", "/api/v1/people/alice/feeds", {}, 201))["atom"].partition("8080")[2]
    mutator, stored, statuses = Mutator(SEED), 0, set()
    written, before = io.StringIO(), structlog.get_config()
    try:
        telemetry.configure_logs("json", "debug")
        with redirect_stderr(written):
            for number in range(COUNT):
                method, path, body, head = make(mutator)
                told = f"seed {SEED}, input {number}: {method} {path} {head} {body[:2_000]!r}"
                began = time.process_time()
                try:
                    answer = await bench.api.request(method, path, content=body, headers=head)
                except Exception as error:
                    raise AssertionError(told) from error
                assert time.process_time() - began < STRICTEST, told
                statuses.add(answer.status_code)
                assert answer.status_code < 500, told
                if answer.status_code >= 400:
                    assert answer.headers["content-type"] == "application/problem+json", told
                    assert answer.json()["status"] == answer.status_code, told
                    assert "Traceback" not in answer.text, told
                stored += newly_stored(answer, method)
                if number % 250 == 249:
                    # What was taken goes the whole way, in pieces as in life; nothing parks.
                    await bench.work()
            await bench.work()
    finally:
        structlog.configure(**before)
    assert await total(bench.store) == stored
    assert statuses >= {400, 422}
    assert statuses & {200, 201}
    assert (await bench.call("GET", "/api/v1/parked"))["items"] == []
    for line in written.getvalue().splitlines():
        assert json.loads(line)["event"]
    parsed = feedparser.parse((await outside.get(feed)).content)
    assert not parsed.bozo, parsed.get("bozo_exception")
