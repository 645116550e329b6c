"""Her ways: addresses, feeds, tokens, sessions, profile, as pages and over the API; and wrong input."""

import asyncio
import json
import re
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.house.browsing import WORDS, add_address, alice, browsers, code_of, link_of  # noqa: F401 - two are fixtures
from tests.house.conftest import NOW

from angelia.flow.verification import verification_link
from angelia.front import app_of
from angelia.model.errors import StoreUnavailable
from angelia.model.person import AddressState
from angelia_testing.recording import RecordingAgent


async def test_an_address_is_added_verified_tried_and_deleted(bench, alice):  # noqa: F811
    assert "No address yet" in await alice.get("/addresses")
    number = await add_address(alice)
    shown = await alice.get(f"/addresses?done=added&at={number}")
    assert "not verified" in shown and "A code is on its way there" in shown and "as in alice@example.org" in shown
    assert "this address is not verified" in await alice.post(f"/addresses/{number}/resume", 409)
    assert "wrong, too old" in await alice.post(f"/addresses/{number}/verify", 422, code="abc")
    code = code_of(bench)
    assert (await alice.post(f"/addresses/{number}/verify", code=f"{code[:3]} {code[3:]}")).startswith("/addresses?done=verified")
    assert "Yours since" in await alice.get("/addresses")
    assert (await alice.post(f"/addresses/{number}/pause")).startswith("/addresses?done=paused")
    assert "until you resume it" in await alice.get("/addresses?done=paused")
    assert "verify or resume it first" in await alice.post(f"/addresses/{number}/test", 409)
    await alice.post(f"/addresses/{number}/resume")
    assert "Delete this address?" in await alice.get(f"/addresses/{number}/delete")
    await alice.post(f"/addresses/{number}/delete")
    assert "No address yet" in await alice.get("/addresses?done=deleted")


async def test_a_link_asks_before_it_verifies_and_works_once(bench, alice, browsers):  # noqa: F811
    number = await add_address(alice)
    link, bob, nobody = link_of(bench), await browsers("bob"), await browsers("")
    assert "Yes, it is mine" in await alice.get(link)
    assert (await bench.store.address(number)).state is AddressState.UNVERIFIED
    sent_away = await nobody.api.get(link)
    assert sent_away.status_code == 303 and sent_away.headers["location"].startswith("/sign-in?next=/addresses/verify")
    await bob.get(link, 404)
    token = parse_qs(urlsplit(link).query)["token"][0]
    await bob.post("/addresses/verify", 404, token=token)
    await alice.post("/addresses/verify", 403, token=("y" if token[0] == "x" else "x") + token[1:])
    assert (await alice.api.get(link)).headers["referrer-policy"] == "no-referrer"
    assert (await alice.post("/addresses/verify", token=token)).startswith("/addresses?done=verified")
    await alice.post("/addresses/verify", 422, token=token)


async def test_codes_are_few_and_end(bench, alice, browsers, house):  # noqa: F811 - checklist S31-S33
    number = await add_address(alice)
    for _ in range(2):
        await alice.post(f"/addresses/{number}/code")
    assert "three codes went to this address today" in await alice.post(f"/addresses/{number}/code", 429)
    bob = await browsers("bob")
    await bob.post("/addresses", 429, agent="mail", value="alice@example.org")  # over all people
    assert len(bench.mail.letters) == 3
    right = code_of(bench)
    for wrong in range(5):
        await alice.post(f"/addresses/{number}/verify", 422, code=f"x{wrong}")
    assert "tried too often" in await alice.post(f"/addresses/{number}/verify", 422, code=right)


async def test_codes_that_are_asked_for_at_the_same_time_are_few_too(bench, alice):  # noqa: F811
    number = await add_address(alice)
    person = await bench.store.person("alice")
    for _ in range(4):  # what others asked for between our look and our own code
        await bench.store.put_code(number, "x", NOW + timedelta(days=3650))
    await alice.post(f"/addresses/{number}/code", 429)
    assert len(bench.mail.letters) == 1 and person is not None


async def test_a_person_has_the_hub_send_few_codes_to_strangers(bench, alice):  # noqa: F811
    for number in range(10):
        await add_address(alice, f"stranger{number}@example.org")
    await alice.post("/addresses", 429, agent="mail", value="stranger10@example.org")
    assert len(bench.mail.letters) == 10


async def test_a_test_reaches_this_address_only(bench, alice):  # noqa: F811
    await bench.person("bob", preferences={"rules": [{"type": "#", "do": {"mail": "now"}}]})
    await bench.call("PUT", "/api/v1/people/alice/preferences", {"paused": ["mail"], "mutes": {"x": "full"}}, 200)
    for value in ("alice@example.org", "alice@home.example.org"):
        await bench.call("POST", "/api/v1/people/alice/addresses", {"agent": "mail", "value": value, "is_verified": True}, 201)
    second = (await bench.call("GET", "/api/v1/people/alice/addresses"))["items"][1]["id"]
    for _ in range(3):
        await alice.post(f"/addresses/{second}/test")
    assert "too many tries" in await alice.post(f"/addresses/{second}/test", 429)
    await bench.work()
    assert [(letter.person.login, letter.address.value, letter.message.is_test) for letter in bench.mail.letters] == [
        ("alice", "alice@home.example.org", True)
    ] * 3
    assert (await bench.call("GET", "/api/v1/people/alice/inbox"))["items"] == []


async def test_a_foreign_angelia_test_is_a_message_like_others(bench, house):
    await bench.person("alice")
    await bench.post("angelia.test", to=["alice"], params={"agent": "mail", "address": "alice@example.org"}, test=True)
    await bench.work()
    assert bench.mail.letters == []


async def test_a_refused_address_is_verified_again_not_resumed(bench, alice):  # noqa: F811
    number = await add_address(alice)
    await alice.post(f"/addresses/{number}/verify", code=code_of(bench))
    for state in (AddressState.DEAD, AddressState.BOUNCING):
        await bench.store.set_address(number, state=state, now=NOW)
        assert "verify it again" in await alice.get("/addresses")
        await alice.post(f"/addresses/{number}/resume", 409)
        await alice.post(f"/addresses/{number}/pause", 409)  # else it could be resumed from there
    await alice.post(f"/addresses/{number}/code")
    await alice.post(f"/addresses/{number}/verify", code=code_of(bench))
    assert (await bench.store.address(number)).state is AddressState.OK


@pytest.mark.parametrize(
    ("agent", "value"), [("mail", "no address"), ("mail", ""), ("web", "x"), ("nope", "alice@example.org"), ("mail", "a\nb@c.de")]
)
async def test_wrong_addresses_are_told_and_kept_in_the_form(alice, agent, value):  # noqa: F811
    shown = await alice.post("/addresses", 422, agent=agent, value=value)
    assert 'role="alert"' in shown and "Traceback" not in shown


async def test_the_same_address_twice_is_told(alice):  # noqa: F811
    await add_address(alice)
    assert "there already" in await alice.post("/addresses", 409, agent="mail", value="alice@example.org")


async def test_a_feed_is_shown_once_rotated_and_revoked(bench, alice, browsers):  # noqa: F811
    await bench.post("obs.build.fail", to=["alice"], subject="okular failed")
    await bench.post("wiki.edit", to=["alice"], subject="a page")
    await bench.work()
    form = await alice.get("/feeds/new?type=OBS.build&state=unread&sort=received")
    assert "okular failed" in form and "a page" not in form
    made = await alice.post("/feeds", 200, title="Builds", type="OBS.build", text="")
    atom = re.search(r"http://\S+?\.atom", made)[0]
    listed = await alice.get("/feeds")
    assert atom not in listed and "OBS.build" in listed
    assert 'data-label="Messages">1</td>' in listed
    answer = await alice.api.get(urlsplit(atom).path)
    assert "okular failed" in answer.text and "a page" not in answer.text
    assert answer.headers["referrer-policy"] == "no-referrer"
    (feed,) = (await bench.call("GET", "/api/v1/people/alice/feeds"))["items"]
    assert feed["query"] == {"type": "OBS.build"}
    assert "okular failed" in await alice.get(f"/feeds/{feed['id']}/preview")
    assert "ends at once" in await alice.get(f"/feeds/{feed['id']}/rotate")
    new = re.search(r"http://\S+?\.json", await alice.post(f"/feeds/{feed['id']}/rotate", 200))[0]
    await alice.get(urlsplit(atom).path, 404)
    await alice.get(urlsplit(new).path)
    await alice.post(f"/feeds/{feed['id']}/revoke")
    await alice.get(urlsplit(new).path, 404)
    assert "No feeds yet" in await alice.get("/feeds?done=revoked")


async def test_a_feed_holds_what_is_delivered_to_feeds_whatever_is_in_the_inbox(bench, alice, outside):  # noqa: F811
    wishes = {"fed.only": {"web": "off", "feed": "now"}, "seen.only": {"web": "now", "feed": "off"}}
    await bench.call("PUT", "/api/v1/people/alice/preferences", {"preferences": wishes}, 200)
    for kind in ("fed.only", "seen.only", "fed.both"):
        await bench.post(kind, to=["alice"], subject=kind)
    await bench.work()
    made = await bench.call("POST", "/api/v1/people/alice/feeds", {}, 201)

    async def held():
        items = (await outside.get(urlsplit(made["json"]).path)).json()["items"]
        return [(item["id"], item["title"]) for item in items]

    before = await held()
    assert [title for _, title in before] == ["fed.both", "fed.only"]
    page = await alice.get(f"/feeds/{made['id']}/preview")
    assert "fed.only" in page and "seen.only" not in page and 'data-label="Messages">2</td>' in await alice.get("/feeds")
    for change in ("read", "archive"):
        await bench.call("POST", "/api/v1/people/alice/inbox/mark", {"change": change}, 200)
    assert await held() == before, "what she does with her inbox takes nothing out of a feed"
    (fed,) = [entry for entry, title in before if title == "fed.only"]
    answer = await alice.api.get(f"/inbox/{fed.removeprefix('urn:angelia:')}")
    assert answer.headers["location"].startswith("/why/"), "its link leads somewhere though it is not in her inbox"


async def test_a_feed_tells_when_it_was_last_read(bench, alice, outside, monkeypatch):  # noqa: F811
    made = await bench.call("POST", "/api/v1/people/alice/feeds", {"title": "all"}, 201)
    path, touches, touch = urlsplit(made["json"]).path, [], bench.store.touch_feed

    async def counted(*asked):
        touches.append(asked)
        return await touch(*asked)

    async def broken(*_):
        raise StoreUnavailable("the disk is full")

    async def last_read_at():
        (feed,) = (await bench.call("GET", "/api/v1/people/alice/feeds"))["items"]
        return feed["last_read_at"]

    assert made["last_read_at"] is None and await last_read_at() is None and ">never<" in await alice.get("/feeds")
    monkeypatch.setattr(bench.store, "touch_feed", broken)
    assert (await outside.get(path)).status_code == 200 and await last_read_at() is None
    monkeypatch.setattr(bench.store, "touch_feed", counted)
    first = await outside.get(path)
    again = await outside.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, len(touches)) == (304, 1), "written once in some minutes"
    assert await last_read_at() is not None and ">never<" not in await alice.get("/feeds")
    await bench.call("POST", f"/api/v1/people/alice/feeds/{made['id']}/rotate", status=200)
    assert await last_read_at() is None, "nobody has read with the new address"


async def test_readers_of_feeds_wait_for_no_write(bench, monkeypatch):
    await bench.person("alice", mail=False)
    made = await bench.call("POST", "/api/v1/people/alice/feeds", {"title": "all"}, 201)
    may_write, is_out = asyncio.Event(), asyncio.Event()

    async def slow(*_):
        await may_write.wait()

    async def send(message):
        if message["type"] == "http.response.body" and not message.get("more_body"):
            is_out.set()

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    monkeypatch.setattr(bench.store, "touch_feed", slow)
    path = urlsplit(made["atom"]).path
    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"", "headers": [(b"host", b"hub")]}
    scope |= {"http_version": "1.1", "scheme": "http", "client": ("127.0.0.1", 5), "server": ("hub", 80), "root_path": ""}
    asked = asyncio.create_task(app_of(bench.house)(scope, receive, send))
    async with asyncio.timeout(60):
        await is_out.wait()
        assert not asked.done()
        may_write.set()
        await asked


async def test_a_wrong_feed_is_told(bench, alice):  # noqa: F811
    assert "severity is one of" in await alice.post("/feeds", 422, title="x", severity="loud")
    assert "severity is one of" in await alice.get("/feeds/new?severity=loud", 422)
    await alice.post("/feeds", 422, title="x" * 300)
    for name, never, fits in (("type", "a b", "OBS.build"), ("tag", "nope", "arch=x"), ("reason", "foo", "role:maintainer")):
        answer = await bench.call("POST", "/api/v1/people/alice/feeds", {"query": {name: never}}, 422)
        assert answer["errors"][0]["field"] == name
        assert re.search(rf'name="{name}"[^>]* aria-invalid="true"', await alice.post("/feeds", 422, **{name: never}))
        await bench.call("POST", "/api/v1/people/alice/feeds", {"query": {name: fits}}, 201)


async def test_a_token_is_shown_once_and_gives_no_more_than_she_has(bench, alice, browsers, outside):  # noqa: F811
    assert 'value="admin"' not in await alice.get("/tokens")
    made = await alice.post("/tokens", 200, title="backup", scopes=["read"], days="30")
    secret = re.search(r"ang_[A-Za-z0-9_-]{20,}", made)[0]
    assert secret not in await alice.get("/tokens") and "backup" in await alice.get("/tokens")
    bearer = {"Authorization": f"Bearer {secret}"}
    assert (await outside.get("/api/v1/people/me/inbox", headers=bearer)).status_code == 200
    assert (await outside.put("/api/v1/people/me/preferences", json={}, headers=bearer)).status_code == 403
    assert "can&#39;t give more" in await alice.post("/tokens", 422, scopes=["read", "admin"])
    assert "at least one" in await alice.post("/tokens", 422, title="x")
    assert "how long" in await alice.post("/tokens", 422, scopes=["read"], days="-1")
    await alice.post("/tokens", 422, scopes=["everything"])

    async def hers():
        (token,) = (await bench.call("GET", "/api/v1/people/alice/tokens"))["items"]
        return token

    async with asyncio.timeout(60):
        while (token := await hers())["last_used_at"] is None:  # noted after the answer
            await asyncio.sleep(0.02)
    assert token["expires_at"] is not None
    assert "stops working" in await alice.get(f"/tokens/{token['id']}/revoke")
    await alice.post(f"/tokens/{token['id']}/revoke")
    assert "No tokens" in await alice.get("/tokens?done=revoked")
    root = await browsers("root")
    assert 'value="admin"' in await root.get("/tokens")


async def test_sessions_are_listed_and_ended(bench, alice, browsers):  # noqa: F811
    other, third = await browsers("alice"), await browsers("alice")
    shown = await alice.get("/sessions")
    assert shown.count("Firefox on Linux</span></button>") == 2 and shown.count("this one") == 1
    listed = (await bench.call("GET", "/api/v1/people/alice/sessions"))["items"]
    assert {session["provider"] for session in listed} == {""}
    theirs = re.findall(r"/sessions/(\d+)/end", await other.get("/sessions"))
    mine = re.search(r"/sessions/(\d+)/end\"><button[^>]*>Sign out here", await other.get("/sessions"))[1]
    assert len(theirs) == 3
    await alice.post(f"/sessions/{mine}/end")
    await other.get("/sessions", 303)
    await alice.post("/sessions/end-others")
    await third.get("/sessions", 303)
    assert "only this browser" in await alice.get("/sessions?done=others")
    await bench.call("DELETE", "/api/v1/people/alice/sessions", status=200)
    async with asyncio.timeout(60):  # another process, as it were: promise P19
        while (await alice.api.get("/sessions")).status_code != 303:
            await asyncio.sleep(0.1)


async def test_a_session_at_rest_too_long_is_not_listed(bench, alice, house):  # noqa: F811
    (session,) = await bench.store.list_sessions((await bench.store.person("alice")).person_id, NOW - timedelta(days=3650))
    await bench.store.touch_session(session.session_id, session.created_at - timedelta(hours=9))
    assert (await bench.call("GET", "/api/v1/people/alice/sessions"))["items"] == []


async def test_a_profile_is_changed(bench, alice):  # noqa: F811
    await alice.post("/profile", name="Alice A.", time_zone="Asia/Kolkata", language="en")
    assert "Alice A." in await alice.get("/profile?done=saved")
    assert (await bench.store.person("alice")).time_zone == "Asia/Kolkata"
    assert "not a time zone" in await alice.post("/profile", 422, name="Alice", time_zone="Mars/Olympus", language="en")
    await alice.post("/profile", 422, name="Alice", time_zone="UTC", language="not a language")
    await alice.post("/profile", name="Alice", time_zone="UTC", language="en", is_admin="true", login="root", is_active="false", person_id="7")
    person = await bench.store.person("alice")
    assert (person.login, person.is_admin, person.is_active) == ("alice", False, True)


async def test_a_password_is_changed(alice, browsers):  # noqa: F811
    other, new = await browsers("alice"), "a longer and newer one"
    assert "not the old password" in await alice.post("/profile/password", 422, old_password="nope", password=new, again=new)
    assert "not the same" in await alice.post("/profile/password", 422, old_password=WORDS, password=new, again=new + "x")
    assert "at least 10" in await alice.post("/profile/password", 422, old_password=WORDS, password="short", again="short")
    await alice.post("/profile/password", old_password=WORDS, password=new, again=new)
    assert "signed out everywhere else" in await alice.get("/profile?done=password")
    await other.get("/profile", 303)
    await other.sign_in("alice", new)


async def test_who_has_no_password_here_gets_none(bench, alice):  # noqa: F811
    person = await bench.store.person("alice")
    await bench.store.put_password(person.person_id, None, NOW)
    assert "through your organisation" in await alice.get("/profile")
    await alice.post("/profile/password", 422, old_password="", password="a longer and newer one", again="a longer and newer one")
    assert await bench.store.password(person.person_id) is None


async def test_all_her_data_and_no_secret(bench, alice):  # noqa: F811
    await bench.post("obs.build.fail", to=["alice"], subject="okular failed")
    await bench.post("obs.build.fail", to=["alice"], subject="archived")
    await bench.work()
    ids = [item["id"] for item in (await bench.call("GET", "/api/v1/people/alice/inbox"))["items"]]
    await bench.call("POST", "/api/v1/people/alice/inbox/mark", {"change": "archive", "ids": ids[:1]}, 200)
    token = (await bench.call("POST", "/api/v1/people/alice/tokens", {"title": "t"}, 201))["secret"]
    feed = (await bench.call("POST", "/api/v1/people/alice/feeds", {"title": "f"}, 201))["atom"]
    answer = await alice.api.get("/profile/export")
    assert answer.headers["content-disposition"].startswith("attachment")
    document = json.loads(answer.text)
    assert {item["message"]["subject"] for item in document["inbox"]} == {"okular failed", "archived"}
    assert document["tokens"][0]["title"] == "t" and document["feeds"][0]["title"] == "f" and document["sessions"]
    assert token not in answer.text and feed not in answer.text and "argon2" not in answer.text


async def test_a_link_of_a_code_that_ended_says_so(bench, alice, house):  # noqa: F811
    number = await add_address(alice)
    link = urlsplit(verification_link("http://hub", house.secret, number, "000000x"))
    await alice.post("/addresses/verify", 422, token=parse_qs(link.query)["token"][0])


def test_agents_of_the_kit_say_what_an_address_looks_like():
    agent = RecordingAgent()
    assert agent.check_address(agent.address_example) == agent.address_example
