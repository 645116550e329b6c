"""What every agent promises, as tests: subclass `AgentSuite`, give a fixture `bench`."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from angelia.agent import Agent, Letter
from angelia.model.delivery import Delivery, Later, Refused, Sent, Skipped, State
from angelia.model.message import Message
from angelia.model.person import Address, AddressState, Person
from angelia.planning.digest import DigestItem, assemble
from angelia_testing.lost_worker import sent_by_two_workers

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
ONE_TRY = 3.0
"""Seconds that one try may take where nobody listens; whoever takes longer tries again or sleeps."""
HOSTILE = (
    "hello\r\nBcc: bob@example.org\r\n\r\n.\r\nQUIT\r\n",
    "=?utf-8?q?x=0ABcc:_bob@example.org?= <script>alert(1)</script> {{ 7 * 7 }} {% raw %} ${x} %s",
    '"},{"id":"forged"} \x1b[31m \u202e\u0085\u2028 --boundary\n--=_b\n]]>',
    "x" * 20_000,
)


@dataclass(frozen=True, slots=True)
class Arrival:
    """What came to the peer: the id by which it knows a repeat, who gets it, and the names of its parts (headers, keys, elements) without values."""

    key: str
    recipients: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bench:
    """An agent and its peer. `arrived` tells all that came, oldest first; None where the medium keeps nothing (pull media).

    `unreachable` is such an agent whose peer refuses connections, `silent` one whose peer accepts and says nothing; None where there is no network.
    """

    agent: Agent
    address: str = "alice@example.org"
    arrived: Callable[[], Awaitable[Sequence[Arrival]]] | None = None
    unreachable: Agent | None = None
    silent: Agent | None = None

    def letter(self, number: int = 1, **fields: Any) -> Letter:
        """A letter to alice."""
        text = {"subject": "hello", "body": "a word"} | fields
        message = Message(message_id=number, source="ci", type="obs.build.fail", received_at=NOW, occurred_at=NOW, **text)
        return Letter(
            delivery=self._delivery(number, message_id=number),
            person=Person(person_id=1, login="alice"),
            address=self._address(),
            message=message,
            because=("to",),
            decided_by="site:*",
        )

    def digest(self, number: int = 2) -> Letter:
        """A digest of two messages."""
        items = [DigestItem(delivery_id=n, message_id=n, type="obs.build.fail", subject=f"number {n}", occurred_at=NOW) for n in (11, 12)]
        delivery = self._delivery(number, digest_id=number)
        return replace(self.letter(), delivery=delivery, message=None, digest=assemble(items, NOW).digest, slot_at=NOW)

    def _delivery(self, number: int, **of: Any) -> Delivery:
        place = 0 if self.agent.is_pull else 1
        return Delivery(delivery_id=number, person_id=1, agent=self.agent.name, address_id=place, state=State.SENDING, due_at=NOW, **of)

    def _address(self) -> Address | None:
        if self.agent.is_pull:
            return None
        return Address(address_id=1, person_id=1, agent=self.agent.name, value=self.address, state=AddressState.OK)


async def _came(bench: Bench, count: int) -> Sequence[Arrival]:
    """What came; waits a little for `count` letters, repeats not counted."""
    assert bench.arrived is not None
    deadline = time.monotonic() + 5
    found = await bench.arrived()
    while len({arrival.key for arrival in found}) < count and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
        found = await bench.arrived()
    return found


class AgentSuite:
    """The promises of `angelia.agent.Agent`."""

    @pytest.fixture(autouse=True)
    async def _closed(self, bench: Bench) -> AsyncIterator[None]:
        yield
        for agent in (bench.agent, bench.unreachable, bench.silent):
            if agent is not None:
                await agent.close()

    def test_it_says_what_it_is(self, bench: Bench) -> None:
        agent = bench.agent
        assert agent.name.isidentifier() and agent.name == agent.name.lower()
        assert isinstance(agent.is_pull, bool) and isinstance(agent.is_interruptive, bool)
        assert agent.concurrency >= 1
        assert agent.is_pull or agent.check_address(agent.address_example)

    def test_an_address_has_one_form(self, bench: Bench) -> None:
        once = bench.agent.check_address(bench.address)
        assert once is not None
        assert bench.agent.check_address(once) == once == bench.agent.check_address(bench.address)

    def test_nothing_that_could_be_two_addresses_is_one(self, bench: Bench) -> None:
        if bench.agent.is_pull:
            return  # there are no addresses
        good = bench.address
        lists = (f"{good},{good}", f"{good} {good}", f"{good};{good}", f"<{good}>,<{good}>")
        injections = (f"{good}\r\nX: y", f"{good}\n", f"\n{good}", f"{good}\x00", f"{good}\ud800", f"{good}\u2028{good}", f"{good}\t")
        for value in ("", " ", *lists, *injections, good + "x" * 100_000):
            assert bench.agent.check_address(value) is None, repr(value[:60])

    def test_a_destination_names_no_person(self, bench: Bench) -> None:
        agent = bench.agent
        assert agent.destination(bench.letter(1)) == agent.destination(bench.letter(2)) != ""
        assert bench.agent.is_pull or bench.address not in agent.destination(bench.letter())

    async def test_a_letter_arrives_once(self, bench: Bench) -> None:
        assert isinstance(await bench.agent.deliver(bench.letter()), Sent)
        if bench.arrived is not None:
            assert len(await _came(bench, 1)) == 1

    async def test_a_digest_arrives_too(self, bench: Bench) -> None:
        assert isinstance(await bench.agent.deliver(bench.digest()), Sent)
        if bench.arrived is not None:
            assert len(await _came(bench, 1)) == 1

    async def test_a_repeat_has_the_same_id_and_another_letter_its_own(self, bench: Bench) -> None:
        for number in (1, 1, 2):
            await bench.agent.deliver(bench.letter(number))
        if bench.arrived is not None:
            came = await _came(bench, 2)
            assert len({arrival.key for arrival in came}) == 2
            assert 2 <= len(came) <= 3

    async def test_who_takes_over_from_a_lost_worker_sends_under_the_same_id(
        self, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Lost between the sending and the writing down; the peer sees the letter once, or twice under one id."""
        if bench.agent.is_pull:
            return  # what is pulled is written down at once
        delivery = await sent_by_two_workers(bench.agent, bench.address, tmp_path, monkeypatch)
        assert delivery.state is State.DELIVERED
        if bench.arrived is not None:
            came = await _came(bench, 1)
            assert len({arrival.key for arrival in came}) == 1 <= len(came) <= 2

    @pytest.mark.parametrize("text", HOSTILE, ids=["headers", "markup", "signs", "length"])
    async def test_foreign_text_stays_text(self, bench: Bench, text: str) -> None:
        """The same letter with other words has the same parts and recipients."""
        plain = await bench.agent.deliver(bench.letter(1))
        outcome = await bench.agent.deliver(bench.letter(2, subject=text, body=text))
        assert isinstance(plain, Sent) and isinstance(outcome, Sent | Refused)
        if bench.arrived is not None and isinstance(outcome, Sent):
            first, second = await _came(bench, 2)
            assert (second.recipients, second.parts) == (first.recipients, first.parts)

    async def test_many_at_once(self, bench: Bench) -> None:
        count = min(bench.agent.concurrency, 20)
        outcomes = await asyncio.gather(*(bench.agent.deliver(bench.letter(number)) for number in range(1, count + 1)))
        assert all(isinstance(outcome, Sent) for outcome in outcomes)
        if bench.arrived is not None:
            came = await _came(bench, count)
            assert len(came) == len({arrival.key for arrival in came}) == count

    async def test_a_letter_without_an_address_is_an_outcome(self, bench: Bench) -> None:
        if bench.agent.is_pull:
            return  # there are no addresses
        outcome = await bench.agent.deliver(replace(bench.letter(), address=None))
        assert isinstance(outcome, Refused | Skipped | Later)

    async def test_trouble_on_the_way_is_later_after_one_try(self, bench: Bench) -> None:
        if bench.unreachable is None:
            return  # there is nothing that could be away
        started = time.monotonic()
        outcome = await bench.unreachable.deliver(bench.letter())
        assert isinstance(outcome, Later) and outcome.why
        assert time.monotonic() - started < ONE_TRY

    async def test_a_try_can_be_cancelled(self, bench: Bench) -> None:
        if bench.silent is None:
            return  # there is nothing that could be away
        trying = asyncio.create_task(bench.silent.deliver(bench.letter()))
        done, _ = await asyncio.wait([trying], timeout=0.3)
        assert not done, "the peer was to be silent"
        trying.cancel()
        async with asyncio.timeout(ONE_TRY):
            with pytest.raises(asyncio.CancelledError):
                await trying

    async def test_it_can_be_closed_twice(self, bench: Bench) -> None:
        await bench.agent.deliver(bench.letter())
        await bench.agent.close()
        await bench.agent.close()
