"""The HTTP side as the world sees it: who may do what, and what is said of bad requests."""

import gzip
import json

import feedparser
import httpx2
import pytest
from cloudevents.v1.conversion import to_binary, to_structured
from cloudevents.v1.http import CloudEvent

from angelia.front import app_of
from angelia.model.moments import public_id

XML = b"""<h:message xmlns:h="http://xml.opensuse.org/hermes" type="%s"><h:sender id="ci">CI</h:sender><h:body>text</h:body></h:message>"""


@pytest.fixture
async def tokens(bench):
    """A source for obs below, alice, bob, and an administrator."""
    made = {}
    for login in ("alice", "bob", "root"):
        await bench.person(login, mail=False, is_admin=login == "root")
        scopes = ["read", "write", "admin"] if login == "root" else ["read", "write"]
        made[login] = (await bench.call("POST", f"/api/v1/people/{login}/tokens", {"scopes": scopes}, 201))["secret"]
    await bench.call("PUT", "/api/v1/sources/ci", {"subtrees": ["obs", "example"], "may_be_urgent": False}, 200)
    made["ci"] = (await bench.call("POST", "/api/v1/sources/ci/tokens", {}, 201))["secret"]
    return {name: {"Authorization": f"Bearer {secret}"} for name, secret in made.items()}


async def test_posting_needs_a_token_of_a_source_that_may(outside, tokens):
    message = {"type": "obs.x", "to": ["alice"]}
    assert (await outside.post("/api/v1/messages", json=message)).status_code == 401
    assert (await outside.post("/api/v1/messages", json=message, headers={"Authorization": "Bearer ang_x"})).status_code == 401
    answer = await outside.post("/api/v1/messages", json=message, headers=tokens["ci"])
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/api/v1/messages/{answer.json()['id']}"
    refused = await outside.post("/api/v1/messages", json=message | {"type": "wiki.x"}, headers=tokens["ci"])
    assert (refused.status_code, refused.headers["content-type"]) == (403, "application/problem+json")
    assert (await outside.post("/api/v1/messages", json=message | {"severity": "urgent"}, headers=tokens["ci"])).status_code == 403
    assert (await outside.post("/api/v1/messages", json=message, headers=tokens["alice"])).status_code == 403


async def test_a_repeat_is_the_same_message(outside, tokens):
    headers = tokens["ci"] | {"Idempotency-Key": "k1"}
    first = await outside.post("/api/v1/messages", json={"type": "obs.x"}, headers=headers)
    again = await outside.post("/api/v1/messages", json={"type": "obs.x"}, headers=headers)
    other = await outside.post("/api/v1/messages", json={"type": "obs.y"}, headers=headers)
    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 409)
    assert first.json()["id"] == again.json()["id"]
    bad = await outside.post("/api/v1/messages", json={"type": "obs.x", "nope": 1}, headers=tokens["ci"] | {"Idempotency-Key": "k2"})
    assert bad.status_code == 422
    assert (await outside.post("/api/v1/messages", json={"type": "obs.x"}, headers=tokens["ci"] | {"Idempotency-Key": "k2"})).status_code == 201


async def test_a_batch_is_all_or_nothing(outside, tokens, bench):
    batch = [{"type": "obs.x", "idempotency_key": f"b{n}"} for n in range(500)]
    answer = await outside.post("/api/v1/messages", json=batch, headers=tokens["ci"])
    assert [item["status"] for item in answer.json()["items"]] == ["accepted"] * 500
    assert (await outside.post("/api/v1/messages", json=batch, headers=tokens["ci"])).status_code == 200
    bad = [{"type": "obs.z"}, {"type": "obs.z", "subject": 1}]
    refused = await outside.post("/api/v1/messages", json=bad, headers=tokens["ci"])
    assert refused.json()["errors"][0]["field"].startswith("1.subject")
    assert not await bench.store.list_messages(person_id=None, subtree="obs.z")


async def test_a_sender_is_told_who_is_unknown(outside, tokens, bench):
    await bench.call("PUT", "/api/v1/groups/kde", {"members": ["alice"]}, 200)
    named = ["alice", "nobody", "group:kde", "group:none"]
    posted = await outside.post("/api/v1/messages", json={"type": "obs.x", "to": named}, headers=tokens["ci"])
    await bench.work()
    for login in ("ci", "root"):
        assert (await outside.get(posted.headers["location"], headers=tokens[login])).json()["unknown"] == ["nobody", "group:none"]
    assert "unknown" not in (await outside.get(posted.headers["location"], headers=tokens["alice"])).json()
    asked = await outside.get(f"{posted.headers['location']}/why?login=nobody", headers=tokens["root"])
    assert (asked.status_code, asked.json()["detail"]) == (404, "there is no such person")


async def test_what_a_source_may_counts_at_once(outside, tokens):
    assert (await outside.post("/api/v1/messages", json={"type": "obs.x"}, headers=tokens["ci"])).status_code == 201
    assert (await outside.put("/api/v1/sources/ci", json={"subtrees": ["wiki"]}, headers=tokens["root"])).status_code == 200
    assert (await outside.post("/api/v1/messages", json={"type": "obs.x"}, headers=tokens["ci"])).status_code == 403
    assert (await outside.post("/api/v1/messages", json={"type": "wiki.x"}, headers=tokens["ci"])).status_code == 201


async def test_the_last_administrator_stays_one(outside, tokens, bench):
    for change in ({"is_admin": False}, {"is_active": False}):
        refused = await outside.patch("/api/v1/people/root", json=change, headers=tokens["root"])
        assert (refused.status_code, refused.json()["type"]) == (409, "urn:angelia:conflict")
    assert (await outside.patch("/api/v1/people/root", json={"is_admin": True, "name": "Root"}, headers=tokens["root"])).status_code == 200
    await bench.call("PATCH", "/api/v1/people/bob", {"is_admin": True}, 200)
    await bench.call("PATCH", "/api/v1/people/bob", {"is_active": False}, 200)
    assert (await outside.patch("/api/v1/people/root", json={"is_admin": False}, headers=tokens["root"])).status_code == 409
    await bench.call("PATCH", "/api/v1/people/bob", {"is_active": True}, 200)
    assert (await outside.patch("/api/v1/people/root", json={"is_admin": False}, headers=tokens["root"])).status_code == 200


async def test_a_batch_in_which_a_key_came_with_other_content(outside, tokens):
    first = await outside.post("/api/v1/messages", json={"type": "obs.x", "idempotency_key": "z1"}, headers=tokens["ci"])
    other = {"type": "obs.y", "idempotency_key": "z1"}
    again = {"type": "obs.x", "idempotency_key": "z1"}
    for batch, at in (([other], "0"), ([again, other, other], "1, 2")):
        refused = await outside.post("/api/v1/messages", json=batch, headers=tokens["ci"])
        assert (refused.status_code, refused.json()["type"]) == (409, "urn:angelia:conflict")
        assert refused.json()["detail"].endswith(f": {at}")
    mixed = await outside.post("/api/v1/messages", json=[other, {"type": "obs.z"}], headers=tokens["ci"])
    assert mixed.status_code == 201
    assert [item["status"] for item in mixed.json()["items"]] == ["conflict", "accepted"]
    assert mixed.json()["items"][0]["id"] == first.json()["id"]


async def test_the_wrong_event_of_a_batch_is_named(outside, tokens):
    event = {"specversion": "1.0", "type": "obs.x", "source": "/ci", "id": "1"}
    wire = {"Content-Type": "application/cloudevents-batch+json"} | tokens["ci"]
    for wrong, field in (({"specversion": "2"}, "1.specversion"), ({"data": {"subject": "x" * 300}}, "1.subject"), ({"a_b": ""}, "1")):
        refused = await outside.post("/api/v1/messages", json=[event, event | {"id": "2"} | wrong], headers=wire)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)


async def test_every_problem_says_its_kind(outside, tokens):
    asked = [
        ("GET", "/api/v1/messages?limit=0", None, "invalid-input", "limit"),
        ("GET", "/api/v1/messages?limit=-1", None, "invalid-input", "limit"),
        ("GET", "/api/v1/messages?after=x", None, "invalid-input", "after"),
        ("GET", "/api/v1/people/alice/inbox?before=x", None, "invalid-input", "before"),
        ("POST", "/api/v1/people", {"login": "é"}, "invalid-input", "login"),
        ("GET", "/api/v1/nowhere", None, "not-found", ""),
        ("DELETE", "/api/v1/people", None, "method-not-allowed", ""),
        ("DELETE", "/api/v1/messages", None, "method-not-allowed", ""),
    ]
    for method, path, body, kind, field in asked:
        said = (await outside.request(method, path, json=body, headers=tokens["root"])).json()
        assert said["type"] == f"urn:angelia:{kind}", path
        assert said.get("errors", [{"field": ""}])[0]["field"] == field, path
        assert not said["detail"].startswith("Value error")


@pytest.mark.parametrize(
    ("body", "headers", "query", "expected"),
    [
        (b"it works", {}, "?to=alice", {"body": "it works", "to": [{"id": "alice"}]}),
        (b"text", {"Title": "Hello", "Priority": "5", "Tags": "a=b,c", "To": "alice,bob"}, "",
         {"subject": "Hello", "severity": "urgent", "tags": [["a", "b"], ["c", "true"]], "to": [{"id": "alice"}, {"id": "bob"}]}),
        (b"subject=Hi&to=alice&to=bob", {"Content-Type": "application/x-www-form-urlencoded"}, "",
         {"subject": "Hi", "to": [{"id": "alice"}, {"id": "bob"}]}),
        (b'{"subject":"J"}', {"Content-Type": "application/json"}, "", {"subject": "J"}),
    ],
)  # fmt: skip
async def test_publishing_in_one_line(outside, tokens, bench, body, headers, query, expected):
    answer = await outside.post(f"/api/v1/publish/free.type{query}", content=body, headers=tokens["root"] | headers)
    assert answer.status_code == 201, answer.text
    stored = (await outside.get(f"/api/v1/messages/{answer.json()['id']}", headers=tokens["root"])).json()
    assert {name: stored.get(name) for name in expected} == expected
    assert stored["type"] == "free.type"


async def test_cloudevents_in_all_three_forms(outside, tokens):
    event = CloudEvent(
        {"type": "obs.build.fail", "source": "/ci", "subject": "KDE/okular", "id": "e1", "time": "2026-11-24T09:00:00Z", "to": "alice"},
        {"arch": "s390x", "subject": "failed"},
    )
    for convert, status in ((to_structured, 201), (to_binary, 200)):
        headers, body = convert(event)
        answer = await outside.post("/api/v1/messages", content=body, headers=tokens["ci"] | dict(headers))
        assert answer.status_code == status, answer.text
    stored = (await outside.get(f"/api/v1/messages/{answer.json()['id']}", headers=tokens["ci"])).json()
    assert (stored["object"], stored["params"], stored["occurred_at"]) == ("KDE/okular", {"arch": "s390x"}, "2026-11-24T09:00:00Z")
    batch = json.dumps([{"specversion": "1.0", "type": "obs.x", "source": "/ci", "id": str(n)} for n in range(3)])
    many = await outside.post("/api/v1/messages", content=batch, headers=tokens["ci"] | {"Content-Type": "application/cloudevents-batch+json"})
    assert len(many.json()["items"]) == 3


async def test_extensions_of_events(outside, tokens):
    event = {
        "specversion": "1.0", "type": "obs.build.fail", "source": "/ci", "id": "4711", "subject": "KDE/okular", "time": "2026-11-24T09:00:00Z",
        "to": "alice,group:kde", "severity": "high", "actor": "bob", "dedupkey": "okular-s390x", "thread": "okular", "test": True,
        "data": {"subject": "okular failed", "body": "on s390x", "arch": "s390x"},
    }  # fmt: skip
    answer = await outside.post("/api/v1/messages", json=event, headers={"Content-Type": "application/cloudevents+json"} | tokens["ci"])
    stored = (await outside.get(answer.headers["location"], headers=tokens["ci"])).json()
    expected = {
        "to": [{"id": "alice"}, {"id": "group:kde"}], "severity": "high", "actor": "bob", "collapse_key": "okular-s390x", "thread": "okular",
        "test": True, "object": "KDE/okular", "subject": "okular failed", "body": "on s390x", "params": {"arch": "s390x"},
    }  # fmt: skip
    assert {name: stored.get(name) for name in expected} == expected
    assert stored["sender"]["id"] == "/ci"


async def test_events_that_libraries_wrote_as_bytes(outside, tokens):
    event = {"specversion": "1.0", "type": "obs.x", "source": "/ci", "id": "e"}
    wire = {"Content-Type": "application/cloudevents+json"} | tokens["ci"]
    packed = {
        "a": {"data_base64": "eyJzdWJqZWN0IjoicyIsIm4iOjF9"},
        "b": {"data_base64": "eyJzdWJqZWN0IjoicyIsIm4iOjF9", "datacontenttype": "application/vnd.x+json; charset=utf-8"},
        "c": {"data_base64": "w6Q=", "datacontenttype": "text/plain"},
    }
    found = []
    for name, more in packed.items():
        answer = await outside.post("/api/v1/messages", json=event | more | {"id": name}, headers=wire)
        assert answer.status_code == 201, answer.text
        stored = (await outside.get(f"/api/v1/messages/{answer.json()['id']}", headers=tokens["ci"])).json()
        found.append((stored.get("subject"), stored.get("params"), stored.get("body")))
    assert found[:2] == [("s", {"n": "1"}, found[0][2])] * 2 and found[2][2] == "ä"


async def test_events_with_long_names_are_told_apart(outside, tokens):
    event = {"specversion": "1.0", "type": "obs.x", "source": f"https://ci.example.org/{'x' * 300}"}
    answers = [await outside.post("/api/v1/messages", json=event | {"id": name}, headers={"Content-Type": "application/cloudevents+json"} | tokens["ci"])
               for name in ("1", "2", "2")]  # fmt: skip
    assert [answer.status_code for answer in answers] == [201, 201, 200]
    assert len({answer.json()["id"] for answer in answers}) == 2


BAD = [
    (b"{", {}, 400), (b'{"type":"obs.x","type":"obs.y"}', {}, 400), (b"null", {}, 422), (b'{"type":"obs x"}', {}, 422),
    (b'{"type":"obs.x","body":"' + b"x" * 70_000 + b'"}', {}, 413), (b"x" * 17_000_000, {}, 413),
    (b"x", {"Content-Type": "image/png"}, 415), (b"\x1f\x8b\x00", {"Content-Encoding": "gzip"}, 400), (b"{}", {"Content-Encoding": "br"}, 415),
    (b'{"type":"obs.x"}', {"Idempotency-Key": "a b"}, 400), (b'{"type":"obs.x"}', {"Idempotency-Key": "x" * 300}, 400),
]  # fmt: skip


@pytest.mark.parametrize(("body", "headers", "status"), BAD, ids=range(len(BAD)))
async def test_bad_posts_are_told_and_nothing_is_stored(outside, tokens, bench, body, headers, status):
    headers = {"Content-Type": "application/json"} | tokens["ci"] | headers
    answer = await outside.post("/api/v1/messages", content=body, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert "Traceback" not in answer.text
    assert await bench.store.list_messages(person_id=None) == []


async def test_a_gzip_bomb_stays_small(outside, tokens):

    bomb = gzip.compress(b" " * 50_000_000)
    answer = await outside.post("/api/v1/messages", content=bomb, headers=tokens["ci"] | {"Content-Encoding": "gzip"})
    assert answer.status_code == 413


PATHS = ["/api/v1/people", "/api/v1/groups", "/api/v1/sources", "/api/v1/deliveries", "/api/v1/agents", "/api/v1/parked", "/api/v1/backlog",
         "/api/v1/conservation", "/api/v1/audit", "/api/v1/templates", "/api/v1/relations?object=x"]  # fmt: skip
HERS = ["", "/preferences", "/rules", "/types", "/addresses", "/inbox", "/inbox/counts", "/feeds", "/tokens", "/effective?type=a"]


async def test_rights(outside, tokens):
    for path in PATHS:
        assert (await outside.get(path)).status_code == 401, path
        assert (await outside.get(path, headers=tokens["alice"])).status_code == 403, path
        assert (await outside.get(path, headers=tokens["ci"])).status_code == 403, path
        assert (await outside.get(path, headers=tokens["root"])).status_code == 200, path
    for rest in HERS:
        path = f"/api/v1/people/alice{rest}"
        assert (await outside.get(path)).status_code == 401, path
        assert (await outside.get(path, headers=tokens["bob"])).status_code == 404, path
        assert (await outside.get(path, headers=tokens["ci"])).status_code == 404, path
        for who in ("alice", "root"):
            assert (await outside.get(path, headers=tokens[who])).status_code == 200, path
        assert (await outside.get(path.replace("alice", "me"), headers=tokens["alice"])).status_code == 200, path
    changes = {"is_admin": True}
    assert (await outside.patch("/api/v1/people/alice", json=changes, headers=tokens["alice"])).status_code == 403
    assert (await outside.patch("/api/v1/people/alice", json={"login": "root"}, headers=tokens["alice"])).status_code == 422
    assert (await outside.post("/api/v1/people/me/tokens", json={"scopes": ["admin"]}, headers=tokens["alice"])).status_code == 422


async def test_a_revoked_token_is_refused(outside, tokens, bench, house):
    (token,) = (await bench.call("GET", "/api/v1/people/alice/tokens"))["items"]
    await bench.call("DELETE", f"/api/v1/people/alice/tokens/{token['id']}", status=204)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app_of(house)), base_url="http://hub") as fresh:
        assert (await fresh.get("/api/v1/people/me", headers=tokens["alice"])).status_code == 401


async def test_versions_of_preferences(outside, tokens):
    path, headers = "/api/v1/people/me/preferences", tokens["alice"]
    first = await outside.get(path, headers=headers)
    assert first.headers["etag"] == '"0"'
    assert (await outside.put(path, json={}, headers=headers | {"If-Match": '"0"'})).headers["etag"] == '"1"'
    assert (await outside.put(path, json={}, headers=headers | {"If-Match": '"0"'})).status_code == 409
    wrong = await outside.put(path, json={"preferences": {"*": {"mail": "sometimes"}}}, headers=headers)
    assert wrong.json()["errors"][0]["field"] == "preferences.*.mail"


async def test_feeds_are_valid_private_and_revocable(outside, tokens, bench):
    await bench.post(to=["alice"], subject="<b>x</b> ]]> &", body="# one\n<script>", body_format="markdown")
    await bench.work()
    made = (await outside.post("/api/v1/people/me/feeds", json={"title": "T"}, headers=tokens["alice"])).json()
    atom, jsonfeed = (made[form].replace("http://127.0.0.1:8080", "") for form in ("atom", "json"))
    answer = await outside.get(atom)
    parsed = feedparser.parse(answer.text)
    assert not parsed.bozo
    assert parsed.entries[0].title == "<b>x</b> ]]> &"
    assert "<script" not in answer.text
    assert "noindex" in answer.headers["x-robots-tag"]
    assert (await outside.get(atom, headers={"If-None-Match": answer.headers["etag"]})).status_code == 304
    assert (await outside.get(jsonfeed)).json()["items"][0]["id"] == parsed.entries[0].id
    assert (await outside.get("/feeds/guess.atom")).status_code == 404
    rotated = (await outside.post(f"/api/v1/people/me/feeds/{made['id']}/rotate", headers=tokens["alice"])).json()
    assert (await outside.get(atom)).status_code == 404
    assert (await outside.delete(f"/api/v1/people/me/feeds/{made['id']}", headers=tokens["alice"])).status_code == 204
    assert (await outside.get(rotated["atom"].replace("http://127.0.0.1:8080", ""))).status_code == 404


async def test_the_hermes_forms(outside, tokens, bench):  # gaps G-1 to G-4, cases B6, B7
    headers = tokens["ci"] | {"Content-Type": "application/xml"}
    stored = await outside.post("/hermes/alice/example", content=XML % b"example", headers=headers)
    assert stored.status_code == 201, stored.text
    named = XML.replace(b"<h:body>", b'<h:recipients><h:to id="bob"/></h:recipients><h:body>')
    assert (await outside.post("/hermes/bob/example", content=named % b"example", headers=headers)).status_code == 201
    assert (await outside.post("/hermes/alice/example", content=named % b"example", headers=headers)).status_code == 400
    assert (await outside.post("/hermes/example", content=XML % b"other", headers=headers)).status_code == 400
    assert (await outside.post("/hermes/example", content=b"<", headers=headers)).status_code == 400
    assert (await outside.put("/hermes/example", content=XML, headers=headers)).status_code == 405
    keyed = headers | {"Idempotency-Key": "h1"}
    assert [(await outside.post("/hermes/example", content=XML % b"example", headers=keyed)).status_code for _ in range(2)] == [201, 200]
    await bench.call("PUT", "/api/v1/types/obs.build.fail", {"aliases": ["OBS_BUILD_FAIL"]}, 200)
    legacy = await outside.post("/hermes/", data={"rm": "notify", "_type": "OBS_BUILD_FAIL", "package": "okular"}, headers=tokens["ci"])
    assert legacy.text.isdigit()
    indented = XML.replace(b"<h:body>text</h:body>", b"<h:body>\n  one\n    two\n  </h:body>") % b"example"
    (answer,) = [await outside.post("/hermes/bob/example", content=indented, headers=headers)]
    (told,) = [one for one in await bench.store.list_messages(person_id=None) if public_id("msg", one.message_id) in answer.text]
    assert told.body == "  one\n    two"
    (kept,) = await bench.store.list_messages(person_id=None, subtree="obs")
    assert (kept.type, kept.params) == ("obs.build.fail", {"package": "okular"})
    assert (await outside.get("/hermes/?rm=notify&_type=x", headers=tokens["ci"])).status_code == 405
    await bench.work()
    assert (await outside.get("/hermes/alice/")).status_code == 401
    assert (await outside.get("/hermes/alice/", headers=tokens["bob"])).status_code == 404
    listed = await outside.get("/hermes/alice/example", headers=tokens["alice"])
    assert b'id="ci"' in listed.content
    as_json = await outside.get("/hermes/alice/", headers=tokens["alice"] | {"Accept": "application/json"})
    assert [item["body"] for item in as_json.json()["items"]] == ["text"]


async def test_head_is_where_get_is(outside, tokens, bench):
    await bench.post(to=["alice"], subject="hello")
    await bench.work()
    made = (await outside.post("/api/v1/people/me/feeds", json={}, headers=tokens["alice"])).json()
    feed = made["atom"].replace("http://127.0.0.1:8080", "")
    for path in ("/healthz/live", "/healthz/ready", "/metrics", "/version", "/sign-in", "/api/v1/messages", "/api/v1/people/me/inbox", feed):
        got, head = [await outside.request(method, path, headers=tokens["alice"]) for method in ("GET", "HEAD")]
        assert (got.status_code, head.status_code, head.content) == (200, 200, b""), path
        assert head.headers["content-type"] == got.headers["content-type"] and head.headers.get("etag") == got.headers.get("etag"), path
    assert (await outside.head("/api/v1/people/me", headers={})).status_code == 401
    assert (await outside.head("/nothing")).status_code == 404
    assert (await outside.head("/api/v1/publish/a")).headers["allow"] == "POST"
    refused = await outside.head("/api/v1/parked/release", headers=tokens["root"])
    assert (refused.status_code, refused.headers["allow"], refused.content) == (405, "POST", b"")


async def test_probes_and_odd_requests(outside, bench):
    assert (await outside.get("/healthz/live")).status_code == 200
    assert (await outside.get("/healthz/ready")).status_code == 200
    metrics = (await outside.get("/metrics")).text
    assert "angelia_events_received_total" in metrics
    for path in ("/api/%00", "/../../etc/passwd", "/nothing"):
        answer = await outside.get(path)
        assert answer.status_code in (400, 404), path
        assert "location" not in answer.headers
    # Whatever host a request names, nobody is sent off-site.
    assert (await outside.get("//evil.example/")).headers.get("location", "/sign-in") == "/sign-in"
    assert (await outside.request("TRACE", "/api/v1/people")).status_code == 405
    for query in ("limit=-1", "limit=1e9", "limit=NaN", "limit=1_0", "after=msg_x"):
        assert (await bench.api.get(f"/api/v1/messages?{query}")).status_code in (400, 422), query
    assert (await bench.api.get("/api/v1/messages?limit=-1")).json()["detail"] == "a whole number in ASCII digits"
    assert (await outside.get("/api/v1/openapi.json")).json()["openapi"].startswith("3.1")
    assert (await outside.get("/version")).headers["x-content-type-options"] == "nosniff"
