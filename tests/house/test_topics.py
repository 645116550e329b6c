"""What everybody may read: public topics, their feeds, and following one; and the way back from one click too many."""

import re

import feedparser
import pytest
from tests.house.browsing import browsers  # noqa: F401 - a fixture


@pytest.fixture
async def nobody(browsers):  # noqa: F811
    return await browsers("")


async def mark(bench, key, is_public, **said):
    await bench.call("PUT", f"/api/v1/types/{key}", {"is_public": is_public} | said, 200)


async def test_only_what_is_marked_is_shown_and_never_to_whom(bench, nobody):
    await bench.person("alice")
    await bench.post("obs.build", to=["alice"], subject="before the mark")
    await bench.work()
    await mark(bench, "obs", True, labels={"en": "Builds", "de": "Bauten"}, descriptions={"en": "All of them."})
    await mark(bench, "obs.secret", False)
    await bench.post("obs.build", to=["alice"], cc=["bob"], actor="carol", subject="public one", params={"who": "dave"}, tags=[["arch", "s390x"]])
    await bench.post("obs.secret.plan", to=["alice"], subject="not for all")
    await bench.post("obs.build", to=["alice", "public:topics"], restricted=True, subject="for few")
    await bench.post("obs.build", to=["alice"], test=True, subject="only a test")
    await bench.post("wiki.edit", to=["alice", "public:topics"], subject="elsewhere")
    await bench.work()
    for path in ("/topics", "/topics/obs", "/topics/obs.build", "/topics/obs.atom", "/topics/obs.json", "/api/v1/topics/obs"):
        shown = await nobody.get(path)
        assert "public one" in shown, path
        for hidden in ("before the mark", "not for all", "for few", "only a test", "elsewhere", "alice", "bob", "carol", "dave", "public:topics"):
            assert hidden not in shown, (path, hidden)
    assert "Builds" in await nobody.get("/topics")
    german = await nobody.api.get("/topics", headers={"Accept-Language": "de"})
    assert "Builds" in german.text or "Bauten" in german.text
    for path in ("/topics/obs.secret", "/topics/obs.secret.plan", "/topics/wiki", "/topics/nope", "/topics/NO%20type", "/topics/wiki.atom"):
        await nobody.get(path, 404)
        await nobody.get(f"/api/v1{path.removesuffix('.atom')}", 422 if "%20" in path else 404)


async def test_a_mark_taken_back_counts_at_once(bench, nobody):
    await mark(bench, "obs", True)
    await bench.post("obs.build", subject="public one")
    await bench.work()
    assert "public one" in await nobody.get("/topics/obs")
    await mark(bench, "obs.build", False)
    assert "public one" not in await nobody.get("/topics/obs")
    await mark(bench, "obs", None)
    await nobody.get("/topics/obs", 404)
    assert "No topics are public" in await nobody.get("/topics")


async def test_the_public_is_nobody(bench, nobody):
    await mark(bench, "obs", True)
    assert (await bench.call("GET", "/api/v1/people"))["items"] == []
    refused = await nobody.api.post("/sign-in", data={"login": "public:topics", "password": "x"})
    assert refused.status_code == 401


async def test_a_topic_has_pages_and_valid_feeds(bench, nobody):
    await mark(bench, "obs", True, labels={"en": "Builds"})
    await bench.call("POST", "/api/v1/messages", [{"type": "obs.build", "subject": f"number {n:02}", "body": "<b>x</b>"} for n in range(60)], 201)
    await bench.work()
    first = await nobody.get("/topics/obs")
    assert "number 59" in first and "number 09" not in first
    assert "number 09" in await nobody.get(re.search(r"/topics/obs\?before=\w+", first)[0])
    answer = await nobody.api.get("/topics/obs.atom")
    feed = feedparser.parse(answer.text)
    assert not feed.bozo and feed.feed.title == "Builds" and len(feed.entries) == 50
    assert feed.entries[0].link.startswith("http://127.0.0.1:8080/topics/obs.build#msg_")
    again = await nobody.api.get("/topics/obs.atom", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    await nobody.get("/topics/obs?before=nonsense", 422)


async def test_following_a_topic(bench, nobody, browsers):  # noqa: F811
    await mark(bench, "obs", True)
    alice = await browsers("alice")
    assert "Sign in to follow" in await nobody.get("/topics/obs")
    await nobody.post("/topics/obs/follow", 303)  # to signing in
    await alice.post("/topics/wiki/follow", 404)
    assert await alice.post("/topics/obs/follow") == "/topics/obs"
    await alice.post("/topics/obs/follow")
    assert "You follow it" in await alice.get("/topics/obs")
    (rule,) = (await bench.call("GET", "/api/v1/people/alice/rules"))["items"]
    assert (rule["type"], rule["do"], rule["final"]) == ("obs", {"web": "now"}, False)
    message = await bench.post("obs.build", subject="public one")
    await bench.work()
    assert (await bench.why(message, "alice"))["because"] == ["your rule topic-obs matches"]
    assert len((await bench.call("GET", "/api/v1/people/alice/inbox"))["items"]) == 1
    await alice.post("/topics/obs/leave")
    assert (await bench.call("GET", "/api/v1/people/alice/rules"))["items"] == []


async def test_sign_in_leads_to_the_topics(nobody):
    assert 'href="/topics"' in await nobody.get("/sign-in")
