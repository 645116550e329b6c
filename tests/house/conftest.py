"""A house in a folder, its API in process, and a clock that stands still."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import httpx2
import pytest
from argon2 import PasswordHasher

from angelia.flow.letters import Letters, Links
from angelia.flow.relay import Lifetimes, Relay
from angelia.flow.voice import Voice
from angelia.front import app_of
from angelia.house import House
from angelia.inlets.mail.lmtp import MailInlet
from angelia.inlets.mail.settings import MailInletSettings
from angelia.model.delivery import State
from angelia.web.signin import passwords
from angelia_testing.recording import RecordingAgent

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
SITE = {
    "preferences": {"*": {"web": "now", "feed": "now", "mail": "now"}, "quiet": {"mail": "off"}},
    "audience": {"obs.build.fail": ["maintainer"]},
    "locks": {"account.security": ["web", "mail"]},
    "schedules": {"hourly": {"every": "hour"}, "daily": {"every": "day", "at": ["08:00"]}},
    "hourly_cap": 5,
}


def knows(house: House, *names: str) -> None:
    """As if the hub had these agents: documents may name them."""
    house.people._agents |= set(names)
    house.people._site = replace(house.people.site, agents=house.people._agents)


class Bench:
    """The stages of a house, turned by hand at a time of the test's choice, with a recording agent for mail."""

    def __init__(self, house: House, api: httpx2.AsyncClient) -> None:
        self.house, self.store, self.api = house, house.store, api
        self.mail = RecordingAgent()
        self.now = NOW
        letters = Letters(house.store, house.people, Links("http://hub", house.secret))
        agents = dict(house.agents) | {"mail": self.mail}
        self.stages = {stage.name: stage for stage in house.stages}
        self.planner, self.digester, self.janitor, self.escalator = (self.stages[name] for name in ("planner", "digester", "janitor", "escalator"))
        self.relay = Relay(house.store, agents, letters, Voice(house.intake.accept), lambda: self.now, Lifetimes(), fallbacks=house.fallbacks)

    async def call(self, method, path, body=None, status=None, **more):
        answer = await self.api.request(method, path, json=body, **more)
        assert status is None or answer.status_code == status, answer.text
        return answer.json() if answer.text and "json" in answer.headers.get("content-type", "") else answer.text

    async def person(self, login, *, mail=True, preferences=None, **fields):
        await self.call("POST", "/api/v1/people", {"login": login} | fields, 201)
        if mail:
            address = {"agent": "mail", "value": f"{login}@example.org", "is_verified": True}
            await self.call("POST", f"/api/v1/people/{login}/addresses", address, 201)
        if preferences:
            await self.call("PUT", f"/api/v1/people/{login}/preferences", preferences, 200)

    async def post(self, kind="a.b", **fields):
        return (await self.call("POST", "/api/v1/messages", {"type": kind} | fields, 201))["id"]

    async def work(self, now=None):
        """Turn everything until nothing moves."""
        self.now = now or self.now
        await self.house.people.refresh()
        turned = (self.planner, self.digester, self.escalator, self.relay)
        while sum([await stage.turn(self.now) for stage in turned]):
            await self.settled()

    async def settled(self):
        while self.relay._tries:
            await asyncio.wait(self.relay._tries)
        if self.relay._flusher is not None:
            await self.relay._flusher

    async def why(self, message, login):
        return await self.call("GET", f"/api/v1/messages/{message}/why?login={login}", status=200)

    async def states(self, login="alice"):
        person = await self.store.person(login)

        found = await self.store.list_deliveries(states=list(State), agent="mail", person_id=person.person_id)
        return [(delivery.state.label, delivery.reason.value) for delivery in reversed(found)]


@pytest.fixture
def real_hashes() -> None:
    """Where the cost of a password's hash is the question."""


@pytest.fixture(autouse=True)
def _quick_hashes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere it costs next to nothing: most tests sign in, and each would compute for a second."""
    if "real_hashes" not in request.fixturenames:
        hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
        monkeypatch.setattr(passwords, "_hasher", hasher)
        monkeypatch.setattr(passwords, "_NOBODY", passwords._of_nobody(hasher))


@pytest.fixture
async def bench(house: House) -> AsyncIterator[Bench]:
    transport = httpx2.ASGITransport(app_of(house, trusts_caller=True))
    async with httpx2.AsyncClient(transport=transport, base_url="http://hub") as api:
        made = Bench(house, api)
        await made.call("PUT", "/api/v1/site", SITE, 200)
        yield made


@pytest.fixture
async def outside(house: House) -> AsyncIterator[httpx2.AsyncClient]:
    """The API as the world sees it."""
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app_of(house)), base_url="http://hub") as api:
        yield api


@pytest.fixture
async def inlet(bench: Bench) -> AsyncIterator[MailInlet]:
    """The house's own door for mail that comes back, with the clock of the bench, behind an LMTP server."""
    door = bench.house._door()
    door._clock = door._bounces._clock = door._replies._clock = bench.house.answers._clock = lambda: bench.now
    made = MailInlet(MailInletSettings(), door)
    running = asyncio.create_task(made.run(bench.house.intake.accept))
    async with asyncio.timeout(60):
        while not made.port:
            await asyncio.sleep(0.01)
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
