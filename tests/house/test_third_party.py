"""An agent of somebody else's: one file and one line that tells of it. Pages, wishes, metrics and reference grow by themselves."""

import asyncio
import contextlib
import json
import re
import sys
from pathlib import Path

import httpx2
import pytest
from tests.house.browsing import FROM_OWN_PAGE, WORDS, Browser

from angelia.flow.clock import now
from angelia.front import app_of
from angelia.house import House
from angelia.model.errors import BadSettings
from angelia.plugins import agent_classes
from angelia.settings import load
from angelia_testing.databases import with_schema

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "write-an-agent.md"
POINTS = "[angelia.agents]\npager = angelia_pager:PagerAgent\n"


def install(folder, module, points=POINTS):
    """As an installer does: the module, and what it says of itself beside it."""
    about = folder / "angelia_pager-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: angelia-pager\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(points)
    (folder / "angelia_pager.py").write_text(module)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The agent of the how-to, letter by letter."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    install(folder, re.search(r"```python\n(.*?)```", HOW_TO.read_text(encoding="utf-8"), re.DOTALL)[1])
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    sys.modules.pop("angelia_pager", None)


@contextlib.asynccontextmanager
async def gateway():
    """What the pager talks to; yields its port and what came."""
    pages = []

    async def answer(reader, writer):
        pages.append(json.loads(await reader.readline()))
        writer.write(b"ok\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], pages


def settings_of(folder, **agents):
    return load(environment={}, overrides={"house": {"data_dir": str(folder)}, "agents": agents, "web": {"metrics_from": "*"}})


async def turned(house):
    await house.refresh()
    planner, _, relay, _ = house.stages[:4]
    while await planner.turn(now()) + await relay.turn(now()):
        await relay.drain()


def delivered_by_pager(metrics):
    """How many letters the metrics count so far: they are of the process, in which other tests have run."""
    found = re.findall(r'^angelia_deliveries_total\{channel="pager",.*result="delivered"\} ([0-9.]+)$', metrics, re.MULTILINE)
    return sum(map(float, found))


async def test_from_its_file_to_the_letter(tmp_path, installed):
    with_schema(f"sqlite:///{tmp_path / 'angelia.db'}")
    async with gateway() as (port, pages), House.open(settings_of(tmp_path, pager={"port": port})) as house:
        transport = httpx2.ASGITransport(app_of(house, trusts_caller=True))
        async with httpx2.AsyncClient(transport=transport, base_url="http://hub", headers=FROM_OWN_PAGE) as api:

            async def call(method, path, body=None):
                answer = await api.request(method, f"/api/v1{path}", json=body)
                assert answer.is_success, answer.text
                return answer.json() if answer.text else None

            before = delivered_by_pager((await api.get("/metrics")).text)
            await call("POST", "/people", {"login": "alice"})
            await call("PUT", "/people/alice/password", {"password": WORDS})
            await call("PUT", "/people/alice/preferences", {"preferences": {"*": {"pager": "now"}}})
            browser = Browser(api)
            await browser.sign_in("alice")
            page = await browser.get("/addresses")
            assert '<option value="pager">Pager</option>' in page and "as in 4930123" in page
            assert "Pager" in await browser.get("/preferences")
            assert "this is no" in await browser.post("/addresses", 422, agent="pager", value="alice@example.org")
            await browser.post("/addresses", agent="pager", value="4930123")
            code = re.search(r"\d{6}", pages[0]["text"])[0]
            (address,) = (await call("GET", "/people/alice/addresses"))["items"]
            await browser.post(f"/addresses/{address['id']}/verify", code=code)
            await browser.post(f"/addresses/{address['id']}/test")
            message = await call("POST", "/messages", {"type": "a.b", "subject": "it works", "to": ["alice"]})
            await turned(house)
            assert len(pages) == 3 and pages[2] == {"id": pages[2]["id"], "to": "4930123", "text": "it works"}
            assert delivered_by_pager((await api.get("/metrics")).text) == before + 2
            said = await call("GET", f"/messages/{message['id']}/why?login=alice")
            assert said["agents"]["pager"]["outcome"] == "now"


async def test_without_its_table_it_is_not_there(tmp_path, installed):
    with_schema(f"sqlite:///{tmp_path / 'angelia.db'}")
    assert "pager" in agent_classes()
    async with House.open(settings_of(tmp_path)) as house:
        assert "pager" not in house.agents


@pytest.mark.parametrize(
    ("module", "points", "why"),
    [
        ("import no_such_library\n", POINTS, "no_such_library"),
        ("class Pager: pass\n", POINTS, "PagerAgent"),
        ("class PagerAgent(\n", POINTS, "angelia_pager"),
        ("raise RuntimeError('half done')\n", POINTS, "half done"),
    ],
)
async def test_one_that_can_not_be_loaded_is_named_at_the_start(tmp_path, monkeypatch, module, points, why):
    folder = tmp_path / "site-packages"
    folder.mkdir()
    install(folder, module, points)
    monkeypatch.syspath_prepend(str(folder))
    with pytest.raises(BadSettings, match=f"agent 'pager' can't be loaded.*{why}"):
        agent_classes()
    sys.modules.pop("angelia_pager", None)
