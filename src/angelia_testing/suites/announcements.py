"""What every store promises of announcements, as tests: subclass, give a fixture `store` (opened, empty)."""

import json
from datetime import timedelta
from typing import Any

import pytest

from angelia.model.delivery import Reason, State
from angelia.model.job import JobChange, JobState
from angelia.model.moments import public_id
from angelia.model.person import Person
from angelia.store import InboxQuery, Settlement, Store
from angelia_testing.suites.jobs import a_job
from angelia_testing.suites.store import LEASE, NOW, delivery, planned, row


async def told(store: Store) -> list[tuple[str, Any]]:
    """All that waits, keys and bodies; then nothing does."""
    found = await store.claim_announcements(1_000, LEASE, NOW)
    await store.settle_announcements([one.number for one in found])
    return [(one.key, json.loads(one.body)) for one in found]


class AnnouncementSuite:
    """The promises of `AnnouncementStore`."""

    @pytest.fixture(autouse=True)
    def written(self, store: Store) -> list[bool]:
        """One entry for each commit after which somebody is to look."""
        written: list[bool] = []
        store.announce(lambda: written.append(True))
        return written

    async def test_messages_are_told_once(self, store: Store, written: list[bool]) -> None:
        await store.add_messages([row(1, "k"), row(2)])
        assert len(written) == 1
        await store.add_messages([row(3, "k"), row(4, "k", b"other")])
        found = await told(store)
        assert [(key, body["id"], body["source"]) for key, body in found] == [
            ("message.accepted.obs.build.fail", public_id("msg", number), "ci") for number in (1, 2)
        ]

    async def test_deliveries_are_told_when_they_are_over_and_only_by_who_holds_them(self, store: Store) -> None:
        await planned(store, 1, [delivery(11, 1), delivery(12, 1, person_id=2)])
        await told(store)
        first, second = await store.claim_deliveries(["mail"], 10, LEASE, NOW)
        later = Settlement(11, first.fence, State.DUE, Reason.CHOSEN, NOW + LEASE, "451")
        stale = Settlement(12, second.fence + 1, State.DELIVERED, Reason.CHOSEN)
        await store.settle([later, stale], NOW)
        assert await told(store) == []
        await store.settle([Settlement(12, second.fence, State.DELIVERED, Reason.CHOSEN)], NOW)
        assert await store.bounce(12, "550", (), NOW)
        assert not await store.bounce(12, "550", (), NOW)
        found = await told(store)
        assert [key for key, _ in found] == ["delivery.delivered.mail", "delivery.bounced.mail"]
        assert {(body["id"], body["message"]) for _, body in found} == {(public_id("dlv", 12), public_id("msg", 1))}

    async def test_answers_and_marks_are_told_where_they_change_something(self, store: Store) -> None:
        alice = await store.put_person(Person(person_id=0, login="alice"))
        web = delivery(11, 1, "web", State.DELIVERED, person_id=alice.person_id)
        await planned(store, 1, [web], person_id=alice.person_id)
        await told(store)
        for _ in range(2):
            await store.mark(alice.person_id, InboxQuery(agent="web"), [11, 12], "archive", NOW)
            await store.answer(alice.person_id, [1, 2], "chat", NOW, is_acknowledged=True)
        assert [(key, body["login"], body["count"]) for key, body in await told(store)] == [
            ("inbox.archive", "alice", 1),
            ("message.acknowledged.chat", "alice", 1),
        ]

    async def test_states_of_jobs_are_told(self, store: Store) -> None:
        await store.add_job(a_job(1), NOW)
        await store.add_job(a_job(1, "bob"), NOW)  # joins
        assert await store.change_job(1, JobChange(by="x", state=JobState.DONE), NOW) is None
        await store.change_job(1, JobChange(by="x", state=JobState.SUBMITTING), NOW)
        await store.change_job(1, JobChange(by="x", state=JobState.RUNNING, progress=0.5), NOW)
        await store.change_job(1, JobChange(by="x", progress=0.7), NOW)
        await store.change_job(1, JobChange(by="x", state=JobState.FAILED), NOW)
        await store.add_job(a_job(1), NOW)  # again
        words = ["queued", "submitting", "running", "failed", "queued"]
        assert [key for key, _ in await told(store)] == [f"job.{word}.echo" for word in words]

    async def test_what_fails_tells_nothing(self, store: Store) -> None:
        with pytest.raises(ValueError, match="away"):
            await store.mark(1, InboxQuery(agent="web"), [11], "away", NOW)
        with pytest.raises(Exception):  # noqa: B017 - each database has its own words for a number that it can't hold
            await store.add_messages([row(1), row(1 << 70)])
        assert await store.announcements_waiting() == 0

    async def test_one_worker_at_a_time_holds_them(self, store: Store) -> None:
        await store.add_messages([row(number) for number in range(1, 4)])
        first, second = await store.claim_announcements(2, LEASE, NOW)
        assert await store.claim_announcements(2, LEASE, NOW + LEASE / 2) == []
        assert await store.claim_announcements(2, LEASE, NOW + LEASE) == [first, second]
        # By number: what was committed late has a lower one than others that are told already.
        await store.settle_announcements([second.number])
        assert [one.number for one in await store.claim_announcements(9, LEASE, NOW + LEASE)] == [first.number, second.number + 1]
        assert await store.claim_announcements(1, LEASE, NOW - timedelta(days=3))

    async def test_no_number_is_given_twice(self, store: Store) -> None:
        numbers = set()
        for number in range(1, 4):
            await store.add_messages([row(number)])
            (one,) = await store.claim_announcements(9, LEASE, NOW)
            await store.settle_announcements([one.number])
            numbers.add(one.number)
        assert len(numbers) == 3

    async def test_the_oldest_go_where_there_are_too_many(self, store: Store) -> None:
        await store.add_messages([row(number) for number in range(1, 31)])
        assert await store.trim_announcements(30) == 0
        assert await store.trim_announcements(10) == 20
        assert await store.announcements_waiting() == 10
        assert (await told(store))[0][1]["id"] == public_id("msg", 21)
        assert await store.trim_announcements(0) == 0
