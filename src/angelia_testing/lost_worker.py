"""A worker that is lost after its agent has sent and before that is written down; the next one sends again."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import pytest

from angelia import house as composition
from angelia.agent import Agent
from angelia.flow.letters import Letters, Links
from angelia.flow.relay import Lifetimes, Relay
from angelia.flow.voice import Voice
from angelia.house import House
from angelia.inlet import Draft
from angelia.model.delivery import Delivery, State
from angelia.model.message import Message, Recipient
from angelia.model.payload import payload_of
from angelia.model.person import Address, AddressState, Person
from angelia.settings import load
from angelia.store import Settlement
from angelia_testing.databases import empty_database


@asynccontextmanager
async def house_of(agent: Agent, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """A house in `folder` with this agent alone, its stages not running."""
    (folder / "angelia.db").write_bytes(await asyncio.to_thread(empty_database))
    monkeypatch.setattr(composition, "make_agents", lambda *_: {agent.name: agent})
    async with House.open(load(environment={}, overrides={"house": {"data_dir": str(folder)}, "delivery": {"seen_wait": 0}})) as house:
        yield house


async def planned(house: House, agent: str, addresses: Mapping[str, str]) -> None:
    """One message for the people (by login) who have these addresses, planned."""
    store = house.store
    for login, value in addresses.items():
        await store.put_person(Person(person_id=0, login=login))
        await store.put_wants(login, {"preferences": {"*": {agent: "now"}}}, follows=[], rules=[], expected_version=None)
        person = await store.person(login)
        assert person is not None
        address = Address(address_id=0, person_id=person.person_id, agent=agent, value=value, state=AddressState.OK, is_default=True)
        await store.add_address(address)
    await house.refresh()
    to = tuple(map(Recipient, addresses))
    message = Message(
        message_id=0, source="ci", type="obs.build.fail", received_at=house.now(), occurred_at=house.now(), subject="failed", recipients=to
    )
    await house.intake.accept(message.source, [Draft(message.type, payload_of(message))])
    planner = next(stage for stage in house.stages if stage.name == "planner")
    while await planner.turn(house.now()):
        pass


def worker(house: House, agent: Agent) -> Relay:
    """Somebody who sends what is due there."""
    letters = Letters(house.store, house.people, Links("http://hub", house.secret))
    return Relay(house.store, {agent.name: agent}, letters, Voice(house.intake.accept), house.now, Lifetimes())


async def sent_by_two_workers(agent: Agent, address: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Delivery:
    """One message for alice goes by `agent` to `address` from a house in `folder`, twice; her delivery as it stands at the end."""
    async with house_of(agent, folder, monkeypatch) as house:
        await planned(house, agent.name, {"alice": address})
        await _lost_before_it_is_written(house, worker(house, agent))
        await house.store.release_leases()  # as a start does
        second = worker(house, agent)
        assert await second.turn(house.now()) == 1
        await second.drain()
        (delivery,) = await house.store.list_deliveries(states=list(State), agent=agent.name)
        return delivery


async def _lost_before_it_is_written(house: House, first: Relay) -> None:
    tried, settle = asyncio.Event(), house.store.settle
    waiting: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def never(settlements: Sequence[Settlement], now: datetime) -> int:
        del settlements, now
        tried.set()
        return await waiting

    house.store.settle = never  # type: ignore[method-assign]
    assert await first.turn(house.now()) == 1
    async with asyncio.timeout(60):
        await tried.wait()
    tasks = [task for task in (*first._tries, first._flusher) if task is not None]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    house.store.settle = settle  # type: ignore[method-assign]
