"""What people are at sign-in providers: seen and removed by themselves and by administrators, and never the last way in."""

from types import SimpleNamespace

import pytest
from tests.house.browsing import alice, browsers  # noqa: F401 - fixtures

ISSUER, OTHER = "https://id.example.org", "https://old.example.org"
PLACE = "/api/v1/people/alice/identities"


@pytest.fixture
async def bound(bench, house, alice):  # noqa: F811
    """Alice, known at a provider of ours and at one that is set up no more."""
    house.providers["institute"] = SimpleNamespace(title="The institute", settings=SimpleNamespace(issuer=ISSUER))
    person = await bench.store.person("alice")
    await bench.store.link_identity(ISSUER, "s<1>", person.person_id)
    await bench.store.link_identity(OTHER, "s2", person.person_id)
    yield person
    del house.providers["institute"]


async def test_she_sees_and_removes_what_she_is_elsewhere(bench, bound, alice):  # noqa: F811
    shown = await alice.get("/profile")
    assert "The institute" in shown and "s&lt;1&gt;" in shown and OTHER in shown
    (known, gone) = (await bench.call("GET", PLACE, status=200))["items"]
    assert known == {"issuer": ISSUER, "subject": "s<1>", "provider": "institute", "is_last_way": False}
    assert (gone["provider"], gone["is_last_way"]) == ("", False)
    assert "s2" in (await alice.api.get("/profile/export")).text
    assert await alice.post("/profile/identities/remove", issuer=ISSUER, subject="s<1>") == "/profile?done=identity"
    assert "opens your account no more" in await alice.get("/profile?done=identity")
    assert [one["subject"] for one in (await bench.call("GET", PLACE))["items"]] == ["s2"]
    await alice.post("/profile/identities/remove", 404, issuer=ISSUER, subject="s<1>")
    await alice.post("/profile/identities/remove", 404)
    (entry, *_) = (await bench.call("GET", "/api/v1/audit?action=identity.unlink"))["items"]
    assert (entry["actor"], entry["target"], entry["detail"]) == ("person:alice", "alice", {"issuer": ISSUER, "subject": "s<1>"})


async def test_the_last_way_to_sign_in_stays(bench, bound, alice):  # noqa: F811
    await bench.store.put_password(bound.person_id, None, bench.now)
    shown = await alice.get("/profile")
    assert "your only way to sign in" in shown and shown.count('action="/profile/identities/remove"') == 1
    query = {"issuer": ISSUER, "subject": "s<1>"}
    await bench.call("DELETE", PLACE, status=409, params=query)
    assert "only way to sign in: have" in await alice.post("/profile/identities/remove", 409, **query)
    await bench.call("DELETE", PLACE, status=204, params={"issuer": OTHER, "subject": "s2"})
    await bench.call("DELETE", PLACE, status=404, params={"issuer": OTHER, "subject": "s2"})
    await bench.call("DELETE", PLACE, status=422, params={"issuer": OTHER})
    assert [one["is_last_way"] for one in (await bench.call("GET", PLACE))["items"]] == [True]


async def test_administrators_remove_it_for_anyone(bench, bound, browsers):  # noqa: F811
    root, bob = await browsers("root"), await browsers("bob")
    shown = await root.get("/admin/people/alice")
    assert "The institute" in shown and "not set up here" in shown
    query = {"issuer": ISSUER, "subject": "s<1>"}
    await bob.post("/admin/people/alice/identities/remove", 404, **query)
    await bob.post("/profile/identities/remove", 404, **query)
    assert await root.post("/admin/people/alice/identities/remove", **query) == "/admin/people/alice?said=removed"
    assert "The institute" not in await root.get("/admin/people/alice")
    (entry, *_) = (await bench.call("GET", "/api/v1/audit?action=identity.unlink"))["items"]
    assert (entry["actor"], entry["target"]) == ("person:root", "alice")
    await bench.store.link_identity(ISSUER, "s3", bound.person_id)
    await bench.store.put_password(bound.person_id, None, bench.now)
    query["subject"] = "s3"
    assert "only way to sign in" in await root.post("/admin/people/alice/identities/remove", 409, **query)
