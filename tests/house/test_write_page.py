"""A message written on a page: it goes the way of every other, under the writer's name and within her rate."""

import pytest
from tests.house.browsing import browsers  # noqa: F401 - a fixture


@pytest.fixture
async def alice(browsers):  # noqa: F811
    return await browsers("alice")


async def inbox(bench, login):
    await bench.work()
    return (await bench.call("GET", f"/api/v1/people/{login}/inbox"))["items"]


async def test_what_she_writes_reaches_people_and_groups_once(bench, alice):
    await bench.person("bob")
    await bench.call("PUT", "/api/v1/groups/qa", {"members": ["bob"]}, 200)
    note = {"to": "alice, group:qa", "subject": "The beam is back", "body": "at *noon*", "body_format": "markdown", "severity": "high", "key": "one"}
    place = await alice.post("/write", **note)
    assert place.startswith("/write?sent=msg_") and place.partition("=")[2] in await alice.get(place)
    assert await alice.post("/write", **note) == place  # a second click
    for login in ("alice", "bob"):
        (item,) = await inbox(bench, login)
        message = item["message"]
        assert (message["subject"], message["type"], message["severity"], message["source"]) == ("The beam is back", "note", "high", "person:alice")


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [("to", " , ", "name at least one"), ("type", "no type", "type"), ("severity", "huge", "severity"), ("object_url", "javascript:x", "object_url"), ("subject", "x" * 256, "subject"), ("to", "alice nobody", "nobody here is called nobody"), ("to", "group:none", "called group:none")],
)  # fmt: skip
async def test_what_can_not_be_sent_stays_in_the_form(bench, alice, field, value, told):
    page = await alice.post("/write", 422, **({"to": "alice", "subject": "kept", "body": "the text"} | {field: value}))
    assert "Nothing was sent." in page and told in page and "the text" in page
    assert await inbox(bench, "alice") == []


async def test_what_says_nothing_is_not_sent(bench, alice):
    assert "write a subject or a text" in await alice.post("/write", 422, to="alice", subject="  ", body="\n ")
    assert await inbox(bench, "alice") == []


async def test_one_key_with_two_texts_sends_the_first(bench, alice):
    await alice.post("/write", to="alice", subject="first", key="k")
    assert "look at it and send it again" in await alice.post("/write", 422, to="alice", subject="second", key="k")
    assert [item["message"]["subject"] for item in await inbox(bench, "alice")] == ["first"]
