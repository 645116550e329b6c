"""Answers: whoever takes a message over says it once, by any means, and all of the house knows."""

import pytest
from tests.house.conftest import NOW

from angelia.model.moments import number_of

DIGEST = {"preferences": {"*": {"web": "now", "mail": "daily"}}}


async def test_what_is_acknowledged_is_read_and_told_to_all_whom_it_concerns(bench):
    await bench.person("alice", preferences=DIGEST)
    await bench.person("bob")
    message = await bench.post("a.b", severity="urgent", to=["alice", "bob"])
    other = await bench.post("a.b", to=["bob"])
    await bench.work()
    path = "/api/v1/people/alice/inbox/acknowledge"
    assert await bench.call("POST", path, {"ids": [message, other]}, 200) == {"changed": 1}
    assert await bench.call("POST", path, {"ids": [message]}, 200) == {"changed": 0}
    assert (await bench.call("GET", "/api/v1/people/alice/inbox/counts"))["unread"] == 0
    assert (await bench.call("GET", "/api/v1/people/bob/inbox/counts"))["unread"] == 2
    for login in ("alice", "bob"):
        (told,) = (await bench.why(message, login))["answers"]
        assert (told["login"], told["acknowledged_by"], told["seen_by"]) == ("alice", "api", "api")
    assert (await bench.why(other, "bob"))["answers"] == []


async def test_an_entry_names_its_message_and_only_ones_own(bench):
    await bench.person("alice")
    await bench.person("bob")
    message = await bench.post("a.b", to=["alice", "bob"])
    await bench.work()
    (entry,) = (await bench.call("GET", "/api/v1/people/alice/inbox"))["items"]
    for login, changed in (("bob", 0), ("alice", 1)):
        answer = await bench.call("POST", f"/api/v1/people/{login}/inbox/acknowledge", {"ids": [entry["id"]]}, 200)
        assert answer == {"changed": changed}
    assert [told["login"] for told in (await bench.why(message, "bob"))["answers"]] == ["alice"]
    await bench.call("POST", "/api/v1/people/alice/inbox/acknowledge", {"ids": ["nonsense"]}, 422)


@pytest.mark.parametrize("answer", ["seen", "acknowledge"])
async def test_what_an_agent_heard_drops_out_of_the_digest(bench, answer):
    await bench.person("alice", preferences=DIGEST)
    first, _ = await bench.post("a.b", subject="first", to=["alice"]), await bench.post("a.b", subject="second", to=["alice"])
    await bench.work()
    alice = await bench.store.person("alice")
    assert await getattr(bench.house.answers, answer)(alice.person_id, [number_of("msg", first)], "mail") == 1
    await bench.work(NOW.replace(day=26))
    (letter,) = bench.mail.letters
    assert [line.subject for group in letter.digest.groups for line in group.lines] == ["second"]
