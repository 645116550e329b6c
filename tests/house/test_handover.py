"""Claimed at birth: intake writes for the planner beside it, and the planner for the relay, as long as these have room and nothing waits."""

import asyncio
from datetime import timedelta

import pytest

from angelia.flow import planner, relay
from angelia.flow.handover import LEASE, PLANNING, HandOver
from angelia.flow.lane import Lane
from angelia.model.delivery import State
from angelia.model.errors import StoreUnavailable
from angelia.model.moments import to_us
from angelia_testing.recording import RecordingAgent
from angelia_testing.waiting import eventually

AT_ONCE = {"preferences": {"*": {"mail": "now"}}, "hourly_cap": 10_000}


@pytest.fixture
async def desk(bench):
    """Between the bench's planner and its relay, which has looked once and offers what room it has."""
    made = HandOver(lambda: None)
    bench.planner._hand_over = bench.relay._hand_over = made
    await bench.call("PUT", "/api/v1/site", AT_ONCE, 200)
    await bench.person("alice")
    await bench.relay.turn(bench.now)
    return made


@pytest.fixture
def claims(bench, monkeypatch):
    """Which agents something was claimed for in the store."""
    made, claim = [], bench.store.claim_deliveries

    async def counted(agents, *rest):
        made.extend(agents)
        return await claim(agents, *rest)

    monkeypatch.setattr(bench.store, "claim_deliveries", counted)
    return made


async def post(bench, count=1, **fields):
    await bench.call("POST", "/api/v1/messages", [{"type": "a.b", "to": ["alice"], "subject": str(n)} | fields for n in range(count)], 201)


async def counts(bench):
    return await bench.store.conservation()


async def finish(bench):
    while await bench.relay.turn(bench.now) or bench.relay._tries:
        await bench.settled()
    await bench.settled()


def subjects(agent):
    return [letter.message.subject for letter in agent.letters]


@pytest.mark.usefixtures("desk")
async def test_what_is_due_now_goes_without_a_claim_of_its_own(bench, claims):
    await post(bench, 3)
    await bench.planner.turn(bench.now)
    assert await counts(bench) == {State.SENDING: 3}
    await finish(bench)
    assert claims == []
    assert subjects(bench.mail) == ["0", "1", "2"]
    first = bench.mail.letters[0]
    assert first.attempt == 1
    assert first.because == ("to",)
    assert first.decided_by == "site:*"
    assert await counts(bench) == {State.DELIVERED: 3}
    (kept,) = (await bench.store.deliveries([first.delivery.delivery_id])).values()
    assert (kept.attempts, kept.fence, kept.first_tried_at) == (1, 1, bench.now)
    assert await bench.store.check() == []


async def test_no_more_than_there_is_room_for_and_nobody_is_overtaken(bench, desk):
    bench.mail = RecordingAgent(concurrency=4)
    bench.relay._lanes["mail"] = Lane(bench.mail)
    await bench.relay.turn(bench.now)
    await post(bench, 6)
    await bench.planner.turn(bench.now)
    assert await counts(bench) == {State.SENDING: 4, State.DUE: 2}
    await post(bench, 1, subject="late")
    await bench.planner.turn(bench.now)
    assert await counts(bench) == {State.SENDING: 4, State.DUE: 3}
    assert not desk.promise("mail")
    await finish(bench)
    assert subjects(bench.mail) == ["0", "1", "2", "3", "4", "5", "late"]


@pytest.mark.usefixtures("desk")
async def test_while_more_waits_in_the_store_nothing_goes_before_it(bench):
    bench.mail = RecordingAgent(concurrency=4)
    bench.relay._lanes["mail"] = Lane(bench.mail)
    await post(bench, 9)
    bench.relay._hand_over = HandOver(lambda: None)  # what these nine find is a relay elsewhere
    bench.planner._hand_over, theirs = HandOver(lambda: None), bench.planner._hand_over
    await bench.planner.turn(bench.now)
    assert await counts(bench) == {State.DUE: 9}
    bench.planner._hand_over = bench.relay._hand_over = theirs
    await bench.relay.turn(bench.now)  # took four, and knows of more
    await post(bench, 1, subject="late")
    await bench.planner.turn(bench.now)
    assert (await counts(bench))[State.DUE] == 6
    await finish(bench)
    assert subjects(bench.mail)[-1] == "late"
    assert len(bench.mail.letters) == 10


@pytest.mark.usefixtures("desk")
async def test_a_pause_holds(bench):
    await bench.store.pause_agent("mail", True)
    bench.relay._looked_at = 0.0  # a second later
    await bench.relay.turn(bench.now)
    await post(bench)
    await bench.planner.turn(bench.now)
    assert await counts(bench) == {State.DUE: 1}


@pytest.mark.usefixtures("desk")
async def test_what_was_written_as_claimed_before_a_pause_waits_for_its_end(bench):
    bench.mail = RecordingAgent(concurrency=4)
    await post(bench)
    await bench.planner.turn(bench.now)
    await bench.store.pause_agent("mail", True)
    bench.relay._looked_at = 0.0
    await bench.relay._look()
    bench.relay._lanes["mail"].running = 20  # no place is free before the pause is seen
    await bench.relay._take_over(bench.now)
    bench.relay._looked_at = 0.0
    await bench.relay.turn(bench.now)
    await bench.settled()
    assert await counts(bench) == {State.DUE: 1}
    assert bench.mail.letters == []


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("people/alice/preferences", {"preferences": {"*": {"mail": "off"}}}),
        ("site", AT_ONCE | {"preferences": {"*": {"mail": "off"}}}),
    ],
)
@pytest.mark.usefixtures("desk")
async def test_wishes_that_changed_are_asked_at_hand_over(bench, path, document):
    await post(bench)
    await bench.planner.turn(bench.now)
    await bench.call("PUT", f"/api/v1/{path}", document, 200)
    await finish(bench)
    assert bench.mail.letters == []
    assert await counts(bench) == {State.SUPPRESSED: 1}


@pytest.mark.usefixtures("desk")
async def test_one_that_was_never_handed_over_comes_back_when_its_lease_ends(bench):
    await post(bench)
    await bench.planner.turn(bench.now)
    bench.relay._hand_over = HandOver(lambda: None)  # the process died, and this is another
    await finish(bench)
    assert bench.mail.letters == []
    later = bench.now + LEASE + timedelta(seconds=1)
    assert await bench.store.requeue_expired_leases(later) == 1
    await bench.work(later)
    assert len(bench.mail.letters) == 1
    assert bench.mail.letters[0].attempt == 2
    assert await counts(bench) == {State.DELIVERED: 1}


async def test_a_plan_that_can_not_be_written_keeps_no_room(bench, desk, monkeypatch):
    async def ill(*_):
        raise StoreUnavailable("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(bench.store, "record_and_claim", ill)
        await post(bench, 20)
        with pytest.raises(StoreUnavailable):
            await bench.planner.turn(bench.now)
    assert await counts(bench) == {}
    await bench.relay.turn(bench.now)
    assert [desk.promise("mail") for _ in range(20)] == [True] * 20
    assert not desk.promise("mail")


async def test_a_message_that_another_planner_took_over_is_not_handed_over(bench, desk, monkeypatch):
    record = bench.store.record_and_claim

    async def late(*rest):
        await bench.store.claim_messages(10, LEASE, bench.now + timedelta(minutes=1))
        return await record(*rest)

    monkeypatch.setattr(bench.store, "record_and_claim", late)
    await post(bench)
    await bench.planner.turn(bench.now)
    assert desk.take() == []
    assert await counts(bench) == {}


async def test_a_relay_that_stops_gives_back_what_it_was_given_last(bench, desk, monkeypatch):
    monkeypatch.setattr(relay, "LONGEST_PROMISE", 60.0)
    record, asked, gate = bench.store.record_and_claim, asyncio.Event(), asyncio.Event()

    async def slow(*rest):
        asked.set()
        await gate.wait()
        return await record(*rest)

    monkeypatch.setattr(bench.store, "record_and_claim", slow)
    await post(bench)
    planning = asyncio.create_task(bench.planner.turn(bench.now))
    await asked.wait()
    stopping = asyncio.create_task(bench.relay.drain())
    await eventually(lambda: desk._is_closed)
    gate.set()
    await asyncio.gather(planning, stopping)
    assert await counts(bench) == {State.DUE: 1}
    await post(bench)
    await bench.planner.turn(bench.now)
    assert await counts(bench) == {State.DUE: 2}
    bench.relay._hand_over = HandOver(lambda: None)
    await finish(bench)
    assert {letter.attempt for letter in bench.mail.letters} == {1}
    assert await counts(bench) == {State.DELIVERED: 2}


@pytest.fixture
async def door(bench, monkeypatch):
    """Between intake and the bench's planner, which has looked once; all by one clock."""
    monkeypatch.setattr(bench.house.intake, "_clock_us", lambda: to_us(bench.now))
    await bench.call("PUT", "/api/v1/site", AT_ONCE, 200)
    await bench.person("alice")
    await bench.planner.turn(bench.now)
    return bench.house.intake.hand_over


@pytest.fixture
def found(bench, monkeypatch):
    """How many messages each claim in the store found."""
    made, claim = [], bench.store.claim_messages

    async def counted(*rest):
        claimed = await claim(*rest)
        made.append(len(claimed))
        return claimed

    monkeypatch.setattr(bench.store, "claim_messages", counted)
    return made


@pytest.mark.usefixtures("door")
async def test_what_is_accepted_is_planned_without_a_claim_of_its_own(bench, found):
    await post(bench, 3)
    assert await bench.planner.turn(bench.now) == 3
    assert found == [0]
    assert await counts(bench) == {State.DUE: 3}
    assert await bench.planner.turn(bench.now + PLANNING * 2) == 0
    await finish(bench)
    assert subjects(bench.mail) == ["0", "1", "2"]


@pytest.mark.usefixtures("door")
async def test_a_repeat_is_planned_once(bench, found):
    for _ in range(2):
        await bench.call("POST", "/api/v1/messages", {"type": "a.b", "to": ["alice"], "subject": "s", "idempotency_key": "k"})
    assert await bench.planner.turn(bench.now) == 1
    assert await bench.planner.turn(bench.now + PLANNING * 2) == 0
    assert found == [0, 0]
    assert await counts(bench) == {State.DUE: 1}


@pytest.mark.usefixtures("door")
async def test_what_a_dead_process_had_accepted_is_planned_when_its_lease_ends(bench, found):
    await post(bench)
    bench.planner._accepted = HandOver(lambda: None)  # another process
    assert await bench.planner.turn(bench.now) == 0
    assert await bench.planner.turn(bench.now + PLANNING) == 1
    assert found == [0, 1]
    assert await counts(bench) == {State.DUE: 1}


@pytest.mark.usefixtures("door")
async def test_more_than_one_turn_takes_waits_in_the_store(bench, monkeypatch, found):
    monkeypatch.setattr(planner, "BATCH", 4)
    await bench.planner.turn(bench.now)
    for _ in range(3):
        await post(bench, 3)
    assert await bench.planner.turn(bench.now) == 4  # three that were given, and as many as there is room for
    await post(bench, 1)  # nobody goes before those that wait
    assert not bench.house.intake.hand_over.has_given
    while await bench.planner.turn(bench.now):
        pass
    assert sum(found) == 7
    assert await counts(bench) == {State.DUE: 10}


async def test_what_can_not_be_stored_keeps_no_room(bench, door, monkeypatch):
    async def ill(_):
        raise StoreUnavailable("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(bench.store, "add_messages", ill)
        await bench.call("POST", "/api/v1/messages", {"type": "a.b", "to": ["alice"]}, 503)
    assert not door._promised
    assert not door.has_given


@pytest.mark.usefixtures("door")
async def test_what_was_stored_though_nobody_could_say_so_waits_for_no_lease(bench, monkeypatch):
    add = bench.store.add_messages

    async def unsure(rows):
        await add(rows)
        raise StoreUnavailable("the database does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(bench.store, "add_messages", unsure)
        await bench.call("POST", "/api/v1/messages", {"type": "a.b", "to": ["alice"]}, 503)
    await asyncio.gather(*bench.house.intake._letting_go)
    assert await bench.planner.turn(bench.now) == 1
    assert await counts(bench) == {State.DUE: 1}


async def test_a_planner_that_stops_plans_what_it_was_given_last(bench, door):
    await post(bench)
    await bench.planner.drain()
    assert await counts(bench) == {State.DUE: 1}
    await post(bench)
    assert not door.has_given
    assert await bench.planner.turn(bench.now) == 1


async def test_an_offer_ends(door):
    door.offer({"messages": 5}, seconds=0.0)
    assert not door.promise("messages")
    door.offer({"messages": 5}, seconds=60.0)
    assert not door.promise("messages", 6)
    assert door.promise("messages", 5)
    assert not door.promise("messages")
