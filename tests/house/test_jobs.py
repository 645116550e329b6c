"""Jobs from the request to the result: over the API, with the stages of one house running; and all that can go wrong (P12, F41-F44)."""

import asyncio
import io
import json
import tarfile
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from angelia.cli.jobs import _file_name
from angelia.cli.main import program
from angelia.cli.outcome import Failure
from angelia.flow import job_runner
from angelia.flow.dispatcher import JobPolicy
from angelia.flow.job_files import JobFiles
from angelia.flow.job_runner import Held, JobPatience, JobRunner
from angelia.front import Front
from angelia.instrument import CantTell, Done, Failed, Gone, Lent, NotStarted, Progress, Rejected
from angelia.instruments.function import FunctionInstrument, FunctionSettings
from angelia.making import make_instruments
from angelia.model.declaration import Declaration, DeclaredProduct, Limits, Parameter, ParameterKind
from angelia.model.errors import BadSettings
from angelia.model.job import STATES, JobChange, JobReason, JobState, Principal, callback_secret
from angelia.outbound import Outbound
from angelia.products.output import write_manifest
from angelia.settings import load
from angelia_testing.live import served
from angelia_testing.scripted import ScriptedInstrument
from angelia_testing.suites.jobs import a_job

SCRIPTED = {"instrument": "scripted", "product": "one"}


@pytest.fixture
def settings(tmp_path):
    return load(environment={}, overrides={"house": {"data_dir": str(tmp_path)}, "instruments": {"echo": {}}})


@pytest.fixture
def scripted(house):
    made = ScriptedInstrument()
    house.dispatcher.instruments["scripted"] = made
    return made


@pytest.fixture
async def working(bench, house, scripted, outside):
    """The dispatcher runs; alice, bob and root are there."""
    patience = JobPatience(first_pause=0.02)
    house.dispatcher._runner._patience = patience
    house.dispatcher._policy = JobPolicy(patience=patience, most_waiting=50)
    bench.bearers, bench.outside = {}, outside
    for login in ("alice", "bob", "root"):
        await bench.person(login, is_admin=login == "root")
        scopes = ["read", "write"] + (["admin"] if login == "root" else [])
        token = await bench.call("POST", f"/api/v1/people/{login}/tokens", {"scopes": scopes}, 201)
        bench.bearers[login] = {"Authorization": f"Bearer {token['secret']}"}
    stop, stages = asyncio.Event(), [house.dispatcher]
    tasks = [asyncio.create_task(job_loop(stage, house, stop)) for stage in stages]
    yield bench
    stop.set()
    house.hints["dispatcher"]()
    await asyncio.gather(*tasks)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({}, "there is no instrument adapter 'far'"),
        ({"adapter": "function"}, "needs a declaration"),
        ({"adapter": "http_service", "declaration": "far.toml"}, "the url of an http_service instrument"),
    ],
)
def test_what_is_wrong_with_an_instrument_is_said_with_its_name(table, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("far.toml").write_text('name = "far"\nproducts = [{name = "square"}]\n')
    wanted = load(environment={}, overrides={"house": {"data_dir": str(tmp_path)}, "instruments": {"far": table}})
    with pytest.raises(BadSettings, match=rf"^\[instruments\.far\] {says}"):
        make_instruments(wanted, Outbound())


async def job_loop(stage, house, stop):
    from angelia.flow.clock import now
    from angelia.flow.loop import run

    await run(stage, house.hints["dispatcher"], now, stop)


async def ask(bench, login, method, path, body=None, status=None):
    answer = await bench.outside.request(method, path, json=body, headers=bench.bearers[login])
    assert status is None or answer.status_code == status, answer.text
    return answer.json() if "json" in answer.headers["content-type"] else answer.text


async def submitted(bench, login="alice", n=0.0, status=202, **more):
    return await ask(bench, login, "POST", "/api/v1/jobs", SCRIPTED | {"parameters": {"n": n}} | more, status)


async def until(bench, job_id, test=lambda job: job["ended_at"], login="alice", seconds=60):
    async with asyncio.timeout(seconds):
        while not test(job := await ask(bench, login, "GET", f"/api/v1/jobs/{job_id}", None, 200)):
            await asyncio.sleep(0.01)
    return job


def is_at(state):
    return lambda job: job["state"] == state


async def test_a_job_is_submitted_runs_and_gives_its_product(working):
    asked = {"instrument": "echo", "product": "echo", "parameters": {"text": "hello", "number": 2, "nonsense": 1}}
    job = await ask(working, "alice", "POST", "/api/v1/jobs", asked, 202)
    assert (job["result"], job["unused"], job["state"]) == ("new", ["nonsense"], "queued")
    job = await until(working, job["id"])
    assert (job["state"], job["progress"], job["parameters"]) == ("done", 1.0, {"text": "hello", "number": 2.0})
    (product,) = job["products"]
    answer = await working.outside.get(product["url"], headers=working.bearers["alice"])
    assert answer.json()["values"] == {"text": "hello", "number": 2.0}
    assert "attachment" in answer.headers["content-disposition"]
    part = await working.outside.get(product["url"], headers=working.bearers["alice"] | {"Range": "bytes=2-8"})
    assert (part.status_code, part.content) == (206, answer.content[2:9])
    (listed,) = (await ask(working, "alice", "GET", "/api/v1/jobs?state=done"))["items"]
    assert listed["id"] == job["id"]
    names = [one["name"] for one in (await ask(working, "alice", "GET", "/api/v1/instruments"))["items"]]
    assert names == ["echo", "scripted"]


async def test_the_end_is_told_to_her_and_to_nobody_else(working):
    job = await submitted(working)
    await until(working, job["id"])
    async with asyncio.timeout(60):
        while not (found := (await working.call("GET", "/api/v1/messages?type=job"))["items"]):
            await asyncio.sleep(0.02)
    (message,) = found
    assert message["type"] == "job.scripted.done"
    shown = json.dumps(await working.call("GET", f"/api/v1/messages/{message['id']}"))
    assert job["id"] in shown
    assert '"restricted": true' in shown
    assert '"alice"' in shown and "bob" not in shown


async def test_a_long_one_is_told_of_when_it_begins_too(working, scripted):
    scripted.is_done = False
    job = await submitted(working)
    async with asyncio.timeout(60):
        while not (found := (await working.call("GET", "/api/v1/messages?type=job"))["items"]):
            await asyncio.sleep(0.05)
    assert [one["type"] for one in found] == ["job.scripted.submitted"]
    await ask(working, "alice", "POST", f"/api/v1/jobs/{job['id']}/cancel", None, 200)


async def test_nobody_sees_the_jobs_of_others(working):
    job = await submitted(working)
    await until(working, job["id"])
    for path in ("", "/products", "/products/words"):
        await ask(working, "bob", "GET", f"/api/v1/jobs/{job['id']}{path}", None, 404)
        await ask(working, "root", "GET", f"/api/v1/jobs/{job['id']}{path}", None, 200)
    for path in ("/cancel", "/retry"):
        await ask(working, "bob", "POST", f"/api/v1/jobs/{job['id']}{path}", None, 404)
    assert (await ask(working, "bob", "GET", "/api/v1/jobs"))["items"] == []
    await ask(working, "bob", "GET", "/api/v1/jobs?everybody=true", None, 403)
    assert len((await ask(working, "root", "GET", "/api/v1/jobs?everybody=true", None, 200))["items"]) == 1


async def test_two_who_ask_the_same_share_a_run_and_know_nothing_of_each_other(working, scripted):
    scripted.is_done = False
    first = await submitted(working, "alice")
    second = await submitted(working, "bob")
    assert (second["id"], second["result"], second["owner"]) == (first["id"], "joined", "bob")
    private = await submitted(working, "bob", private=True)
    assert private["id"] != first["id"]
    gone = await ask(working, "alice", "POST", f"/api/v1/jobs/{first['id']}/cancel", None, 200)
    assert gone["state"] == "cancelled"
    await ask(working, "alice", "GET", f"/api/v1/jobs/{first['id']}", None, 404)
    scripted.is_done = True
    job = await until(working, first["id"], login="bob")
    assert job["state"] == "done"
    assert "alice" not in json.dumps(job)
    again = await submitted(working, "alice")
    assert (again["state"], again["result"]) == ("done", "joined")
    assert sorted(scripted.started.values()) == [1, 1]
    fresh = await submitted(working, "alice", fresh=True)
    assert fresh["id"] != first["id"]


async def test_roles_are_asked_for(working):
    await submitted(working, product="secret", status=403)
    await working.call("PUT", "/api/v1/groups/insider", {"members": ["alice"]}, 200)
    await submitted(working, product="secret")
    await submitted(working, "bob", product="secret", status=403)
    await submitted(working, instrument="nothing", status=404)
    await submitted(working, n="no number", status=422)


async def test_an_instrument_that_there_is_not_is_named_with_those_that_she_may_use(working, house, scripted):
    hidden = ScriptedInstrument()
    hidden.declaration = replace(scripted.declaration, name="hidden", roles=("insider",))
    house.dispatcher.instruments["hidden"] = hidden
    said = "there is no instrument 'nope'; there are echo, scripted"
    for method, path, body in (("GET", "/api/v1/instruments/nope", None), ("POST", "/api/v1/jobs", SCRIPTED | {"instrument": "nope"})):
        assert (await ask(working, "alice", method, path, body, 404))["detail"] == said
    assert (await ask(working, "alice", "GET", "/api/v1/instruments/hidden", None, 404))["detail"] == said.replace("nope", "hidden")
    assert "hidden" in (await ask(working, "root", "GET", "/api/v1/instruments/nope", None, 404))["detail"]


async def test_a_submit_whose_answer_was_lost_is_not_repeated(working, scripted):  # F42
    def lost(work):
        scripted.start(work)
        raise CantTell("the connection broke")

    scripted.on_submit = lost
    job = await until(working, (await submitted(working))["id"])
    assert job["state"] == "done"
    assert list(scripted.started.values()) == [1]


async def test_a_submit_that_did_not_arrive_is_repeated(working, scripted):
    calls = []

    def lost(work):
        calls.append(work.key)
        if len(calls) < 3:
            raise TimeoutError

    scripted.on_submit = lost
    job = await until(working, (await submitted(working))["id"])
    assert job["state"] == "done"
    assert (len(calls), len(set(calls)), list(scripted.started.values())) == (3, 1, [1])


async def test_an_instrument_that_is_down_gets_the_job_when_it_is_back(working, scripted):
    calls = []

    def down(work):
        calls.append(work.key)
        if len(calls) < 3:
            raise NotStarted("down", retry_after=0.05)

    scripted.on_submit = down
    job = await until(working, (await submitted(working))["id"])
    assert (job["state"], job["attempt"], len(calls)) == ("done", 1, 3)


class Carried:
    """One job in the store, carried by a runner of its own at times that a test says."""

    def __init__(self, house, scripted, folder):
        self.store, self.scripted, self.now = house.store, scripted, house.now()
        self.runner = JobRunner(self.store, JobFiles(folder), house.dispatcher._work, lambda: self.now, lambda _: None)
        self.job_id = 7

    async def change(self, state):
        assert await self.store.change_job(self.job_id, JobChange(by="alice", state=state), self.now)

    async def after(self, length):
        """What came of it when it is claimed so much later."""
        self.now += length
        (taken,) = await self.store.claim_jobs({"scripted": 1}, timedelta(minutes=1), self.now, 1)
        await self.runner.carry(Held(taken.job, taken.is_first, asyncio.Event()), self.scripted)
        job = await self.store.job(self.job_id)
        return job.state.label, str(job.reason)


@pytest.fixture
async def carried(house, scripted, tmp_path):
    made = Carried(house, scripted, tmp_path)
    job = replace(a_job(made.job_id, instrument="scripted"), product="one", created_at=made.now, changed_at=made.now, due_at=made.now)
    await made.store.add_job(job, made.now)
    return made


@pytest.mark.parametrize("is_retry", [False, True])
async def test_an_instrument_that_takes_nothing_has_its_whole_time_for_each_attempt(carried, scripted, is_retry):
    """Days in the queue don't count, nor an earlier attempt: only what passed since this one was not taken for the first time."""
    scripted.on_submit = lambda work: raised(NotStarted("down"))
    if is_retry:
        await carried.after(timedelta())
        await carried.change(JobState.CANCELLED)
        carried.now += timedelta(days=1)
        await carried.change(JobState.QUEUED)
    assert await carried.after(timedelta(days=2)) == ("queued", "")
    assert await carried.after(timedelta(seconds=2)) == ("queued", "")
    assert await carried.after(timedelta(hours=11)) == ("queued", "")
    assert await carried.after(timedelta(hours=2)) == ("failed", "unreachable")


async def test_a_hub_that_was_away_has_not_heard_silence(carried, scripted):
    """Nobody worked for hours after the submit: the first question without an answer is no reason to give it up."""
    carried.runner._patience = JobPatience(first_pause=0.01)
    answers = [CantTell("it starts")]
    scripted.on_find = lambda work: raised(answers.pop()) if answers else scripted.start(work)
    await carried.store.claim_jobs({"scripted": 1}, timedelta(minutes=1), carried.now, 1)
    assert await carried.after(timedelta(hours=3)) == ("done", "")


async def test_what_is_never_answered_is_lost_at_last(carried, scripted):
    carried.runner._patience = JobPatience(first_pause=0.01)

    def never(work):
        carried.now += timedelta(minutes=31)
        raise CantTell("it starts")

    scripted.on_find = never
    await carried.store.claim_jobs({"scripted": 1}, timedelta(minutes=1), carried.now, 1)
    assert await carried.after(timedelta(hours=3)) == ("lost", "unreachable")


def raised(error):
    raise error


async def test_an_instrument_that_can_not_be_asked_is_asked_until_it_can(working, scripted):
    asked = []

    def lost(work):
        scripted.start(work)
        raise CantTell("the connection broke")

    def down(work):
        asked.append(work.key)
        if len(asked) < 3:
            raise CantTell("down")

    scripted.on_submit, scripted.on_find = lost, down
    job = await until(working, (await submitted(working))["id"])
    assert (job["state"], list(scripted.started.values()), len(asked)) == ("done", [1], 3)


@pytest.mark.parametrize("is_repeatable", [True, False])
async def test_what_nobody_can_tell_is_begun_again_only_where_it_may_be(working, house, is_repeatable):
    scripted = house.dispatcher.instruments["scripted"] = ScriptedInstrument(is_repeatable=is_repeatable)
    calls = []

    def lost(work):
        calls.append(work.key)
        if len(calls) == 1:
            raise CantTell("the connection broke")

    def never(work):
        raise CantTell("it keeps no list", is_for_good=True)

    scripted.on_submit, scripted.on_find = lost, never
    job = await until(working, (await submitted(working))["id"])
    assert job["state"] == ("done" if is_repeatable else "lost")
    assert len(calls) == (2 if is_repeatable else 1)


@pytest.mark.parametrize("is_repeatable", [True, False])
async def test_what_an_instrument_lost_is_begun_again_only_where_it_may_be(working, house, is_repeatable):
    scripted = house.dispatcher.instruments["scripted"] = ScriptedInstrument(is_repeatable=is_repeatable)
    scripted.on_poll = lambda work: Gone("restarted") if work.attempt == 1 else None
    job = await until(working, (await submitted(working))["id"])
    assert (job["state"], job["attempt"]) == (("done", 2) if is_repeatable else ("lost", 1))


def broken(work):
    raise KeyError("a bug")


def garbage(work):
    (work.folder / "products.json").write_text("{nonsense")
    return Done()


def lying(work):
    (work.folder / "products.json").write_text('{"products": [{"name": "x", "kind": "text", "path": "../../../../secret"}]}')
    return Done()


def linked(work):
    (work.folder / "x").symlink_to("/etc/passwd")
    (work.folder / "products.json").write_text('{"products": [{"name": "x", "kind": "text", "path": "x"}]}')
    return Done()


async def hanging():
    await asyncio.sleep(3600)


@pytest.mark.parametrize(
    ("on_submit", "on_poll", "reason"),
    [
        (None, broken, "crash"),
        (broken, None, "crash"),
        (None, garbage, "crash"),
        (None, lying, "crash"),
        (None, linked, "crash"),
        (None, lambda work: Done(), "crash"),
        (None, lambda work: Failed("no such star"), "instrument"),
        (None, lambda work: Failed("too much", is_limit=True), "limit"),
        (lambda work: (_ for _ in ()).throw(Rejected("not you")), None, "refused"),
    ],
)
async def test_an_instrument_that_breaks_ends_only_that_job(working, scripted, on_submit, on_poll, reason):  # F41
    scripted.on_submit, scripted.on_poll = on_submit, on_poll
    job = await until(working, (await submitted(working))["id"])
    assert (job["state"], job["reason"]) == ("failed", reason)
    assert job["message"]
    assert job["products"] == []
    scripted.on_submit = scripted.on_poll = None
    well = await until(working, (await submitted(working, n=1))["id"])
    assert well["state"] == "done"


async def test_an_instrument_that_hangs_holds_up_only_that_job(working, scripted, monkeypatch):
    monkeypatch.setattr(job_runner, "LONGEST_CALL", 0.1)
    scripted.on_poll = lambda work: hanging() if work.values["n"] == 1 else None
    hung = await submitted(working, n=1)
    await until(working, hung["id"], is_at("submitted"))
    assert (await until(working, (await submitted(working, n=2))["id"]))["state"] == "done"
    scripted.on_poll = None
    assert (await until(working, hung["id"]))["state"] == "done"


async def test_a_deadline_ends_it(working, scripted):
    scripted.is_done = False
    job = await until(working, (await submitted(working, seconds=0.3))["id"])
    assert (job["state"], job["reason"]) == ("failed", "deadline")
    assert scripted.cancelled == list(scripted.started)


async def test_silence_is_the_end_at_last(working, house, scripted):
    house.dispatcher._runner._patience = JobPatience(first_pause=0.02, silent=timedelta(seconds=0.2))
    scripted.on_poll = lambda work: (_ for _ in ()).throw(CantTell("down"))
    job = await until(working, (await submitted(working))["id"])
    assert (job["state"], job["reason"]) == ("lost", "silent")
    scripted.on_poll = None
    await ask(working, "alice", "POST", f"/api/v1/jobs/{job['id']}/retry", None, 200)
    job = await until(working, job["id"])
    assert (job["state"], job["attempt"]) == ("done", 2)


async def test_cancel_and_retry(working, scripted):
    scripted.is_done = False
    job = await submitted(working)
    await until(working, job["id"], is_at("running"))
    cancelled = await ask(working, "alice", "POST", f"/api/v1/jobs/{job['id']}/cancel", None, 200)
    assert (cancelled["state"], cancelled["reason"]) == ("cancelled", "person")
    assert set(scripted.cancelled) == set(scripted.started)
    await ask(working, "alice", "POST", f"/api/v1/jobs/{job['id']}/cancel", None, 409)
    scripted.is_done = True
    await ask(working, "alice", "POST", f"/api/v1/jobs/{job['id']}/retry", None, 200)
    job = await until(working, job["id"], seconds=25)  # sooner than a lease ends
    assert (job["state"], job["attempt"]) == ("done", 2)
    await ask(working, "alice", "POST", f"/api/v1/jobs/{job['id']}/retry", None, 409)


async def test_a_retry_does_not_wait_for_the_attempt_before(working, scripted):
    """The task of the first attempt hangs in a question to its instrument, for longer than anybody waits."""

    async def hang():
        await asyncio.sleep(3_600)

    scripted.on_poll = lambda work: hang() if work.attempt == 1 else None
    job = await submitted(working)
    async with asyncio.timeout(20):
        while not scripted.started:
            await asyncio.sleep(0.01)
    await ask(working, "alice", "POST", f"/api/v1/jobs/{job['id']}/cancel", None, 200)
    await ask(working, "alice", "POST", f"/api/v1/jobs/{job['id']}/retry", None, 200)
    job = await until(working, job["id"])
    assert (job["state"], job["attempt"]) == ("done", 2)


async def test_call_backs_are_taken_once_in_order_and_only_with_the_secret(working, house, scripted):  # F43, D2
    scripted.is_done = False
    job = await submitted(working)
    await until(working, job["id"], is_at("running"))
    (work,) = scripted.works.values()
    assert work.callback_url.endswith(f"/api/v1/jobs/{job['id']}/callback")

    async def say(report, secret=work.callback_secret, status=200):
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        return await working.call("POST", f"/api/v1/jobs/{job['id']}/callback", report, status, headers=headers)

    assert await say({"state": "running", "progress": 0.7, "sequence": 2, "node": "a"}) == {"taken": True}
    assert await say({"state": "running", "progress": 0.7, "sequence": 2, "node": "a"}) == {"taken": False}
    assert await say({"state": "running", "progress": 0.6, "sequence": 1}) == {"taken": False}
    other = await submitted(working, n=1)
    await until(working, other["id"], is_at("running"))
    await say({"state": "failed"}, scripted.works[next(key for key in scripted.works if key != work.key)].callback_secret, 403)
    await say({"state": "failed"}, "wrong", 403)
    await say({"state": "failed"}, "", 403)
    await say({"state": "nonsense"}, status=422)
    await say({"state": "failed", "progress": 7}, status=422)
    job = await until(working, job["id"], lambda job: job["progress"] == 0.7)
    assert job["state"] == "running"
    # That it is done is looked at, not believed; that it failed is.
    assert await say({"state": "done", "sequence": 3}) == {"taken": True}
    assert await say({"state": "failed", "sequence": 4, "message": "no star"}) == {"taken": True}
    job = await until(working, job["id"])
    assert (job["state"], job["message"]) == ("failed", "no star")
    assert await say({"state": "done", "sequence": 5}) == {"taken": False}
    history = await house.store.job_history(number(job["id"]))
    assert [row.report.get("sequence") for row in history if row.report] == [2, 3, 4]


def number(job_id):
    from angelia.model.moments import number_of

    return number_of("job", job_id)


async def test_a_call_back_hurries_the_look_at_the_result(working, scripted):
    scripted.poll_seconds, scripted.is_done = 3600, False
    job = await submitted(working)
    await until(working, job["id"], is_at("running"))
    (work,) = scripted.works.values()
    scripted.is_done = True
    headers = {"Authorization": f"Bearer {work.callback_secret}"}
    await working.call("POST", f"/api/v1/jobs/{job['id']}/callback", {"state": "done"}, 200, headers=headers)
    assert (await until(working, job["id"]))["state"] == "done"


async def test_the_secret_is_that_of_one_attempt(working, house, scripted):
    scripted.on_poll = lambda work: Failed("no")
    job = await until(working, (await submitted(working))["id"])
    stored = await house.store.job(number(job["id"]))
    (work,) = scripted.works.values()
    assert work.callback_secret == callback_secret(house.secret, stored)
    await ask(working, "alice", "POST", f"/api/v1/jobs/{job['id']}/retry", None, 200)
    headers = {"Authorization": f"Bearer {work.callback_secret}"}
    await working.call("POST", f"/api/v1/jobs/{job['id']}/callback", {"state": "failed"}, 403, headers=headers)


async def test_what_is_in_hand_at_a_stop_is_taken_up_by_the_next(working, house, scripted):
    scripted.is_done = False
    job = await submitted(working)
    await until(working, job["id"], is_at("running"))
    await house.dispatcher.drain()
    scripted.is_done = True
    house.hints["dispatcher"]()
    job = await until(working, job["id"])
    assert (job["state"], list(scripted.started.values())) == ("done", [1])


async def test_only_so_many_run_at_once_and_so_many_may_wait(working, house, scripted):
    scripted.most_at_once, scripted.is_done = 2, False
    house.dispatcher._policy = JobPolicy(most_waiting=4)
    jobs = [await submitted(working, n=n) for n in range(4)]
    await submitted(working, n=9, status=429)
    await submitted(working, "bob", n=9)
    await until(working, jobs[1]["id"], is_at("running"))
    assert len(scripted.started) == 2
    scripted.is_done = True
    for job in jobs:
        assert (await until(working, job["id"]))["state"] == "done"
    await submitted(working, n=10)


async def test_many_who_ask_at_once_get_no_more_places_than_there_are(working, scripted):
    scripted.most_at_once, scripted.is_done = 3, False
    jobs = await asyncio.gather(*(submitted(working, n=n) for n in range(20)))
    async with asyncio.timeout(30):
        while len(scripted.started) < 3:
            await asyncio.sleep(0.01)
    await submitted(working, n=99)
    assert len(scripted.started) == 3
    scripted.is_done = True
    for job in jobs:
        assert (await until(working, job["id"]))["state"] == "done"
    assert set(scripted.started.values()) == {1}


async def test_one_that_came_while_the_stage_was_stopped_is_for_the_next(working, house, scripted, monkeypatch):
    add_job = house.store.add_job

    async def stopped_meanwhile(*given, **more):
        added = await add_job(*given, **more)
        await house.dispatcher.drain()
        return added

    await until(working, (await submitted(working))["id"])  # the stage works
    monkeypatch.setattr(house.store, "add_job", stopped_meanwhile)
    job = await submitted(working, n=1)
    house.hints["dispatcher"]()
    assert (await until(working, job["id"], seconds=20))["state"] == "done"
    assert list(scripted.started.values()) == [1, 1]


async def test_who_keeps_too_much_gets_no_more_until_it_is_forgotten(working, house, scripted):
    from angelia.flow.clock import now

    await until(working, (await submitted(working))["id"])
    house.dispatcher._policy = JobPolicy(most_bytes=len("of the script"))
    refused = await submitted(working, n=1, status=403)
    assert "13 bytes or more" in refused["detail"]
    await until(working, (await submitted(working, "bob", n=1))["id"], login="bob")
    await until(working, (await submitted(working, "root", n=2))["id"], login="root")
    house.dispatcher._policy = JobPolicy(most_bytes=14)
    await until(working, (await submitted(working, n=3))["id"])
    await submitted(working, n=4, status=403)
    await house.dispatcher.forget_old(now() + timedelta(days=31))
    await submitted(working, n=4)


async def test_old_ones_are_forgotten_with_their_files(working, house, scripted):
    from angelia.flow.clock import now

    job = await until(working, (await submitted(working))["id"])
    folder = scripted.works.popitem()[1].folder
    assert folder.is_dir()
    await house.dispatcher.forget_old(now() + timedelta(days=29))
    assert folder.is_dir()
    await house.dispatcher.forget_old(now() + timedelta(days=31))
    assert not folder.parent.exists()
    await ask(working, "alice", "GET", f"/api/v1/jobs/{job['id']}", None, 404)


async def test_bad_requests_are_refused_with_what_is_wrong(working, scripted):  # E6.70, E6.81
    async def bad(status, **fields):
        said = await ask(working, "alice", "POST", "/api/v1/jobs", SCRIPTED | {"parameters": {"n": 1}} | fields, status)
        assert said["detail"]

    for name in ("os.system", "../x", "__init__", "", "scripted\x00", "SCRIPTED"):
        await bad(404, instrument=name)
        await bad(404, product=name)
    for values in ({"n": "x"}, {"n": "nan"}, {"n": [1]}, {"n": "1" * 1_000_000}):
        await bad(422, parameters=values)
    for seconds in (-1, 0, 1e9, "soon", "inf"):
        await bad(422, seconds=seconds)
    for wanted in ({"cpu": 1e9}, {"memory": "\N{INFINITY}"}, {"limits": {"seconds": -1}}):
        await bad(422, **wanted)  # what a job may have is its instrument's matter
    await bad(422, campaign="a b")
    await bad(422, session="../x")
    assert scripted.started == {}


async def test_fifty_who_submit_the_same_at_once_make_one_job_that_runs_once(working, scripted):  # E6.80
    jobs = await asyncio.gather(*(submitted(working, ("alice", "bob")[n % 2], n=1) for n in range(50)))
    (job_id,) = {job["id"] for job in jobs}
    assert (await until(working, job_id))["state"] == "done"
    assert list(scripted.started.values()) == [1]


async def test_progress_that_can_not_be_is_no_progress_and_a_flood_of_it_is_little(working, house, scripted):  # E6.77
    said = iter([-1.0, 0.25, 2.0] + [0.1 + n / 1e6 for n in range(300)])
    scripted.poll_seconds = 0.001
    scripted.on_poll = lambda work: Progress(share, "on its way") if (share := next(said, None)) is not None else None
    job = await until(working, (await submitted(working))["id"])
    assert job["state"] == "done"
    shares = [row["progress"] for row in job["history"]]
    assert all(0 <= share <= 1 for share in shares)
    assert len(shares) < 20


async def test_what_computes_without_end_does_not_slow_the_hub(house, bench, tmp_path):  # F40
    declaration = Declaration(
        "hogs", parameters=(Parameter("what", ParameterKind.STRING), Parameter("n", ParameterKind.FLOAT)), products=(DeclaredProduct("x"),),
        limits=Limits(cpu_seconds=1, seconds=30), is_repeatable=True,
    )  # fmt: skip
    house.dispatcher.instruments["hogs"] = FunctionInstrument(declaration, FunctionSettings("angelia_testing.functions:run", most_at_once=4), Lent())
    stop = asyncio.Event()
    task = asyncio.create_task(job_loop(house.dispatcher, house, stop))
    jobs = [await house.dispatcher.submit(Principal("alice"), "hogs", "x", {"what": "hog", "n": n}) for n in range(4)]
    spent, loops = [], 0
    async with asyncio.timeout(60):
        while not all([(await house.store.job(job.job_id)).state.is_final for job in jobs]):
            # Our own time, and not that of a machine on which four others compute.
            before = time.thread_time()
            await asyncio.sleep(0.01)
            spent.append(time.thread_time() - before)
            loops += 1
    ended = [await house.store.job(job.job_id) for job in jobs]
    assert [(job.state, job.reason) for job in ended] == [(JobState.FAILED, JobReason.LIMIT)] * 4
    assert loops > 20
    assert max(spent) < 0.1
    stop.set()
    house.hints["dispatcher"]()
    await task


@pytest.mark.parametrize("jobs_each", [1, 1000])
@pytest.mark.parametrize(("n", "ends"), [(1.0, "done"), (-1.0, "failed")])
async def test_what_is_published_is_seen_while_the_rest_is_computed(working, house, tmp_path, jobs_each, n, ends):
    parameters = (Parameter("what", ParameterKind.STRING), Parameter("n", ParameterKind.FLOAT), Parameter("beside", ParameterKind.STRING))
    declaration = Declaration("parts", parameters=parameters, products=(DeclaredProduct("one"),))
    made = FunctionInstrument(declaration, FunctionSettings("angelia_testing.functions:run", jobs_each=jobs_each), Lent(folder=tmp_path / "place"))
    house.dispatcher.instruments["parts"] = made
    for round_ in range(2):  # in the place of the first one's files nothing must be left for the second
        beside = tmp_path / f"beside{round_}"
        asked = {"instrument": "parts", "product": "one", "parameters": {"what": "publish", "n": n, "beside": str(beside)}}
        job = await ask(working, "alice", "POST", "/api/v1/jobs", asked, 202)
        job = await until(working, job["id"], lambda job: job["products"] and (job["state"] == "running" or job["ended_at"]))
        assert (job["state"], [one["name"] for one in job["products"]]) == ("running", ["first"])
        place = job["products"][0]["url"]
        assert (await working.outside.get(place, headers=working.bearers["alice"])).text == "half of it"
        Path(f"{beside}.go").touch()
        job = await until(working, job["id"])
        assert job["state"] == ends
        assert [one["name"] for one in job["products"]] == (["first", "second"] if ends == "done" else [])
        for product in job["products"]:
            assert (await working.outside.get(product["url"], headers=working.bearers["alice"])).status_code == 200
        assert ends == "done" or (await working.outside.get(place, headers=working.bearers["alice"])).status_code == 404


async def test_a_file_that_was_uploaded_is_read_by_what_computes(working, house, tmp_path):
    parameters = (Parameter("what", ParameterKind.STRING), Parameter("file", ParameterKind.FILE))
    declaration = Declaration("readers", parameters=parameters, products=(DeclaredProduct("one"),))
    house.dispatcher.instruments["readers"] = FunctionInstrument(
        declaration, FunctionSettings("angelia_testing.functions:run"), Lent(folder=tmp_path / "place")
    )

    async def upload(login, content, status=201):
        answer = await working.outside.post("/api/v1/uploads", content=content, headers=working.bearers[login])
        assert answer.status_code == status, answer.text
        return answer.json()

    told = await upload("alice", "zwei Sterne \N{WHITE STAR}".encode())
    assert told["size"] == 15
    asked = {"instrument": "readers", "product": "one", "parameters": {"what": "read", "file": told["value"]}}
    job = await until(working, (await ask(working, "alice", "POST", "/api/v1/jobs", asked, 202))["id"])
    assert (job["state"], job["parameters"]["file"]) == ("done", told["value"])
    assert (await working.outside.get(job["products"][0]["url"], headers=working.bearers["alice"])).text == "zwei Sterne \N{WHITE STAR}"
    refused = await ask(working, "bob", "POST", "/api/v1/jobs", asked, 403)
    assert "not yours" in refused["detail"]
    gone = asked | {"parameters": {"what": "read", "file": house.dispatcher.uploads.address("0" * 32)}}
    assert "not there any more" in (await ask(working, "alice", "POST", "/api/v1/jobs", gone, 422))["detail"]
    assert (await working.outside.post("/api/v1/uploads", content=b"x")).status_code == 401
    wrapped = await working.outside.post("/api/v1/uploads", files={"file": b"x"}, headers=working.bearers["alice"])
    assert (wrapped.status_code, wrapped.json()["type"]) == (415, "urn:angelia:unsupported-media")
    assert "--data-binary" in wrapped.json()["detail"]


async def test_what_is_too_long_for_a_request_is_told_as_every_fault(working):
    async def pieces():
        for _ in range(17):
            yield bytes(1 << 20)

    for content in (bytes(17 << 20), pieces()):
        answer = await working.outside.post("/api/v1/uploads", content=content, headers=working.bearers["alice"])
        assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
        assert "content-security-policy" in answer.headers


async def test_a_back_end_elsewhere_gets_a_file_with_the_secret_of_its_job_alone(working, house):
    parameters = (Parameter("file", ParameterKind.FILE),)
    far = house.dispatcher.instruments["far"] = ScriptedInstrument("far")
    far.declaration, far.is_far, far.is_done = Declaration("far", parameters=parameters, products=(DeclaredProduct("one"),)), True, False
    key = house.dispatcher.uploads.keep(io.BytesIO(b"two stars"), "alice")
    other = house.dispatcher.uploads.address(house.dispatcher.uploads.keep(io.BytesIO(b"three stars"), "alice"))
    asked = {"instrument": "far", "product": "one", "parameters": {"file": house.dispatcher.uploads.address(key)}}
    job = await ask(working, "alice", "POST", "/api/v1/jobs", asked, 202)
    await until(working, job["id"], is_at("running"))
    (work,) = far.works.values()

    async def fetched(address):
        place = urlsplit(address)
        return await working.outside.get(f"{place.path}?{place.query}", follow_redirects=True)

    def with_secret(address, secret=work.callback_secret, job_id=job["id"]):
        return f"{address}&job_id={job_id}&secret={secret}"

    address = house.dispatcher.uploads.address(key)
    assert work.values["file"] == with_secret(address)
    assert (await fetched(work.values["file"])).content == b"two stars"
    for bad in (address, with_secret(address, "x"), with_secret(address, job_id="job_0000000000001"), with_secret(other)):
        assert (await fetched(bad)).status_code == 403, bad
    far.is_done = True
    await until(working, job["id"])
    assert (await fetched(work.values["file"])).status_code == 403  # it has ended


async def test_a_job_from_the_command_line_with_a_file_to_files(working, house, scripted, tmp_path):
    parameters = (Parameter("what", ParameterKind.STRING), Parameter("file", ParameterKind.FILE), Parameter("n", ParameterKind.FLOAT, default=0.0))
    declaration = Declaration("readers", parameters=parameters, products=(DeclaredProduct("one"),))
    house.dispatcher.instruments["readers"] = FunctionInstrument(
        declaration, FunctionSettings("angelia_testing.functions:run"), Lent(folder=tmp_path / "place")
    )
    (tmp_path / "given.txt").write_text("two stars")
    out = tmp_path / "out"
    async with served(Front(house).app()) as port:

        def said(*words, exit_code=0):
            environment = {"ANGELIA_TOKEN": working.bearers["alice"]["Authorization"].removeprefix("Bearer ")}
            done = CliRunner().invoke(program, ["--url", f"http://127.0.0.1:{port}", "--json", "job", *words], env=environment)
            assert isinstance(done.exception, Failure) or done.exception is None, done.exception
            assert bool(exit_code) is (done.exception is not None), (done.output, done.exception)
            return str(done.exception) if exit_code else done.output

        def run():
            submitted = ("submit", "readers", "one", "what=read")
            job = json.loads(said(*submitted, f"file=@{tmp_path / 'given.txt'}"))["id"]
            assert json.loads(said("wait", job))["state"] == "done"
            assert json.loads(said("download", job, "--to", str(out))) == {"files": [str(out / "read.txt")]}
            assert (out / "read.txt").read_text() == "two stars"
            (out / "read.txt").write_text("mine")
            assert "File exists" in said("download", job, "--to", str(out), exit_code=1)
            assert (out / "read.txt").read_text() == "mine"
            assert "it has no product x; it has read" in said("download", job, "--product", "x", exit_code=1)
            assert "No such file" in said(*submitted, "file=@/nowhere", exit_code=1)
            bad = json.loads(said("submit", "readers", "one", "what=raise", "file=x"))["id"]
            assert said("wait", bad, exit_code=1) == "the job is failed"
            slow = json.loads(said("submit", "scripted", "one"))["id"]
            assert said("wait", slow, "--seconds", "0.1", exit_code=1).startswith("after 0.1 seconds it is ")

        scripted.is_done = False
        await asyncio.to_thread(run)


@pytest.mark.parametrize(
    ("said", "name", "wanted"),
    [
        ("attachment; filename*=UTF-8''a%20b.fits", "x", "a b.fits"), ("attachment; filename*=UTF-8''..%2F..%2Fetc%2Fpasswd", "x", "passwd"),
        ("", "a/../..", "product"), ("", ".bashrc", "bashrc"), ("", "a\\..\\b", "a_.._b"), ("attachment; filename*=UTF-8''a%0Ab%00", "x", "a_b_"),
    ],
)  # fmt: skip
def test_no_name_of_a_hub_leads_out_of_the_folder(said, name, wanted):
    assert _file_name(said, name) == wanted


async def test_all_that_came_of_it_is_one_file(working, house, scripted):
    def several(work):
        (work.folder / "a").mkdir(exist_ok=True)
        for name in ("a/x.txt", "x.txt"):
            (work.folder / name).write_text(name)
        write_manifest(work.folder, [{"name": name, "kind": "text", "path": name, "content_type": "text/plain"} for name in ("a/x.txt", "x.txt")])
        return Done()

    scripted.on_poll = several
    job = await until(working, (await submitted(working))["id"])
    answer = await working.outside.get(f"/api/v1/jobs/{job['id']}/archive", headers=working.bearers["alice"])
    assert answer.headers["content-disposition"] == f"attachment; filename={job['id']}.tar.gz"
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        assert {entry.name: (archive.extractfile(entry).read(), entry.uname, entry.uid) for entry in archive} == {
            "a/x.txt": (b"a/x.txt", "", 0), "x.txt": (b"x.txt", "", 0),
        }  # fmt: skip
    assert list((house.dispatcher.files._root / "archives").iterdir()) == []
    await ask(working, "bob", "GET", f"/api/v1/jobs/{job['id']}/archive", None, 404)
    scripted.on_poll = lambda work: Failed("no")
    failed = await until(working, (await submitted(working, n=3))["id"])
    await ask(working, "alice", "GET", f"/api/v1/jobs/{failed['id']}/archive", None, 404)


async def test_what_was_refused_changes_nothing(working, house, scripted):  # E6.78, E6.79
    scripted.is_done = False
    mine, others = await submitted(working), await submitted(working, "bob", n=7)
    for job in (mine, others):
        await until(working, job["id"], is_at("running"), login="bob" if job is others else "alice")
    works = {work.job_id: work for work in scripted.works.values()}
    for secret in ("", "x", works[others["id"]].callback_secret):
        for method, more in (
            ("POST", {"json": {"state": "failed"}, "headers": {"Authorization": f"Bearer {secret}"}}),
            ("GET", {"params": {"secret": secret, "action": "failed"}}),
        ):
            answer = await working.outside.request(method, f"/api/v1/jobs/{mine['id']}/callback", **more)
            assert answer.status_code == 403, (method, secret)
    for method in ("PUT", "DELETE", "PATCH"):
        assert (await working.outside.request(method, f"/api/v1/jobs/{mine['id']}/callback")).status_code == 405
    for path in ("/cancel", "/retry"):
        await ask(working, "alice", "GET", f"/api/v1/jobs/{mine['id']}{path}", None, 405)
        await ask(working, "bob", "POST", f"/api/v1/jobs/{mine['id']}{path}", None, 404)
    assert (await ask(working, "alice", "GET", f"/api/v1/jobs/{mine['id']}"))["state"] == "running"
    assert [row for row in await house.store.job_history(number(mine["id"])) if row.report] == []
    scripted.is_done = True
    job = await until(working, mine["id"])
    await ask(working, "alice", "POST", f"/api/v1/jobs/{job['id']}/cancel", None, 409)


async def test_numbers_for_operators(working, house, scripted):
    from angelia.flow.clock import now

    scripted.is_done = False
    job = await submitted(working)
    await until(working, job["id"], is_at("running"))
    await house.dispatcher.count(now())
    shown = await working.call("GET", "/metrics")
    assert 'angelia_jobs_in_state{instrument="scripted",state="running"} 1.0' in shown
    assert 'angelia_jobs_submitted_total{instrument="scripted",result="new"}' in shown
    assert {state.label for state in JobState} == set(STATES)
