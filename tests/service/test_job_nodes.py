"""A call-back that one process of a site takes ends the job that another holds, at once and not at its next poll."""

import asyncio

import pytest

from angelia.house import House
from angelia.model.job import JobState, Principal, Report, callback_secret
from angelia.settings import load
from angelia_testing.databases import with_schema
from angelia_testing.scripted import ScriptedInstrument

ALICE = Principal("alice")


@pytest.fixture
def settings(postgresql, tmp_path):
    told = {"data_dir": str(tmp_path), "database": postgresql.database(has_schema=True), "secret": "s" * 40}
    made = load(environment={}, overrides={"house": told})
    with_schema(made.database)
    return made


@pytest.fixture
async def houses(settings):
    """(the one that takes requests, the one that works)."""
    async with House.open(settings) as front, House.open(settings) as back:
        working = asyncio.create_task(back.work())
        yield front, back
        back.stop()
        await asyncio.gather(working, return_exceptions=True)


async def test_a_call_back_at_another_process_takes_effect_at_once(houses):
    front, back = houses
    scripted = ScriptedInstrument()
    scripted.is_done, scripted.poll_seconds = False, 3_600
    for house in houses:
        house.dispatcher.instruments["scripted"] = scripted
    job = await front.dispatcher.submit(ALICE, "scripted", "one", {})

    async def until(*states):
        async with asyncio.timeout(40):
            while (now := await front.store.job(job.job_id)).state not in states:
                await asyncio.sleep(0.02)
        return now

    running = await until(JobState.RUNNING)
    scripted.is_done = True
    secret = callback_secret(front.secret, running)
    assert await front.dispatcher.call_back(job.job_id, secret, Report(JobState.DONE))
    assert back.dispatcher._in_hand.get(job.job_id) is not None
    assert (await until(*(state for state in JobState if state.is_final))).state is JobState.DONE
