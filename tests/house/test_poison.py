"""What breaks a stage breaks it for itself alone: one poisonous message, digest or escalation holds up none of the others."""

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from tests.house.conftest import NOW

from angelia.flow.digester import LONGEST_PENANCE
from angelia.flow.janitor import Janitor
from angelia.flow.planner import MOST_ATTEMPTS
from angelia_testing.waiting import eventually

DAILY = {"preferences": {"*": {"mail": "daily"}}}
SLOT = datetime(2026, 11, 25, 8, 0, 1, tzinfo=UTC)
CHAIN = {"preferences": {"*": {"mail": "now"}}, "escalate": {"*": {"after": "10m", "to": ["person:dave"]}}}


def told(bench):
    return [letter.person.login for letter in bench.mail.letters]


def breaking(monkeypatch, thing, name, is_poison):
    """A method that fails for some arguments, as long as the list it returns is empty."""
    real, healed = getattr(thing, name), []

    async def fails(*given):
        if not healed and is_poison(*given):
            raise ValueError("poison")
        return await real(*given)

    monkeypatch.setattr(thing, name, fails)
    return healed


async def test_a_digest_that_cannot_be_made_holds_up_no_other(bench, monkeypatch):
    for login in ("alice", "bob"):
        await bench.person(login, preferences=DAILY)
    first = min([(await bench.store.person(login)).person_id for login in ("alice", "bob")])
    healed = breaking(monkeypatch, bench.store, "held_items", lambda slot, _: slot.person_id == first)
    await bench.post(to=["alice", "bob"])
    await bench.work()
    await bench.work(SLOT)
    assert told(bench) == ["bob"]
    assert await bench.digester.turn(SLOT) == 0  # it rests, and does not keep the loop busy
    healed.append(True)
    await bench.work(SLOT + timedelta(seconds=1))
    assert told(bench) == ["bob"]
    await bench.work(SLOT + LONGEST_PENANCE)
    assert told(bench) == ["bob", "alice"] and not bench.digester.is_restless()


async def test_digests_that_cannot_be_made_leave_room_for_later_ones(bench, monkeypatch):
    monkeypatch.setattr("angelia.flow.digester.BATCH", 2)
    for login in ("alice", "bob", "carol"):
        await bench.person(login, preferences=DAILY)
    last = max([(await bench.store.person(login)).person_id for login in ("alice", "bob", "carol")])
    breaking(monkeypatch, bench.store, "held_items", lambda slot, _: slot.person_id != last)
    await bench.post(to=["alice", "bob", "carol"])
    await bench.work()
    for seconds in range(3):
        await bench.work(SLOT + timedelta(seconds=seconds))
    assert told(bench) == ["carol"]


async def test_a_digest_goes_in_its_slot_though_one_of_its_lines_is_called_back_meanwhile(bench, monkeypatch):
    await bench.person("alice", preferences=DAILY)
    for number in range(3):
        await bench.post(to=["alice"], object=f"x/{number}", subject=f"number {number}")
    await bench.work()
    real = bench.store.held_items

    async def then_muted(slot, limit):
        found = await real(slot, limit)
        if len(found) == 3:
            await bench.call("PUT", "/api/v1/people/alice/preferences", DAILY | {"mutes": {"x/1": "full"}}, 200)
        return found

    monkeypatch.setattr(bench.store, "held_items", then_muted)
    await bench.work(SLOT)
    (letter,) = bench.mail.letters
    assert letter.digest.messages == 2


async def test_an_escalation_that_cannot_go_on_holds_up_no_other(bench, monkeypatch):
    for login in ("alice", "bob", "dave"):
        await bench.person(login, preferences=CHAIN if login != "dave" else None)
    poison = await bench.post("a.poison", to=["alice"], severity="urgent", subject="first")
    await bench.post("a.b", to=["bob"], severity="urgent", subject="second")
    await bench.work()
    healed = breaking(monkeypatch, bench.escalator, "_told", lambda due, message, *_: message.type == "a.poison")
    await bench.work(NOW + timedelta(minutes=11))
    assert told(bench) == ["alice", "bob", "dave"] and bench.mail.letters[-1].message.subject == "second"
    healed.append(True)
    await bench.work(NOW + timedelta(minutes=12))
    assert told(bench) == ["alice", "bob", "dave", "dave"] and bench.mail.letters[-1].message.subject == "first", poison


async def test_a_message_that_cannot_be_recorded_holds_up_no_other_and_is_parked(bench, monkeypatch):
    for login in ("alice", "bob"):
        await bench.person(login)
    breaking(monkeypatch, bench.store, "record_plans", lambda plans, *_: any(plan.message.type == "a.poison" for plan in plans))
    poison = await bench.post("a.poison", to=["alice"])
    await bench.post("a.b", to=["bob"])
    await bench.work()
    assert told(bench) == ["bob"]
    for number in range(1, MOST_ATTEMPTS):
        await bench.work(NOW + timedelta(minutes=number))
    parked = await bench.call("GET", "/api/v1/parked", status=200)
    assert [(entry["message"]["id"], entry["error"]) for entry in parked["items"]] == [(poison, "ValueError: poison")]


async def test_a_chore_that_fails_keeps_none_of_the_others_from_their_minute(bench):
    done = []

    async def fails(_):
        raise OSError(13, "Permission denied")

    async def works(now):
        done.append(now)

    janitor = Janitor(bench.store, timedelta(days=1), [fails, works])
    for number in range(2):
        await janitor.turn(NOW + timedelta(minutes=number))
    assert done == [NOW, NOW + timedelta(minutes=1)]


class Broken:
    """An inlet that breaks once."""

    name, fault, runs = "broken", "", 0

    async def run(self, accept):
        self.runs += 1
        if self.runs == 1:
            raise RuntimeError("the library changed")
        await asyncio.Event().wait()


async def test_an_inlet_that_breaks_is_seen_and_begins_again(house, monkeypatch):
    inlet, rest, seen = Broken(), asyncio.Event(), []

    async def until_looked(_):
        seen.append(await house.ready())
        await rest.wait()

    monkeypatch.setattr("angelia.flow.loop.asyncio", SimpleNamespace(sleep=until_looked))
    taking = asyncio.create_task(house._taking(inlet))
    await eventually(lambda: seen)
    assert seen[0]["inlet broken"] == "RuntimeError: the library changed"
    rest.set()
    await eventually(lambda: inlet.runs == 2)
    assert "inlet broken" not in await house.ready()
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)


@pytest.mark.parametrize(("said", "told_at"), [({"mail": "off"}, ["alice"]), ({"mail": "daily"}, ["alice"]), ({}, ["alice"])])
async def test_one_of_her_addresses_is_wanted_and_the_others_not(bench, said, told_at):
    await bench.person("alice", preferences={"preferences": {"*": {"mail:alice@example.org": "now"} | said}})
    message = await bench.post(to=["alice"])
    await bench.work()
    assert told(bench) == told_at
    agents = (await bench.why(message, "alice"))["agents"]
    assert agents["mail:alice@example.org" if said else "mail"]["outcome"] == "now"
    assert ("mail" in agents) and len([name for name in agents if name.startswith("mail")]) == 1 + len(said)
