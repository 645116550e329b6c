"""What every store promises of jobs, as tests: subclass, give a fixture `store` (opened, empty)."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from angelia.model.declaration import ProductKind
from angelia.model.errors import RateLimited
from angelia.model.job import Campaign, Job, JobChange, JobReason, JobState, Product, content_hash
from angelia.store import JobQuery, Joined, Store

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
LEASE = timedelta(seconds=30)
ALL = {"echo": 100, "slow": 100}


def a_job(number: int, login: str = "alice", instrument: str = "echo", **more: Any) -> Job:
    """Asked at NOW; another number in the values makes another hash."""
    values = more.pop("values", {"n": number})
    return Job(
        job_id=number, owner=login, instrument=instrument, product="table", values=values, created_at=NOW, changed_at=NOW, due_at=NOW,
        content_hash=content_hash(instrument, "1", "table", values), state=JobState.QUEUED, version="1", **more,
    )  # fmt: skip


async def at(store: Store, number: int, *states: JobState, **more: Any) -> Job:
    """A job that was led through these states."""
    if await store.job(number) is None:
        await store.add_job(a_job(number, **more), NOW)
    for state in states:
        changed = await store.change_job(number, JobChange(by="dispatcher", state=state), NOW)
        assert changed is not None
    job = await store.job(number)
    assert job is not None
    return job


class JobSuite:
    """Promises of JobStore."""

    async def test_values_come_back_as_they_were(self, store: Store) -> None:
        told = a_job(1, values={"ä": [1, 2.5, None, {"x": "'"}]}, session="S", alias="abc", deadline_at=NOW + LEASE)
        assert (await store.add_job(told, NOW)).joined is Joined.NEW
        assert await store.job(1) == told
        assert await store.job_by_alias("abc") == told
        assert await store.job_by_alias("abc", "bob") is None
        assert await store.job_by_alias("") is None
        assert await store.job(2) is None
        other = a_job(3, values={"n": 3})
        await store.add_job(other, NOW)
        await store.add_job(a_job(4, "bob", values={"n": 3}), NOW)
        assert await store.jobs_by_id([1]) == {1: told}
        assert await store.jobs_by_id([1, 2, 3]) == {1: told, 3: await store.job(3)}
        assert await store.jobs_by_id([2]) == {}

    async def test_two_who_ask_the_same_share_one_run(self, store: Store) -> None:
        await store.add_job(a_job(1, values={"n": 0}, alias="a"), NOW)
        joined = await store.add_job(a_job(2, "bob", values={"n": 0}, alias="b"), NOW)
        assert (joined.joined, joined.job.job_id, joined.job.people, joined.job.is_shared) == (Joined.JOINED, 1, ("alice", "bob"), True)
        assert await store.job(2) is None
        assert [job.job_id for job in await store.jobs(JobQuery(login="bob"))] == [1]
        for alias in ("a", "b"):
            found = await store.job_by_alias(alias)
            assert found is not None
            assert found.job_id == 1

    async def test_a_new_one_is_taken_in_its_own_write_unless_others_wait(self, store: Store) -> None:
        told = a_job(1)
        added = await store.add_job(told, NOW, lease=LEASE)
        assert (added.job, added.joined) == (told, Joined.NEW)
        assert added.taken == await store.job(1)
        assert added.taken is not None
        assert (added.taken.state, added.taken.fence, added.taken.due_at) == (JobState.SUBMITTING, 1, NOW + LEASE)
        assert [row.state for row in await store.job_history(1)] == [JobState.QUEUED]
        assert await store.claim_jobs(ALL, LEASE, NOW, 10) == []
        assert [job.job_id for job in await store.jobs(JobQuery(login="alice", states=[JobState.SUBMITTING]))] == [1]
        assert (await store.add_job(a_job(2, "bob", values={"n": 1}), NOW, lease=LEASE)).taken is None
        await store.add_job(a_job(3), NOW)
        assert (await store.add_job(a_job(4), NOW, lease=LEASE)).taken is None
        assert (await store.add_job(a_job(5, instrument="slow"), NOW, lease=LEASE)).taken is not None
        late = await store.claim_jobs(ALL, LEASE, NOW + LEASE, 10)
        assert sorted((claim.job.job_id, claim.is_first, claim.job.fence) for claim in late) == [
            (1, False, 2),
            (3, True, 1),
            (4, True, 1),
            (5, False, 2),
        ]

    async def test_fifty_at_once_are_one_job_that_is_started_once(self, store: Store) -> None:
        added = await asyncio.gather(*(store.add_job(a_job(n, f"person{n}", values={"n": 0}), NOW) for n in range(1, 51)))
        assert len({one.job.job_id for one in added}) == 1
        assert sum(one.joined is Joined.NEW for one in added) == 1
        claims = await asyncio.gather(*(store.claim_jobs(ALL, LEASE, NOW, 10) for _ in range(8)))
        assert sum(len(claim) for claim in claims) == 1

    async def test_what_came_to_nothing_runs_again_under_the_same_id(self, store: Store) -> None:
        failed = await at(store, 1, JobState.SUBMITTING, JobState.FAILED)
        again = await store.add_job(a_job(2, values={"n": 1}), NOW)
        assert (again.joined, again.job.job_id, again.job.state) == (Joined.RETRIED, 1, JobState.QUEUED)
        assert (again.job.attempt, again.job.ended_at) == (2, None)
        assert again.job.fence > failed.fence
        assert again.job.key != failed.key

    async def test_one_that_was_cancelled_belongs_to_who_asks_next(self, store: Store) -> None:
        await at(store, 1, JobState.CANCELLED)
        again = await store.add_job(a_job(2, "bob", values={"n": 1}), NOW)
        assert (again.job.job_id, again.job.people, again.job.state) == (1, ("bob",), JobState.QUEUED)

    async def test_a_result_is_kept_for_the_next_unless_a_fresh_one_is_wanted(self, store: Store) -> None:
        await at(store, 1, JobState.SUBMITTING, JobState.DONE)
        cached = await store.add_job(a_job(2, values={"n": 1}), NOW)
        assert (cached.joined, cached.job.job_id, cached.job.state) == (Joined.JOINED, 1, JobState.DONE)
        fresh = await store.add_job(a_job(3, values={"n": 1}), NOW, is_fresh=True)
        assert (fresh.joined, fresh.job.job_id) == (Joined.NEW, 3)
        assert (await store.add_job(a_job(4, values={"n": 1}), NOW, is_fresh=True)).job.job_id == 3

    async def test_there_is_a_cap_on_what_waits(self, store: Store) -> None:
        for number in (1, 2):
            await store.add_job(a_job(number), NOW, most_waiting=2)
        with pytest.raises(RateLimited):
            await store.add_job(a_job(3), NOW, most_waiting=2)
        await store.add_job(a_job(3, "bob"), NOW, most_waiting=2)
        await at(store, 1, JobState.CANCELLED)
        await store.add_job(a_job(4), NOW, most_waiting=2)

    async def test_a_claimed_job_is_nobody_elses_until_its_lease_ends(self, store: Store) -> None:
        await store.add_job(a_job(1), NOW)
        (claimed,) = await store.claim_jobs(ALL, LEASE, NOW, 10)
        assert claimed.is_first
        assert claimed.job.state is JobState.SUBMITTING
        assert await store.claim_jobs(ALL, LEASE, NOW + LEASE / 2, 10) == []
        (late,) = await store.claim_jobs(ALL, LEASE, NOW + LEASE, 10)
        assert not late.is_first
        old = JobChange(by="dispatcher", state=JobState.SUBMITTED, fence=claimed.job.fence, handle="old")
        assert await store.change_job(1, old, NOW) is None
        changed = await store.change_job(1, replace(old, fence=late.job.fence, handle="new"), NOW)
        assert changed is not None
        assert changed.handle == "new"

    async def test_a_lease_can_be_made_longer_by_its_holder(self, store: Store) -> None:
        await store.add_job(a_job(1), NOW)
        (claimed,) = await store.claim_jobs(ALL, LEASE, NOW, 10)
        assert await store.renew_jobs({1: claimed.job.fence, 2: 0}, NOW + 2 * LEASE) == {1}
        assert await store.renew_jobs({1: claimed.job.fence - 1}, NOW + 9 * LEASE) == set()
        assert await store.claim_jobs(ALL, LEASE, NOW + LEASE, 10) == []
        assert len(await store.claim_jobs(ALL, LEASE, NOW + 2 * LEASE, 10)) == 1

    async def test_only_so_many_are_started_as_there_is_room(self, store: Store) -> None:
        for number in range(1, 6):
            await store.add_job(a_job(number), NOW)
        await store.add_job(a_job(6, instrument="slow"), NOW)
        first = await store.claim_jobs({"echo": 2, "slow": 0}, LEASE, NOW, 10)
        assert [one.job.job_id for one in first] == [1, 2]
        held = await store.claim_jobs({"echo": 0}, LEASE, NOW + LEASE, 10)
        assert sorted(one.job.job_id for one in held) == [1, 2]
        assert not any(one.is_first for one in held)

    async def test_no_step_that_the_table_does_not_have(self, store: Store) -> None:
        done = await at(store, 1, JobState.SUBMITTING, JobState.RUNNING, JobState.DONE)
        for state in JobState:
            assert await store.change_job(1, JobChange(by="instrument", state=state), NOW) is None
        assert await store.change_job(1, JobChange(by="instrument", progress=0.5), NOW) is None
        assert await store.job(1) == done
        assert (done.started_at, done.ended_at, done.progress) == (NOW, NOW, 1.0)

    async def test_one_of_many_at_once_ends_a_job(self, store: Store) -> None:
        await at(store, 1, JobState.SUBMITTING, JobState.RUNNING)
        ends = [JobChange(by="instrument", state=state) for state in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)] * 4
        changed = await asyncio.gather(*(store.change_job(1, end, NOW) for end in ends))
        assert sum(one is not None for one in changed) == 1
        history = await store.job_history(1)
        assert sum(row.state.is_final for row in history) == 1

    async def test_reports_that_come_late_or_twice_change_nothing(self, store: Store) -> None:
        await at(store, 1, JobState.SUBMITTING, JobState.SUBMITTED)
        two = JobChange(by="instrument", state=JobState.RUNNING, progress=0.5, sequence=2, report={"n": 2})
        assert await store.change_job(1, two, NOW) is not None
        assert await store.change_job(1, two, NOW) is None
        assert await store.change_job(1, JobChange(by="instrument", progress=0.9, sequence=1), NOW) is None
        slower = await store.change_job(1, JobChange(by="instrument", progress=0.2, sequence=3), NOW)
        assert slower is not None
        assert slower.progress == 0.5
        assert [row.report for row in await store.job_history(1) if row.report] == [{"n": 2}]

    async def test_history_tells_what_happened_in_order(self, store: Store) -> None:
        await at(store, 1, JobState.SUBMITTING, JobState.RUNNING)
        change = JobChange(by="dispatcher", state=JobState.FAILED, reason=JobReason.LIMIT, message="too long")
        await store.change_job(1, change, NOW + LEASE)
        history = await store.job_history(1)
        assert [row.number for row in history] == list(range(1, len(history) + 1))
        assert [row.state for row in history if row.by != "alice"][-2:] == [JobState.RUNNING, JobState.FAILED]
        assert (history[0].by, history[-1].message, history[-1].reason, history[-1].at) == ("alice", "too long", JobReason.LIMIT, NOW + LEASE)

    async def test_products_are_those_of_the_last_attempt(self, store: Store) -> None:
        image = Product("b", ProductKind.IMAGE, "An image", "image/png", 3, "00", {"unit": "keV"}, "b.png")
        table = Product("a", ProductKind.TABLE, "A table", "text/csv", 4, "01", {}, "a.csv")
        await at(store, 1, JobState.SUBMITTING, JobState.RUNNING)
        await store.change_job(1, JobChange(by="dispatcher", products=[table]), NOW)
        assert await store.job_products(1) == [table]
        small = Product("c", ProductKind.FILE, "Few bytes", "x/y", 4, "02", {}, "c.bin", b"\0\xff'\n")
        await store.change_job(1, JobChange(by="dispatcher", products=[small, table]), NOW)
        assert await store.job_products(1) == [small, table]
        await store.change_job(1, JobChange(by="dispatcher", state=JobState.FAILED, products=[image, table]), NOW)
        assert await store.job_products(1) == [image, table]
        assert await store.kept_bytes("alice") == 7
        await at(store, 1, JobState.QUEUED)
        assert await store.job_products(1) == []
        assert await store.kept_bytes("alice") == 0

    async def test_lists_are_of_one_person_by_state_in_pages(self, store: Store) -> None:
        for number in range(1, 6):
            await store.add_job(a_job(number, "bob" if number == 3 else "alice", session=f"s{number % 2}"), NOW)
        await at(store, 4, JobState.CANCELLED)

        async def ids(**more: Any) -> list[int]:
            return [job.job_id for job in await store.jobs(JobQuery(**more))]

        assert await ids(login="alice") == [5, 4, 2, 1]
        assert await ids(login="alice", limit=2) == [5, 4]
        assert await ids(login="alice", limit=2, before_id=4) == [2, 1]
        assert await ids(login="alice", states=[JobState.CANCELLED]) == [4]
        assert await ids(login="alice", states=[JobState.QUEUED], instrument="echo") == [5, 2, 1]
        assert await ids(login="alice", session="s1") == [5, 1]
        assert await ids() == [5, 4, 3, 2, 1]
        assert await ids(states=[JobState.CANCELLED]) == [4]
        assert await ids(instrument="slow") == []

    async def test_one_who_leaves_leaves_the_run_to_the_others(self, store: Store) -> None:
        await store.add_job(a_job(1, values={"n": 0}), NOW)
        await store.add_job(a_job(2, "bob", values={"n": 0}), NOW + LEASE)
        assert not await store.leave_job(1, "alice", NOW)
        job = await store.job(1)
        assert job is not None
        assert job.people == ("bob",)
        assert await store.leave_job(1, "bob", NOW)
        assert await store.jobs(JobQuery(login="alice")) == []

    async def test_old_jobs_are_forgotten_with_all_that_is_theirs(self, store: Store) -> None:
        await at(store, 1, JobState.CANCELLED, alias="abc")
        await at(store, 2)
        assert await store.old_jobs(NOW, 10) == []
        assert await store.old_jobs(NOW + LEASE, 10) == [1]
        await store.forget_jobs([1])
        assert await store.job(1) is None
        assert await store.job_by_alias("abc") is None
        assert await store.job_history(1) == []
        assert (await store.add_job(a_job(3, values={"n": 1}), NOW)).joined is Joined.NEW

    async def test_what_has_not_ended_is_counted(self, store: Store) -> None:
        await at(store, 1)
        await at(store, 2, JobState.SUBMITTING)
        await at(store, 3, JobState.CANCELLED)
        assert await store.job_counts() == {("echo", JobState.QUEUED): 1, ("echo", JobState.SUBMITTING): 1}

    async def test_mere_progress_does_not_fill_the_store(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("angelia.stores.jobs.MOST_HISTORY", 5)
        await at(store, 1, JobState.SUBMITTING, JobState.RUNNING)
        for number in range(10):
            assert await store.change_job(1, JobChange(by="instrument", message=str(number)), NOW) is not None
        await at(store, 1, JobState.DONE)
        history = await store.job_history(1)
        assert len(history) == 7
        assert history[-1].state is JobState.DONE

    async def test_steps_that_people_care_about_are_told_once(self, store: Store) -> None:
        await at(store, 1, JobState.SUBMITTING, JobState.QUEUED, JobState.SUBMITTING, JobState.RUNNING, JobState.FAILED, JobState.QUEUED)
        await store.add_job(a_job(2, ""), NOW)
        told = await store.untold_jobs(10)
        assert [(row.state, row.attempt) for _, _, row in told] == [(JobState.QUEUED, 1), (JobState.FAILED, 1), (JobState.QUEUED, 2)]
        assert {job.job_id for _, job, _ in told} == {1}
        await store.told_jobs([number for number, _, _ in told[:2]])
        assert [number for number, _, _ in await store.untold_jobs(10)] == [told[2][0]]

    async def test_who_joins_what_has_not_begun_is_told_so_and_again_where_that_is_wanted(self, store: Store) -> None:
        await at(store, 1, values={"n": 0})
        later = [NOW + timedelta(seconds=seconds) for seconds in range(6)]
        for second, login, is_told_again in ((1, "bob", False), (2, "bob", False), (3, "alice", False), (4, "bob", True), (5, "bob", True)):
            await store.add_job(a_job(10 + second, login, values={"n": 0}), later[second], is_told_again=is_told_again)
        told = [(row.by, row.reason, row.asked_before) for _, _, row in await store.untold_jobs(10)]
        asked = JobReason.ASKED
        assert told == [("alice", JobReason.NONE, ()), ("bob", asked, ()), ("bob", asked, (3.0,)), ("bob", asked, (4.0, 1.0))]
        *_, (_, shared, _) = await store.untold_jobs(10)
        assert shared.joined_at == {"alice": NOW, "bob": later[1]}
        job = await store.job(1)
        assert job is not None and (job.state, job.reason, job.joined_at) == (JobState.QUEUED, JobReason.NONE, {})
        await at(store, 1, JobState.SUBMITTING, JobState.RUNNING)
        await store.add_job(a_job(20, "carol", values={"n": 0}), NOW, is_told_again=True)
        assert len(await store.untold_jobs(10)) == 4  # it computes: its end is what she waits for
        await store.add_job(a_job(21, "", values={"n": 1}), NOW)
        await store.add_job(a_job(22, "dave", values={"n": 1}), NOW)
        await store.add_job(a_job(23, "", values={"n": 1}), NOW, is_told_again=True)
        assert [row.by for _, job, row in await store.untold_jobs(10) if job.job_id == 21] == ["dave"]
        assert [row.by for row in await store.job_history(21)] == ["", "dave"]

    async def test_the_questions_that_are_kept_are_bounded(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("angelia.stores.jobs.MOST_HISTORY", 3)
        for number in range(10):
            await store.add_job(a_job(1 + number, values={"n": 0}), NOW, is_told_again=True)
        assert len(await store.job_history(1)) == 4

    async def test_when_a_run_was_asked_for_is_told_with_its_end(self, store: Store) -> None:
        await at(store, 1, JobState.SUBMITTING, JobState.FAILED)
        wanted = NOW + timedelta(days=3)
        await store.change_job(1, JobChange(by="alice", state=JobState.QUEUED), wanted)
        await store.change_job(1, JobChange(by="dispatcher", state=JobState.SUBMITTING), wanted)
        await store.change_job(1, JobChange(by="dispatcher", state=JobState.SUBMITTED), wanted)
        # The instrument lost it, and the dispatcher begins it anew: that is the same question.
        await store.change_job(1, JobChange(by="dispatcher", state=JobState.QUEUED), wanted + LEASE)
        await at(store, 1, JobState.SUBMITTING, JobState.DONE)
        *_, (_, job, row) = await store.untold_jobs(10)
        assert (row.state, job.attempt, job.asked_at) == (JobState.DONE, 3, wanted)

    async def test_what_was_shown_while_it_ran_is_gone_with_a_job_that_came_to_nothing(self, store: Store) -> None:
        shown = Product("x", ProductKind.TEXT, "x", "text/plain", 3, "0" * 64, {}, "x", b"abc")
        for number, state in enumerate((JobState.FAILED, JobState.CANCELLED, JobState.LOST), 1):
            await at(store, number, JobState.SUBMITTING, JobState.RUNNING)
            await store.change_job(number, JobChange(by="dispatcher", progress=0.5, products=[shown]), NOW)
            assert await store.job_products(number) == [shown]
            job = await at(store, number, state)
            assert (await store.job_products(number), job.output_bytes) == ([], 0)

    async def test_ids_alone(self, store: Store) -> None:
        for number, login in ((1, "alice"), (2, "bob"), (3, "alice")):
            await at(store, number, login=login)
        assert await store.job_ids(None, 10) == [3, 2, 1]
        assert await store.job_ids("alice", 10) == [3, 1]
        assert await store.job_ids(None, 1) == [3]
        assert await store.job_ids("carol", 10) == []

    async def test_what_is_young_is_told_only_of_a_job_that_has_ended(self, store: Store) -> None:
        await at(store, 1)
        await at(store, 2, JobState.SUBMITTING, JobState.DONE)
        young = await store.untold_jobs(10, NOW - LEASE)
        assert [(job.job_id, row.state) for _, job, row in young] == [(2, JobState.QUEUED), (2, JobState.DONE)]
        assert len(await store.untold_jobs(10, NOW + LEASE)) == 3

    async def test_the_last_end_of_a_campaign_is_told_once(self, store: Store) -> None:
        for number in (1, 2):
            await at(store, number, campaign="scan")
        await at(store, 3, campaign="other")
        await at(store, 1, JobState.SUBMITTING, JobState.DONE)
        assert await store.untold_campaigns(NOW, 10) == []
        await asyncio.gather(*(store.change_job(n, JobChange(by="alice", state=JobState.CANCELLED), NOW) for n in (2, 3)))
        ended = {one.name: one for one in await store.untold_campaigns(NOW, 10)}
        assert ended["scan"] == Campaign("alice", "scan", 1, NOW, NOW, {JobState.DONE: 1, JobState.CANCELLED: 1})
        assert ended["other"].counts == {JobState.CANCELLED: 1}
        assert await store.untold_campaigns(NOW - LEASE, 10) == []
        assert await store.campaign_counts("alice", "scan") == {JobState.DONE: 1, JobState.CANCELLED: 1}
        assert await store.campaign_counts("bob", "scan") == await store.campaign_counts("alice", "") == {}
        await store.told_campaigns([ended["scan"]])
        assert [one.name for one in await store.untold_campaigns(NOW, 10)] == ["other"]
        await store.forget_jobs([1, 2, 3])
        assert [one.counts for one in await store.untold_campaigns(NOW, 10)] == [{}]

    async def test_a_campaign_that_goes_on_is_told_when_it_ends_again(self, store: Store) -> None:
        await at(store, 1, JobState.SUBMITTING, JobState.FAILED, campaign="scan")
        (first,) = await store.untold_campaigns(NOW, 10)
        await at(store, 1, JobState.QUEUED)
        assert await store.untold_campaigns(NOW, 10) == []
        await at(store, 1, JobState.SUBMITTING, JobState.DONE)
        await store.told_campaigns([first])
        (second,) = await store.untold_campaigns(NOW, 10)
        assert (second.rounds, second.counts) == (2, {JobState.DONE: 1})
        await store.told_campaigns([second])
        assert await store.untold_campaigns(NOW, 10) == []

    async def test_two_jobs_that_end_at_once_end_their_campaign(self, store: Store) -> None:
        numbers = range(1, 21)
        for number in numbers:
            await at(store, number, campaign="scan")
        await asyncio.gather(*(store.change_job(n, JobChange(by="alice", state=JobState.CANCELLED), NOW) for n in numbers))
        (ended,) = await store.untold_campaigns(NOW, 10)
        assert (ended.rounds, ended.counts) == (1, {JobState.CANCELLED: 20})

    async def test_each_who_shares_a_run_has_a_campaign_of_her_own(self, store: Store) -> None:
        await at(store, 1, campaign="a", values={"n": 0})
        await store.add_job(a_job(2, "bob", values={"n": 0}, campaign="b"), NOW)
        await store.add_job(a_job(3, "carol", values={"n": 0}), NOW)
        assert {job.in_campaign for _, job, _ in await store.untold_jobs(10)} == {("alice", "bob")}
        assert [one.job_id for one in await store.jobs(JobQuery(login="bob", campaign="b"))] == [1]
        assert await store.jobs(JobQuery(login="bob", campaign="a")) == []
        await store.add_job(a_job(4, "bob", values={"n": 0}, campaign="c"), NOW)
        assert not await store.leave_job(1, "alice", NOW)
        await at(store, 1, JobState.SUBMITTING, JobState.DONE)
        told = [(one.login, one.name, one.counts) for one in await store.untold_campaigns(NOW, 10)]
        assert sorted(told) == [("alice", "a", {}), ("bob", "b", {}), ("bob", "c", {JobState.DONE: 1})]

    async def test_a_report_that_is_not_counted_is_kept_once(self, store: Store) -> None:
        await at(store, 1, JobState.SUBMITTING, JobState.RUNNING)
        for action in ("a", "a", "b", "a"):
            await store.change_job(1, JobChange(by="instrument", report={"action": action}), NOW)
        assert [row.report["action"] for row in await store.job_history(1) if row.report] == ["a", "b", "a"]
