"""Two processes' worth of hub on one PostgreSQL: one serves those who watch, the other does the work and takes rights away."""

import asyncio
import contextlib

import httpx2
import pytest

from angelia.flow import inbox_feed
from angelia.front import app_of
from angelia.house import House
from angelia.settings import load
from angelia.web.stream import native
from angelia.wire import callers
from angelia_testing.databases import with_schema
from angelia_testing.hub import SITE
from angelia_testing.live import following, served


@pytest.fixture
def settings(postgresql, tmp_path):
    house = {"data_dir": str(tmp_path), "database": postgresql.database(has_schema=True), "secret": "s" * 40}
    made = load(environment={}, overrides={"house": house, "exchanges": {"news": {"access": "signed-in"}}})
    with_schema(made.database)
    return made


@pytest.fixture
async def front(settings):
    """The one that serves, and hears what the other hints at."""
    async with House.open(settings) as house:
        yield house


@pytest.fixture
async def back(settings):
    """The one that works."""
    async with House.open(settings) as house:
        working = asyncio.create_task(house.work())
        yield house
        house.stop()
        await asyncio.gather(working, return_exceptions=True)


@contextlib.asynccontextmanager
async def operator(house):
    transport = httpx2.ASGITransport(app_of(house, trusts_caller=True))
    async with httpx2.AsyncClient(transport=transport, base_url="http://hub") as client:
        yield client


async def with_token(client, login):
    (await client.post("/api/v1/people", json={"login": login})).raise_for_status()
    made = await client.post(f"/api/v1/people/{login}/tokens", json={"title": "t", "scopes": ["read"]})
    made.raise_for_status()
    return made.json()


async def test_ones_own_deliveries_come_at_once_and_a_revoked_token_ends_them(front, back, monkeypatch):
    # So that only the hints of the other can have told it.
    monkeypatch.setattr(inbox_feed, "POLL", 600.0)
    monkeypatch.setattr(native, "RECHECK", 600.0)
    monkeypatch.setattr(callers, "REMEMBERED", 600.0)
    async with operator(back) as client, served(app_of(front)) as port:
        (await client.put("/api/v1/site", json=SITE)).raise_for_status()
        alice, bob = await with_token(client, "alice"), await with_token(client, "bob")
        async with following(port, token=alice["secret"]) as hers, following(port, token=bob["secret"]) as his:
            for each in (hers, his):
                assert "bound" in await each.ask({"bind": [{"exchange": "me", "key": "#"}, {"exchange": "news", "key": "#"}]})
            for number in range(3):
                posted = await client.post("/api/v1/messages", json={"type": f"a.n{number}", "to": ["alice"]})
                posted.raise_for_status()
                frame = await hers.next(20)
                assert (frame["event"]["exchange"], frame["event"]["key"]) == ("me", f"a.n{number}")
            (await client.delete(f"/api/v1/people/alice/tokens/{alice['id']}")).raise_for_status()
            assert (await hers.closed(15))[0] == 4401
            # He sees what is for all, and nothing of hers came to him.
            (await client.post("/api/v1/events/news", json={"key": "k", "body": 1})).raise_for_status()
            assert (await his.next(20))["event"]["exchange"] == "news"
