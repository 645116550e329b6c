"""What a type says for messages that say nothing: the same for rules, mails, digests, inbox, filters and explain."""

from datetime import UTC, datetime, timedelta

import pytest

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)


async def curate(bench, key, **said):
    return await bench.call("PUT", f"/api/v1/types/{key}", said, 200)


async def inbox(bench, query=""):
    return [item["message"] for item in (await bench.call("GET", f"/api/v1/people/alice/inbox?{query}"))["items"]]


async def test_a_severity_reaches_rules_mails_and_the_inbox(bench):
    rule = {"min_severity": "high", "do": {"mail": "now"}}
    await bench.person("alice", preferences={"preferences": {"*": {"mail": "off"}}, "rules": [rule]})
    assert (await curate(bench, "obs.build", default_severity="high"))["default_severity"] == "high"
    message = await bench.post("obs.build.fail", to=["alice"], subject="by its type")
    await bench.post("obs.build.fail", to=["alice"], subject="by its sender", severity="normal")
    await bench.work()
    assert [letter.message.severity.label for letter in bench.mail.letters] == ["high"]
    assert [(m["subject"], m["severity"]) for m in await inbox(bench, "severity=high")] == [("by its type", "high")]
    assert await bench.call("GET", "/api/v1/people/alice/inbox/counts?by=severity") == {"high": 1, "normal": 1}
    assert (await bench.call("GET", f"/api/v1/messages/{message}"))["severity"] == "high"
    assert (await bench.why(message, "alice"))["agents"]["mail"]["decided_by"] == "rule:1"


async def test_a_thread_groups_mails_and_filters_the_inbox(bench):
    await bench.person("alice")
    await curate(bench, "obs.request", thread_key="request/{params.id}")
    for number in (7, 8):
        await bench.post("obs.request.comment", to=["alice"], params={"id": str(number)}, subject=str(number))
    await bench.post("obs.request.comment", to=["alice"], params={"id": "9"}, thread="request/7", subject="its own")
    await bench.post("obs.request.comment", to=["alice"], subject="no id")
    await bench.work()
    assert [m["subject"] for m in await inbox(bench, "thread=request/7")] == ["its own", "7"]
    assert await bench.call("GET", "/api/v1/people/alice/inbox/counts?by=thread") == {"request/7": 2, "request/8": 1, "": 1}
    assert sorted(letter.message.thread for letter in bench.mail.letters) == ["", "request/7", "request/7", "request/8"]


async def test_a_collapse_key_folds_repeats_and_lines_of_a_digest(bench):
    await bench.person("alice")
    await bench.person("bob", preferences={"preferences": {"*": {"mail": "daily"}}})
    await curate(bench, "obs.build", collapse_key="{object}/{params.arch}")
    for arch in ("x86_64", "x86_64", "s390x"):
        await bench.post("obs.build.fail", to=["alice", "bob"], object="KDE/okular", params={"arch": arch}, subject=arch)
    await bench.work()
    assert [letter.message.subject for letter in bench.mail.letters] == ["x86_64", "s390x"]
    await bench.work(NOW + timedelta(days=1))
    (group,) = bench.mail.letters[-1].digest.groups
    assert [(line.subject, line.count) for line in group.lines] == [("s390x", 1), ("x86_64", 2)]


async def test_what_was_decided_stays_when_a_type_changes(bench):
    await bench.person("alice")
    await curate(bench, "a", default_severity="low", thread_key="{type}")
    message = await bench.post("a.b", to=["alice"])
    await bench.work()
    await curate(bench, "a", default_severity="high", thread_key="new {type}")
    await bench.work()
    shown = await bench.call("GET", f"/api/v1/messages/{message}")
    assert (shown["severity"], shown["thread"]) == ("low", "a.b")
    later = await bench.post("a.b", to=["alice"])
    await bench.work()
    shown = await bench.call("GET", f"/api/v1/messages/{later}")
    assert (shown["severity"], shown["thread"]) == ("high", "new a.b")


async def test_a_repeat_is_recognised_by_what_was_posted(bench):
    await bench.person("alice")
    await curate(bench, "a", default_severity="high")
    first = await bench.post("a.b", to=["alice"], idempotency_key="k")
    await bench.work()
    again = await bench.call("POST", "/api/v1/messages", {"type": "a.b", "to": ["alice"], "idempotency_key": "k"}, 200)
    assert again == {"id": first, "status": "repeat"}


async def test_large_audiences_see_it_from_the_first_chunk(bench, monkeypatch):
    monkeypatch.setattr("angelia.flow.planner.CHUNK", 2)
    await curate(bench, "a", default_severity="urgent")
    for number in range(5):
        await bench.person(f"p{number}", mail=False)
    await bench.post("a.b", to=[f"p{number}" for number in range(5)])
    await bench.work()
    for number in range(5):
        page = await bench.call("GET", f"/api/v1/people/p{number}/inbox?severity=urgent")
        assert len(page["items"]) == 1


@pytest.mark.parametrize("said", [{"collapse_key": "{nothing}"}, {"thread_key": "same for all"}, {"default_severity": "huge"}])
async def test_what_no_type_can_say(bench, said):
    await bench.call("PUT", "/api/v1/types/a", said, 422)
