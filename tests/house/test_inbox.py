"""The inbox and its messages as pages: views, groups, bulk changes and taking them back, rights, what is live."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from angelia.front import app_of
from angelia.model.moments import public_id
from angelia.store import Session
from angelia.web.signin.sessions import TOUCH
from angelia.wire.callers import secret_hash


@pytest.fixture
async def browser(bench):
    """Makes browsers in which somebody is signed in."""
    made = []

    async def signed_in(login):
        # As signing in leaves it: that itself has its own tests, and costs a hash that is slow on purpose.
        secret = f"secret-{len(made)}"
        person, now = await bench.store.person(login), datetime.now(UTC)
        session = Session(person_id=person.person_id, created_at=now, seen_at=now, ends_at=now + timedelta(days=1))
        await bench.store.open_session(session, secret_hash(secret))
        transport = httpx2.ASGITransport(app_of(bench.house))
        own = {"Sec-Fetch-Site": "same-origin"}
        client = httpx2.AsyncClient(transport=transport, base_url="http://hub", headers=own, cookies={"angelia": secret})
        made.append(client)
        return client

    yield signed_in
    for client in made:
        await client.aclose()


@pytest.fixture
async def filled(bench):
    """Alice maintains okular, about which there is much; one page names her."""
    for login in ("alice", "bob"):
        await bench.person(login, mail=False)
    await bench.call("PUT", "/api/v1/relations?object=KDE/okular", {"roles": {"maintainer": ["alice"]}}, 200)
    for number in range(5):
        kind = "obs.build.fail"
        await bench.post(kind, object="KDE/okular", subject=f"okular failed {number}", thread="t1" if number < 2 else "", severity="high")
    await bench.post("wiki.change", to=["alice"], subject="a page changed", body="see <the> page", tags=[["lang", "de"]])
    await bench.work()
    return bench


def ids_in(text):
    return list(dict.fromkeys(re.findall(r'value="(dlv_\w{13})"', text)))


async def entries(client, query="group=none"):
    answer = await client.get(f"/inbox?{query}")
    assert answer.status_code == 200, answer.text
    return ids_in(answer.text)


async def told(client, answer):
    """Where a form leads to, and the page there."""
    assert answer.status_code == 303, answer.text
    place = answer.headers["location"]
    return place, (await client.get(place)).text


COUNTS = {
    "": 6,
    "type=obs": 5,
    "type=ob": 0,
    "source=nobody": 0,
    "severity=high": 5,
    "reason=role": 5,
    "reason=role:maintainer": 5,
    "reason=role:main": 0,
    "reason=to": 1,
    "tag=lang%3Dde": 1,
    "object=KDE/okular": 5,
    "thread=t1": 2,
    "text=PAGE%20changed": 1,
    "text=%3Cthe%3E": 1,
    "state=unread": 6,
    "state=read": 0,
    "state=archived": 0,
}


async def test_page_and_api_filter_alike(filled, browser):
    client = await browser("alice")
    for query, count in COUNTS.items():
        assert len(await entries(client, f"group=none&{query}".rstrip("&"))) == count, query
        found = await filled.call("GET", f"/api/v1/people/alice/inbox?{query}", status=200)
        assert len(found["items"]) == count, query
        assert (await filled.call("GET", f"/api/v1/people/alice/inbox/counts?{query}", status=200))["total"] == count, query


async def test_the_page_groups_by_object_and_says_how_many(filled, browser):
    client = await browser("alice")
    text = (await client.get("/inbox")).text
    assert "KDE/okular</a></h2>" in text and "5 messages" in text and "2 more" in text
    assert len(ids_in(text)) == 4
    api = await filled.call("GET", "/api/v1/people/alice/inbox?group=object", status=200)
    assert [(group["key"], group["total"], len(group["items"])) for group in api["groups"]] == [("", 1, 1), ("KDE/okular", 5, 3)]
    threads = await filled.call("GET", "/api/v1/people/alice/inbox?group=thread", status=200)
    assert [group["total"] for group in threads["groups"]] == [1, 1, 1, 1, 2]
    by_tag = await filled.call("GET", "/api/v1/people/alice/inbox?group=tag:lang", status=200)
    assert [(group["key"], group["total"]) for group in by_tag["groups"]] == [("de", 1), *[("", 1)] * 5]
    for bad in ("tag:", "because", "tag", "objects"):
        await filled.call("GET", f"/api/v1/people/alice/inbox?group={bad}", status=422)


async def test_pages_follow_each_other_both_ways(filled, browser):
    client = await browser("alice")
    everything = await entries(client)
    first = (await client.get("/inbox?group=none&limit=2")).text
    assert ids_in(first) == everything[:2] and 'rel="prev"' not in first
    second = await client.get(f"/inbox?group=none&limit=2&before={everything[1]}")
    assert ids_in(second.text) == everything[2:4]
    assert f"after={everything[2]}" in second.text and f"before={everything[3]}" in second.text
    assert await entries(client, f"group=none&limit=2&after={everything[2]}") == everything[:2]
    assert await entries(client, "group=none&sort=received") == everything[::-1]
    assert await entries(client, f"group=none&sort=received&limit=2&after={everything[-2]}") == everything[::-1][2:4]
    assert await entries(client, f"group=none&sort=received&limit=2&before={everything[-5]}") == everything[::-1][2:4]
    assert "There is no such page any more" in (await client.get(f"/inbox?group=none&before={everything[-1]}")).text


async def test_what_presses_most_comes_first_where_she_wants_it(filled, browser):
    client = await browser("alice")
    await filled.post("x.y", to=["alice"], severity="low", subject="no hurry")
    await filled.work()
    low, normal, *high = await entries(client)
    assert await entries(client, "group=none&sort=-severity") == [*high, normal, low]
    rising = [low, normal, *high[::-1]]
    assert await entries(client, "group=none&sort=severity") == rising
    first = (await client.get("/inbox?group=none&sort=severity&limit=2")).text
    assert f"sort=severity&amp;group=none&amp;after={normal}" in first and '<option value="severity" selected>' in first and "Next page" in first
    second = (await client.get(f"/inbox?group=none&sort=severity&limit=2&after={normal}")).text
    assert ids_in(second) == rising[2:4] and f"before={rising[2]}" in second
    found, after = [], ""
    while after is not None:
        answer = await filled.call("GET", f"/api/v1/people/alice/inbox?sort=severity&limit=3{after and f'&after={after}'}", status=200)
        found, after = found + [item["id"] for item in answer["items"]], answer["next"]
    assert found == rising
    (await filled.call("GET", f"/api/v1/people/alice/inbox?sort=severity&after={public_id('dlv', 5)}", status=422))


async def test_a_url_of_a_view_says_only_what_differs(filled, browser):
    client = await browser("alice")
    answer = await client.get("/inbox?state=&text=okular&group=object&sort=-received")
    assert (answer.status_code, answer.headers["location"]) == (303, "/inbox?text=okular")
    for wrong in ("state=odd", "severity=odd", "group=odd", "sort=odd", "before=odd", "text=" + "x" * 201):
        assert (await client.get(f"/inbox?{wrong}")).status_code == 422, wrong


async def test_facets_tell_what_another_choice_would_show(filled, browser):
    client = await browser("alice")
    text = (await client.get("/inbox?type=wiki&severity=high")).text
    assert re.search(r"No message fits", text)
    text = (await client.get("/inbox?type=obs")).text
    assert re.search(r'href="/inbox\?type=obs.build"[^>]*><span>obs.build</span> <span class="count quiet">5<', text)
    assert "all types" in text


async def test_bulk_changes_respect_the_view_and_can_be_taken_back(filled, browser):
    client = await browser("alice")
    answer = await client.post("/inbox/mark?type=obs", data={"whole": "1", "change": "archive"})
    place, text = await told(client, answer)
    assert parse_qs(urlsplit(place).query)["count"] == ["5"] and "5 messages are archived" in text
    assert len(await entries(client)) == 1 and len(await entries(client, "group=none&state=archived")) == 5
    undo = {"undo": parse_qs(urlsplit(place).query)["undo"][0], "view": "type=obs"}
    place, text = await told(client, await client.post("/inbox/undo", data=undo))
    assert "5 messages are as they were before" in text and len(await entries(client)) == 6
    _, text = await told(client, await client.post("/inbox/undo", data=undo))
    assert "taken back any more" in text


async def test_undo_touches_only_what_the_change_touched(filled, browser):
    client = await browser("alice")
    first, *_ = await entries(client)
    await client.post("/inbox/mark", data={"ids": [first], "change": "read"})
    answer = await client.post("/inbox/mark", data={"whole": "1", "change": "read"})
    undo = parse_qs(urlsplit(answer.headers["location"]).query)["undo"][0]
    await client.post("/inbox/undo", data={"undo": undo})
    assert await entries(client, "group=none&state=read") == [first]
    stale = await filled.call("POST", "/api/v1/people/alice/inbox/undo", {"undo": undo}, 409)
    assert "taken back" in stale["detail"]
    made = await filled.call("POST", "/api/v1/people/alice/inbox/mark?reason=to", {"change": "archive"}, 200)
    assert made["changed"] == 1
    assert await filled.call("POST", "/api/v1/people/alice/inbox/undo", {"undo": made["undo"]}, 200) == {"changed": 1}
    for wrong in ("", "x", "f" * 200):
        assert (await client.post("/inbox/undo", data={"undo": wrong})).headers["location"] == "/inbox?did=undo"


async def test_selected_ones_and_groups_are_marked_alone(filled, browser):
    client = await browser("alice")
    everything = await entries(client)
    await client.post("/inbox/mark", data={"ids": [*everything[:2], "odd"], "change": "read"})
    assert await entries(client, "group=none&state=read") == everything[:2]
    await client.post("/inbox/mark?within=object&key=KDE/okular", data={"change": "archive"})
    assert len(await entries(client, "group=none&state=archived")) == 5
    _, text = await told(client, await client.post("/inbox/mark", data={"change": "read"}))
    assert "Nothing is selected" in text
    assert (await client.post("/inbox/mark", data={"whole": "1", "change": "odd"})).status_code == 422


async def test_others_can_neither_see_nor_mark(filled, browser):
    alice, bob = await browser("alice"), await browser("bob")
    name = (await entries(alice))[0]
    refused = [await bob.get(f"/inbox/{other}") for other in (name, public_id("dlv", 5), "odd", "msg_0000000000000")]
    bodies = {re.sub(r"dlv_\w+|msg_\w+", "", answer.text) for answer in refused}
    assert {answer.status_code for answer in refused} == {404} and len(bodies) == 1
    for path in ("mark", "object"):
        assert (await bob.post(f"/inbox/{name}/{path}", data={"change": "read", "act": "mute"})).status_code == 404
    place, _ = await told(bob, await bob.post("/inbox/mark", data={"ids": [name], "change": "archive"}))
    assert "count=0" in place and len(await entries(alice)) == 6
    assert "KDE/okular" not in (await bob.get("/inbox")).text


async def test_signed_out_visitors_are_sent_to_sign_in(filled, outside):
    for path in ("/inbox", "/inbox/dlv_0000000000000", "/inbox/live"):
        answer = await outside.get(path)
        assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/sign-in")
    answer = await outside.get("/inbox/live", headers={"HX-Request": "true"})
    assert answer.headers["hx-redirect"].startswith("/sign-in")


async def test_a_change_from_another_site_is_refused(filled, browser):
    client = await browser("alice")
    for path in ("/inbox/mark", "/inbox/undo", f"/inbox/{(await entries(client))[0]}/mark"):
        foreign = await client.post(path, data={"whole": "1", "change": "archive"}, headers={"Sec-Fetch-Site": "cross-site"})
        assert foreign.status_code == 403, path
    assert len(await entries(client)) == 6


async def test_the_message_says_what_why_and_how(filled, browser):
    client = await browser("alice")
    await filled.post(
        "obs.build.fail", object="KDE/okular", subject="<i>100%</i> failed", body="**bold** <script>x</script> [x](javascript:x)", body_format="markdown",
        object_url="https://build.example.org/x", tags=[["arch", "s390x"]], params={"package": "okular"}, sender={"id": "ci", "name": "The builder"}, actor="carol",
    )  # fmt: skip
    await filled.work()
    name = (await entries(client))[0]
    text = (await client.get(f"/inbox/{name}")).text
    for part in (
        "&lt;i&gt;100%&lt;/i&gt; failed", "<strong>bold</strong>", "Because you are maintainer of KDE/okular", "The builder", "carol", "s390x", "package",
        'href="https://build.example.org/x" rel="noopener', "/rules/new?from=", "/types?type=obs.build.fail", "Earlier on this object", "delivered", "<strong>Inbox</strong>",
    ):  # fmt: skip
        assert part in text, part
    assert "<script>x" not in text and 'href="javascript' not in text and "Later on" not in text
    api = await filled.call("GET", f"/api/v1/people/alice/inbox/{name}", status=200)
    assert api["why"]["because"] == ["you are maintainer of KDE/okular"] and api["message"]["subject"] == "<i>100%</i> failed"


async def test_looking_changes_nothing_and_the_open_page_marks(filled, browser):
    client = await browser("alice")
    name = (await entries(client))[0]
    text = (await client.get(f"/inbox/{name}")).text
    assert f'hx-post="/inbox/{name}/mark" hx-trigger="load"' in text
    assert name not in await entries(client, "group=none&state=read")
    assert (await client.post(f"/inbox/{name}/mark", data={"change": "read"}, headers={"HX-Request": "true"})).status_code == 204
    assert await entries(client, "group=none&state=read") == [name]
    assert 'hx-trigger="load"' not in (await client.get(f"/inbox/{name}")).text.partition("<main")[2]
    _, text = await told(client, await client.post(f"/inbox/{name}/mark", data={"change": "archive"}))
    assert "One message is archived" in text and name not in await entries(client)
    assert (await client.post(f"/inbox/{name}/mark", data={"change": "odd"})).status_code == 422


async def test_opening_a_message_keeps_the_undo_of_the_change_before(filled, browser):
    client = await browser("alice")
    first, second, *_ = await entries(client)
    answer = await client.post("/inbox/mark", data={"ids": [first], "change": "archive"})
    await client.post(f"/inbox/{second}/mark", data={"change": "read"}, headers={"HX-Request": "true"})
    undo = parse_qs(urlsplit(answer.headers["location"]).query)["undo"][0]
    assert "count=1" in (await client.post("/inbox/undo", data={"undo": undo})).headers["location"]


async def test_objects_are_muted_and_followed_from_a_message(filled, browser):
    client = await browser("alice")
    page_name, name, *_ = await entries(client)

    async def act(what):
        _, text = await told(client, await client.post(f"/inbox/{name}/object", data={"act": what}))
        document = await filled.call("GET", "/api/v1/people/alice/preferences", status=200)
        return text, document.get("mutes", {}), document.get("follows", [])

    text, mutes, _ = await act("mute")
    assert mutes == {"KDE/okular": "normal"} and 'value="unmute"' in text
    assert (await act("mute-fully"))[1] == {"KDE/okular": "full"}
    assert (await act("unmute"))[1] == {}
    assert (await act("follow"))[2] == ["KDE/okular"]
    assert (await act("unfollow"))[2] == []
    assert (await client.post(f"/inbox/{name}/object", data={"act": "odd"})).status_code == 422
    assert (await client.post(f"/inbox/{page_name}/object", data={"act": "mute"})).status_code == 422


async def test_who_lost_access_sees_it_no_more(filled, browser):
    await filled.call("PUT", "/api/v1/groups/insiders", {"members": ["alice"]}, 200)
    message = await filled.post("sec.x", to=["alice"], subject="embargoed", restricted=True, access=["group:insiders"])
    await filled.work()
    client = await browser("alice")
    made = await filled.call("POST", "/api/v1/people/alice/feeds", {}, 201)
    feed = urlsplit(made["atom"]).path
    token = await filled.call("POST", "/api/v1/people/alice/tokens", {"scopes": ["read"]}, 201)
    own = {"Authorization": f"Bearer {token['secret']}"}
    name = (await entries(client))[0]
    assert "embargoed" in (await client.get(f"/inbox/{name}")).text and "embargoed" in (await client.get(feed)).text
    assert (await client.get(f"/api/v1/messages/{message}", headers=own)).status_code == 200
    await filled.call("PUT", "/api/v1/groups/insiders", {"members": ["bob"]}, 200)
    assert (await client.get(f"/inbox/{name}")).status_code == 404
    assert name not in await entries(client)
    api = [f"/api/v1/people/me/{name}" for name in ("inbox", "decisions", "export")] + ["/api/v1/messages", "/hermes/alice/"]
    for path in ("/inbox", "/inbox?type=sec", feed, "/feeds/new", f"/feeds/{made['id']}/preview", "/why", "/profile/export", *api):
        answer = await client.get(path, headers=own)
        assert answer.status_code == 200 and "embargoed" not in answer.text, path
    for path in (f"/api/v1/messages/{message}", f"/api/v1/messages/{message}/why", f"/api/v1/people/me/inbox/{name}"):
        assert (await client.get(path, headers=own)).status_code == 404, path
    assert (await filled.call("GET", "/api/v1/people/alice/inbox/counts", status=200))["total"] == 6


async def test_open_pages_hear_of_news_and_of_marks_in_other_tabs(filled, browser):
    client, other = await browser("alice"), await browser("alice")
    seen = re.search(r"/inbox/live\?seen=([\w.]+)", (await client.get("/inbox")).text)[1]
    assert (await client.get(f"/inbox/live?seen={seen}")).status_code == 204
    assert (await client.get("/inbox/live")).headers.get("hx-trigger") is None
    await other.post("/inbox/mark", data={"ids": (await entries(client))[:1], "change": "read"})
    # The other browser has an app of its own, like another process: this one looks again after a second.
    answer = await _until_news(client, seen)
    assert answer.headers["hx-trigger"] == "inbox-changed" and ">5<" in answer.text
    seen = re.search(r"seen=([\w.]+)", answer.text)[1]
    await filled.post("x.y", to=["alice"])
    await filled.work()
    answer = await _until_news(client, seen)
    assert ">6<" in answer.text


async def _until_news(client, seen):
    async with asyncio.timeout(60):
        while (answer := await client.get(f"/inbox/live?seen={seen}")).status_code == 204:
            await asyncio.sleep(0.05)
    return answer


async def test_what_a_page_asks_by_itself_keeps_no_session_alive(filled, browser):
    client = await browser("alice")
    person = await filled.store.person("alice")
    (before,) = await filled.store.list_sessions(person.person_id, datetime.now(UTC))
    await filled.store.touch_session(before.session_id, before.seen_at - TOUCH * 2)
    fresh = httpx2.AsyncClient(transport=httpx2.ASGITransport(app_of(filled.house)), base_url="http://hub", cookies=client.cookies)
    async with fresh:
        await fresh.get("/inbox/live")
        assert (await filled.store.list_sessions(person.person_id, datetime.now(UTC)))[0].seen_at == before.seen_at - TOUCH * 2
        await fresh.get("/inbox")
        assert (await filled.store.list_sessions(person.person_id, datetime.now(UTC)))[0].seen_at > before.seen_at - TOUCH


async def test_queries_name_only_what_there_is(filled):
    inbox = "/api/v1/people/alice/inbox"
    for method, place, body in (("GET", "", None), ("GET", "/counts", None), ("POST", "/mark", {"change": "read"})):
        answer = await filled.call(method, f"{inbox}{place}?typ=nothing.at.all", body, 422)
        assert answer["errors"][0]["field"] == "typ" and "type" in answer["detail"]
    for name in ("limit=1", "sort=received", "before=x", "after=x"):
        await filled.call("POST", f"{inbox}/mark?{name}", {"change": "read"}, 422)
    assert (await filled.call("GET", f"{inbox}/counts", status=200))["unread"] == 6
    assert (await filled.call("POST", f"{inbox}/mark?type=wiki&state=all", {"change": "read"}, 200))["changed"] == 1


async def test_the_last_page_has_no_next(filled):
    inbox = "/api/v1/people/alice/inbox"
    assert (await filled.call("GET", f"{inbox}?limit=6", status=200))["next"] is None
    first = await filled.call("GET", f"{inbox}?limit=5", status=200)
    assert first["next"] == first["items"][-1]["id"]
    for place in ("people?limit=2", "messages?limit=6", "objects?limit=1", "deliveries?limit=1"):
        assert (await filled.call("GET", f"/api/v1/{place}", status=200))["next"] is None, place


async def test_beyond_the_ends_there_are_no_groups(filled):
    inbox = "/api/v1/people/alice/inbox"
    ids = [item["id"] for item in (await filled.call("GET", inbox, status=200))["items"]]
    for query in (f"after={ids[0]}", f"sort=received&before={ids[-1]}"):
        assert await filled.call("GET", f"{inbox}?group=object&{query}", status=200) == {"groups": [], "next": None}
