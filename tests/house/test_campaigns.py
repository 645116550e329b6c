"""Jobs that belong together: one message when the last has ended, whoever dies in between, and none for each of them."""

from datetime import timedelta

import pytest

from angelia.flow.job_voice import GATHERING, JobVoice
from angelia.model.job import Job, JobChange, JobState, content_hash

ENDS = [JobState.DONE, JobState.DONE, JobState.FAILED, JobState.CANCELLED]


@pytest.fixture
async def told(bench):
    """What alice gets by mail."""
    await bench.person("alice")
    return bench.mail.letters


async def submitted(bench, number, login="alice", campaign="scan-7"):
    values = {"n": number}
    job = Job(
        job_id=bench.house.intake.new_id(), owner=login, instrument="echo", product="echo", values=values, created_at=bench.now,
        changed_at=bench.now, due_at=bench.now, content_hash=content_hash("echo", "1", "echo", values), state=JobState.QUEUED, campaign=campaign,
    )  # fmt: skip
    return (await bench.store.add_job(job, bench.now)).job


async def ended(bench, job, state):
    if state is not JobState.CANCELLED:
        await bench.store.change_job(job.job_id, JobChange(by="dispatcher", state=JobState.SUBMITTING), bench.now)
    await bench.store.change_job(job.job_id, JobChange(by="dispatcher", state=state), bench.now)


async def said(bench, after=GATHERING):
    bench.now += after
    await voice(bench).say(bench.now)
    await bench.work()


def voice(bench):
    """As that of a process that has just started."""
    return JobVoice(bench.store, bench.house.intake.accept, "http://hub", lambda name: name)


async def test_the_end_of_the_last_is_told_once_with_how_all_ended(bench, told):
    jobs = [await submitted(bench, number) for number in range(len(ENDS))]
    for job, state in zip(jobs[:-1], ENDS, strict=False):
        await ended(bench, job, state)
    await said(bench)
    assert told == []
    await ended(bench, jobs[-1], ENDS[-1])
    await said(bench, timedelta(0))
    assert told == []
    await said(bench)
    await said(bench)
    (letter,) = told
    assert letter.message.subject == "Campaign scan-7 has ended: 2 done, 1 failed, 1 cancelled"
    assert (letter.message.type, letter.message.object_url) == ("job.campaign.failed", "http://hub/jobs?campaign=scan-7")


async def test_a_process_that_dies_between_saying_and_noting_it_says_it_once(bench, told, monkeypatch):
    await ended(bench, await submitted(bench, 1), JobState.DONE)

    async def dies(campaigns):
        raise ConnectionError

    monkeypatch.setattr(bench.store, "told_campaigns", dies)
    with pytest.raises(ConnectionError):
        await said(bench)
    monkeypatch.undo()
    await said(bench)
    await said(bench)
    assert [letter.message.subject for letter in told] == ["Campaign scan-7 has ended: 1 done"]


async def test_one_that_goes_on_is_told_when_it_has_ended_again(bench, told):
    await ended(bench, await submitted(bench, 1), JobState.DONE)
    later = await submitted(bench, 2)
    await said(bench)
    assert told == []
    await ended(bench, later, JobState.DONE)
    await said(bench)
    await ended(bench, await submitted(bench, 3), JobState.DONE)
    await said(bench)
    assert [letter.message.params["jobs"] for letter in told] == ["2", "3"]


async def test_who_shares_a_run_without_a_campaign_is_told_of_it_as_ever(bench, told):
    await bench.person("bob")
    job = await submitted(bench, 1)
    await submitted(bench, 1, "bob", "")
    await said(bench)
    await ended(bench, job, JobState.DONE)
    await said(bench, timedelta(0))
    assert {(letter.person.login, letter.message.type) for letter in told} == {("bob", "job.echo.submitted"), ("bob", "job.echo.done")}
    await said(bench)
    assert [letter.message.type for letter in told if letter.person.login == "alice"] == ["job.campaign.done"]


async def test_the_api_takes_and_shows_it(bench, told, outside):
    token = await bench.call("POST", "/api/v1/people/alice/tokens", {"scopes": ["read", "write"]}, 201)
    bearer = {"Authorization": f"Bearer {token['secret']}"}
    await submitted(bench, 1)
    await submitted(bench, 2, campaign="")
    found = (await outside.get("/api/v1/jobs?campaign=scan-7", headers=bearer)).json()["items"]
    assert [job["campaign"] for job in found] == ["scan-7"]
    refused = await outside.post("/api/v1/jobs", json={"instrument": "echo", "product": "echo", "campaign": "a b"}, headers=bearer)
    assert refused.status_code == 422


async def test_each_who_shares_a_run_is_told_by_how_long_she_waited(bench, told):
    quiet = {"preferences": {"job": {"mail": "now"}}, "jobs": {"mail": {"threshold": 1800}}}
    await bench.person("bob", preferences=quiet)
    await bench.call("PUT", "/api/v1/people/alice/preferences", quiet, 200)
    job = await submitted(bench, 1, campaign="")
    bench.now += timedelta(seconds=1790)
    await submitted(bench, 1, "bob", campaign="")
    bench.now += timedelta(seconds=20)
    await ended(bench, job, JobState.DONE)
    await said(bench)
    await said(bench)
    ends = [letter for letter in told if letter.message.type == "job.echo.done"]
    assert [(letter.person.login, letter.message.params["seconds"]) for letter in ends] == [("alice", "1810.000")]
    items = (await bench.call("GET", "/api/v1/people/bob/inbox"))["items"]
    (end,) = [item["message"] for item in items if item["message"]["type"] == "job.echo.done"]
    assert (await bench.why(end["id"], "bob"))["agents"]["mail"]["reason"] == "job_short"
