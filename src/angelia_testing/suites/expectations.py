"""What every store promises of expectations, as tests: subclass, give a fixture `store` (opened, empty)."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from angelia.model.errors import Conflict
from angelia.model.expectation import Expectation, ExpectationState, Sign, SignKind
from angelia.model.person import Group, Person
from angelia.store import Plan, Store
from angelia_testing.suites.store import LEASE, NOW, row

HOUR = timedelta(hours=1)
MOST = 5


async def alice(store: Store, login: str = "alice") -> Person:
    return await store.put_person(Person(person_id=0, login=login))


def expected(person: Person, **terms: object) -> Expectation:
    said = {"title": "backup", "every": 24 * HOUR, "grace": HOUR, "created_at": NOW, "since": NOW} | terms
    return Expectation(person_id=person.person_id, **said)  # type: ignore[arg-type]


async def added(store: Store, secret: str = "s", **terms: object) -> Expectation:
    known = await store.person("alice")
    return await store.add_expectation(expected(known or await alice(store), **terms), secret, MOST)


async def seen(store: Store, one: Expectation) -> Expectation:
    found = await store.expectation(one.expectation_id)
    assert found is not None
    return found


async def heard(store: Store, one: Expectation, kind: SignKind, at: datetime, **more: object) -> int:
    return await store.note_signs({one.expectation_id: Sign(kind, at, **more)})  # type: ignore[arg-type]


async def told(store: Store) -> list[tuple[str, str]]:
    """Kind and state of all that is to be told; then it is."""
    found = await store.claim_expectation_news(100, LEASE, NOW)
    await store.settle_expectation_news([one.moment.number for one in found])
    return [(one.moment.kind, one.moment.after.label) for one in found]


class ExpectationSuite:
    """The promises of `ExpectationStore`."""

    async def test_one_comes_back_as_it_went_in(self, store: Store) -> None:
        terms: dict[str, Any] = {
            "every": None,
            "cron": "30 3 * * *",
            "zone": "Europe/Berlin",
            "source": "ci",
            "type": "a.b",
            "object": "o",
            "to": ("bob", "group:x"),
        }
        one = await added(store, **terms)
        assert one.expectation_id and await seen(store, one) == one
        assert await store.list_expectations(one.person_id) == [(one, "alice")] == await store.list_expectations(None)
        assert await store.list_expectations(None, one.expectation_id) == []
        assert await store.expectation_at("s") == one.expectation_id and await store.expectation_at("t") is None

    async def test_nobody_has_more_than_she_may(self, store: Store) -> None:
        person = await alice(store)
        made = await asyncio.gather(
            *(store.add_expectation(expected(person), f"s{number}", MOST) for number in range(MOST + 3)), return_exceptions=True
        )
        assert len([one for one in made if isinstance(one, Expectation)]) == MOST
        assert all(isinstance(one, Conflict) for one in made if not isinstance(one, Expectation))
        assert len(await store.list_expectations(person.person_id)) == MOST

    async def test_other_terms_leave_where_it_stands(self, store: Store) -> None:
        one = await added(store)
        await heard(store, one, SignKind.SUCCESS, NOW + HOUR)
        changed = await store.put_expectation(replace(one, title="other", every=2 * HOUR, since=NOW + 9 * HOUR, state=ExpectationState.FAILED))
        assert changed is not None and changed == await seen(store, one)
        assert (changed.title, changed.since, changed.state) == ("other", NOW + HOUR, ExpectationState.WELL)
        assert await store.next_due_at([], NOW) == NOW + 4 * HOUR
        assert await store.put_expectation(replace(one, person_id=one.person_id + 1)) is None

    async def test_silence_is_written_once_whoever_looks(self, store: Store) -> None:
        one = await added(store)
        over = NOW + 25 * HOUR
        assert await store.next_due_at([], NOW) == over
        assert await store.find_silences(10, over - timedelta(seconds=1)) == 0
        assert sum(await asyncio.gather(*(store.find_silences(10, over) for _ in range(8)))) == 1
        assert await store.find_silences(10, over + 999 * HOUR) == 0
        assert (await seen(store, one)).state is ExpectationState.SILENT
        assert await told(store) == [("silence", "silent")] and await told(store) == []
        await heard(store, one, SignKind.SUCCESS, over + HOUR)
        await heard(store, one, SignKind.SUCCESS, over + 2 * HOUR)
        assert await told(store) == [("success", "well")]

    async def test_of_all_signs_only_changes_are_to_be_told(self, store: Store) -> None:
        one = await added(store)
        for number, kind in enumerate((SignKind.START, SignKind.FAIL, SignKind.START, SignKind.FAIL, SignKind.SUCCESS, SignKind.MESSAGE), 1):
            assert await heard(store, one, kind, NOW + number * HOUR, text=f"line {number}") == 1
        assert await told(store) == [("fail", "failed"), ("success", "well")]
        lines = await store.expectation_history(one.expectation_id)
        assert [(line.kind, line.text) for line in lines] == [
            ("success", "line 5"), ("fail", "line 4"), ("start", "line 3"), ("fail", "line 2"), ("start", "line 1"),
        ]  # fmt: skip
        assert [line.took for line in lines] == [None, HOUR, None, HOUR, None]
        assert await store.expectation_history(one.expectation_id, lines[1].number, 1) == [lines[2]]
        assert (await seen(store, one)).seen_at == NOW + 6 * HOUR
        assert await heard(store, one, SignKind.SUCCESS, NOW) == 0  # it came before
        assert await store.note_signs({one.expectation_id + 1: Sign(SignKind.SUCCESS, NOW)}) == 0

    async def test_news_are_held_by_one_worker_and_come_back(self, store: Store) -> None:
        one = await added(store)
        await heard(store, one, SignKind.FAIL, NOW + HOUR, exit_code=3, text="no space")
        (news,) = await store.claim_expectation_news(10, LEASE, NOW)
        assert (news.login, news.expectation, news.moment.exit_code, news.moment.text) == ("alice", await seen(store, one), 3, "no space")
        assert await store.claim_expectation_news(10, LEASE, NOW + LEASE / 2) == []
        assert await store.next_due_at([], NOW) == NOW  # somebody has to look
        assert await store.claim_expectation_news(10, LEASE, NOW + LEASE) == [news]
        await store.settle_expectation_news([news.moment.number])
        assert await store.claim_expectation_news(10, LEASE, NOW + LEASE) == []

    async def test_only_the_last_hundred_lines_are_kept_and_all_that_is_to_be_told(self, store: Store) -> None:
        one = await added(store)
        await heard(store, one, SignKind.FAIL, NOW + HOUR)
        for number in range(120):
            await heard(store, one, SignKind.START, NOW + 2 * HOUR + timedelta(seconds=number))
        lines = await store.expectation_history(one.expectation_id, limit=1_000)
        assert len(lines) == 101 and [line.kind for line in lines[-2:]] == ["start", "fail"]
        assert await told(store) == [("fail", "failed")]
        await heard(store, one, SignKind.START, NOW + 3 * HOUR)
        assert {line.kind for line in await store.expectation_history(one.expectation_id, limit=1_000)} == {"start"}

    async def test_a_pause_waits_for_nothing_and_begins_anew(self, store: Store) -> None:
        one = await added(store)
        assert await store.pause_expectation(one.expectation_id + 1, NOW, is_paused=True) is None
        paused = await store.pause_expectation(one.expectation_id, NOW, is_paused=True)
        assert paused == await store.pause_expectation(one.expectation_id, NOW, is_paused=True) == await seen(store, one)
        assert await store.find_silences(10, NOW + 999 * HOUR) == 0 and await store.next_due_at([], NOW) is None
        await heard(store, one, SignKind.FAIL, NOW + HOUR)
        again = await store.pause_expectation(one.expectation_id, NOW + 99 * HOUR, is_paused=False)
        assert again is not None and (again.state, again.since) == (ExpectationState.WAITING, NOW + 99 * HOUR)
        assert await store.next_due_at([], NOW) == NOW + 124 * HOUR and await told(store) == []
        kinds = [line.kind for line in await store.expectation_history(one.expectation_id)]
        assert kinds == ["resume", "fail", "pause"]

    async def test_an_address_is_replaced_and_revoked(self, store: Store) -> None:
        one = await added(store)
        assert await store.rotate_expectation(one.expectation_id, "t")
        assert await store.expectation_at("s") is None and await store.expectation_at("t") == one.expectation_id
        assert await store.rotate_expectation(one.expectation_id, None) and await store.expectation_at("t") is None
        assert not await store.rotate_expectation(one.expectation_id + 1, "u")

    async def test_what_is_removed_is_gone_with_all_that_belongs_to_it(self, store: Store) -> None:
        one = await added(store)
        await heard(store, one, SignKind.FAIL, NOW + HOUR)
        assert await store.remove_expectation(one.expectation_id) and not await store.remove_expectation(one.expectation_id)
        assert await store.expectation(one.expectation_id) is None and await told(store) == []
        assert await store.expectation_history(one.expectation_id) == [] and await store.next_due_at([], NOW) is None
        # Messages have keys made of these numbers.
        assert (await added(store)).expectation_id > one.expectation_id

    async def test_who_listens_and_who_reads(self, store: Store) -> None:
        await added(store)
        _, before = await store.versions()
        one = await added(store, "t", source="ci", object="o")
        assert (await store.versions())[1] > before  # planners read again
        await store.put_group(Group(group_id=0, name="qa", members=("alice",)))
        (listening,) = await store.listening()
        assert (listening.expectation_id, listening.source, listening.type, listening.object) == (one.expectation_id, "ci", "", "o")
        assert listening.readers == {"alice", "group:qa"}
        assert await store.put_expectation(replace(one, source="", object="")) is not None
        assert await store.listening() == []

    async def test_a_message_is_a_sign_once_it_is_planned(self, store: Store) -> None:
        one, other = await added(store, source="ci"), await added(store, "t", source="ci", type="obs.build")
        elsewhere = await added(store, "u", source="other")
        over = NOW + 25 * HOUR
        await store.add_messages([row(1, at=over - HOUR, kind="obs.builds")])
        # What waits to be planned may be its sign: of another source or type it can't be.
        assert await store.find_silences(10, over) == 2
        (claimed,) = await store.claim_messages(10, LEASE, over)
        assert await store.record_plans([Plan(claimed.message, claimed.fence + 1, hearing=[one.expectation_id])], [], [], over) == 0
        assert (await seen(store, one)).seen_at is None
        assert await store.record_plans([Plan(claimed.message, claimed.fence, hearing=[one.expectation_id])], [], [], over) == 1
        found = await seen(store, one)
        assert (found.state, found.seen_at, found.since) == (ExpectationState.WELL, over - HOUR, over - HOUR)
        assert await store.find_silences(10, over) == 0
        assert [(await seen(store, each)).state for each in (other, elsewhere)] == [ExpectationState.SILENT] * 2
        assert [line.kind for line in await store.expectation_history(one.expectation_id)] == ["message"]

    async def test_what_was_looked_at_or_came_too_late_holds_up_no_alarm(self, store: Store) -> None:
        one, over = await added(store, object="o"), NOW + 25 * HOUR
        await store.add_messages([row(1, at=over)])
        assert await store.find_silences(10, over) == 0
        (claimed,) = await store.claim_messages(10, LEASE, over)
        assert await store.find_silences(10, over) == 0  # somebody plans it now
        await store.postpone_message(1, claimed.fence, over + HOUR, "its relation source is away")  # whose sign it is was noted before
        await store.add_messages([row(2, at=over + timedelta(microseconds=1))])
        assert await store.find_silences(10, over) == 1
        assert (await seen(store, one)).state is ExpectationState.SILENT

    async def test_those_that_wait_for_a_plan_hold_up_no_others(self, store: Store) -> None:
        waiting = [await added(store, f"s{number}", object="o") for number in range(3)]
        over = NOW + 26 * HOUR
        pings = [await added(store, f"p{number}", grace=2 * HOUR) for number in range(2)]
        await store.add_messages([row(1, at=NOW)])
        assert [await store.find_silences(1, over) for _ in range(3)] == [1, 1, 0]
        assert [(await seen(store, each)).state for each in pings] == [ExpectationState.SILENT] * 2
        assert [(await seen(store, each)).state for each in waiting] == [ExpectationState.WAITING] * 3

    async def test_a_clock_that_went_back_puts_nothing_off(self, store: Store) -> None:
        one = await added(store)
        await heard(store, one, SignKind.SUCCESS, NOW + 900 * HOUR)
        await heard(store, one, SignKind.START, NOW + 901 * HOUR)
        await store.forget_future(NOW)
        found = await seen(store, one)
        assert (found.since, found.seen_at, found.started_at) == (NOW, NOW, NOW)
        assert await store.next_due_at([], NOW) == NOW + HOUR

    @pytest.mark.parametrize("count", [1, 30])
    async def test_pings_at_once_lose_nothing(self, store: Store, count: int) -> None:
        one = await added(store)
        signs = (heard(store, one, SignKind.SUCCESS, NOW + timedelta(seconds=number)) for number in range(1, count + 1))
        await asyncio.gather(*signs)
        assert (await seen(store, one)).seen_at == NOW + timedelta(seconds=count)
