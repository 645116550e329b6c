"""A job that runs is one message that is edited where a medium can do that, and letters of its own nowhere; its end is a new one."""

from datetime import timedelta

import pytest
from tests.house.conftest import NOW, SITE

from angelia.flow.job_voice import Beat, beat_of
from angelia.flow.letters import Letters, Links
from angelia.flow.relay import Lifetimes, Relay
from angelia.flow.voice import Voice
from angelia.model.job import Job, JobChange, JobState, content_hash
from angelia.store import InboxQuery
from angelia_testing.chat import ChatAgent

EVERY = 60.0


@pytest.fixture
async def chat(bench, house):
    """Alice has mail that edits; the dispatcher is turned by hand, with no instrument."""
    agent = ChatAgent()
    bench.mail = house.agents["mail"] = agent
    house.people.editing = frozenset({"mail"})
    await bench.call("PUT", "/api/v1/site", SITE, 200)
    letters = Letters(house.store, house.people, Links("http://hub", house.secret), editing=frozenset({"mail"}))
    bench.relay = Relay(house.store, {"mail": agent}, letters, Voice(house.intake.accept), lambda: bench.now, Lifetimes())
    await bench.person("alice")
    return agent


async def begun(bench, number=1):
    """A job that was submitted, told of, and runs."""
    values = {"n": number}
    job = Job(
        job_id=bench.house.intake.new_id(), owner="alice", instrument="echo", product="echo", values=values, created_at=bench.now,
        changed_at=bench.now, due_at=bench.now, content_hash=content_hash("echo", "1", "echo", values), state=JobState.QUEUED,
    )  # fmt: skip
    await bench.store.add_job(job, bench.now)
    bench.now += timedelta(seconds=2)
    await said(bench)
    for state in (JobState.SUBMITTING, JobState.RUNNING):
        job = await changed(bench, job, state=state)
    return job


async def changed(bench, job, **more):
    return await bench.store.change_job(job.job_id, JobChange(by="dispatcher", **more), bench.now)


async def said(bench, *running, every=EVERY):
    await bench.house.dispatcher._voice.say(bench.now, running, every)
    await bench.work()


def told(agent):
    return [(letter.message.type.rpartition(".")[2], letter.replaces) for letter in agent.letters]


async def test_what_runs_is_edited_and_its_end_is_a_letter_of_its_own(bench, chat):
    job = await begun(bench)
    assert told(chat) == [("submitted", "")]
    for share in (0.1, 0.5):
        bench.now += timedelta(seconds=EVERY)
        job = await changed(bench, job, progress=share, message="computing")
        await said(bench, job)
        await said(bench, job)
    assert told(chat)[1:] == [("running", "$1"), ("running", "$1")]
    assert chat.letters[-1].message.subject == "echo: echo is running: 50%"
    assert "computing" in chat.letters[-1].message.body
    bench.now += timedelta(seconds=EVERY)
    job = await changed(bench, job, state=JobState.DONE)
    await said(bench)
    assert told(chat)[3:] == [("done", "")]


async def test_nothing_new_and_another_process_that_says_it_again_are_no_news(bench, chat):
    job = await begun(bench)
    bench.now += timedelta(seconds=EVERY)
    await said(bench, job)
    bench.now += timedelta(seconds=EVERY)
    await said(bench, job)
    assert told(chat)[1:] == [("running", "$1")]
    job = await changed(bench, job, progress=0.3)
    await said(bench, job)
    bench.house.dispatcher._voice._last.clear()  # as one that has just started
    job = await changed(bench, job, progress=0.4)
    await said(bench, job)
    assert told(chat)[1:] == [("running", "$1")] * 2


async def test_it_comes_neither_by_what_does_not_edit_nor_into_the_inbox_unless_that_is_wished(bench, chat, house):
    house.people.editing = frozenset()
    await bench.call("PUT", "/api/v1/site", SITE | {"locks": {"job": ["mail"]}}, 200)
    job = await begun(bench)
    bench.now += timedelta(seconds=EVERY)
    job = await changed(bench, job, progress=0.1)
    await said(bench, job)
    person = await bench.store.person("alice")
    rows = await bench.store.inbox(person.person_id, InboxQuery())
    assert told(chat) == [("submitted", "")]
    assert len(rows) == 1
    await bench.call("PUT", "/api/v1/site", SITE, 200)
    await bench.call("PUT", "/api/v1/people/alice/job-news/mail", {"on_progress": True}, 200)
    bench.now += timedelta(seconds=EVERY)
    await said(bench, await changed(bench, job, progress=0.2))
    assert [word for word, _ in told(chat)] == ["submitted", "running"]


async def test_each_has_it_at_an_interval_of_her_own(bench, chat):
    await bench.call("PUT", "/api/v1/people/alice/job-news/mail", {"interval": 180}, 200)
    job = await begun(bench)
    for minute in range(1, 8):
        bench.now += timedelta(seconds=EVERY)
        job = await changed(bench, job, progress=minute / 10)
        await said(bench, job)
    assert [letter.message.params["progress"] for letter in chat.letters[1:]] == ["0.300", "0.600"]


async def test_who_wants_no_word_on_the_submission_wants_none_on_what_follows(bench, chat):
    await bench.call("PUT", "/api/v1/people/alice/job-news/mail", {"on_submit": False}, 200)
    job = await begun(bench)
    bench.now += timedelta(seconds=EVERY)
    await said(bench, job)
    assert told(chat) == []


def test_a_beat_is_said_once_and_only_of_what_runs_and_moves():
    job = Job(
        job_id=1, owner="alice", instrument="echo", product="echo", values={}, content_hash="", state=JobState.RUNNING, created_at=NOW,
        changed_at=NOW, progress=0.25,
    )  # fmt: skip
    assert beat_of(job, NOW + timedelta(seconds=59), EVERY, None) is None
    first = beat_of(job, NOW + timedelta(seconds=200), EVERY, None)
    assert first == Beat(3, 2, (JobState.RUNNING, 0.25, ""))
    later = NOW + timedelta(seconds=400)
    assert beat_of(job, later, EVERY, first) is None
    assert beat_of(job, later, EVERY, Beat(3, 2, (JobState.RUNNING, 0.2, ""))) == Beat(6, 3, first.seen)
    assert beat_of(job, NOW + timedelta(seconds=239), EVERY, Beat(3, 2, (JobState.RUNNING, 0.2, ""))) is None
