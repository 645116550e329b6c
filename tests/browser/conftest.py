"""The pages in Chromium. All tests here share one event loop, that of the browser; those of one file share a hub, so they run in one process."""

import inspect
import time
from pathlib import Path

import pytest
import pytest_asyncio

from angelia_testing.browser import Sights, chromium, filled, hub, page, root_page, shown_hub, visit
from angelia_testing.peers.process import missing
from angelia_testing.places import tour
from angelia_testing.waiting import wait_until

__all__ = ["chromium", "filled", "hub", "page", "root_page", "shown_hub", "visit"]
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE not in item.path.parents:
            continue
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def axe():
    """The source of axe-core."""
    source = HERE / "node_modules/axe-core/axe.min.js"
    if not source.is_file():
        missing("axe-core (make peers)")
    return source.read_text()


@pytest.fixture(scope="session")
def tours(shown_hub):
    """Who sees what: pages by the pattern of their route. Alice has a job, with what came of it."""
    asked = {"instrument": "smoothing", "product": "image", "parameters": {"size": 32}}
    place = f"/api/v1/jobs/{shown_hub.call('POST', '/api/v1/jobs', asked, as_whom='alice')['id']}"
    wait_until(lambda: shown_hub.call("GET", place, as_whom="alice")["ended_at"], 30, 0.1, "the end of the job")
    told = {"objectType": "experiment", "eventType": "create", "objectId": "/experiments/7", "userId": "alice", "timestamp": time.time()}
    shown_hub.call("POST", "/api/v1/transitions", told)
    return {login: tour(shown_hub, login, 2) for login in ("alice", "root", None)}


SHIFTS = """
window.shifts = [];
new PerformanceObserver((list) => { for (const one of list.getEntries()) if (!one.hadRecentInput && one.value > 0.01) window.shifts.push(one.value + " " + one.sources.map((source) => source.node?.outerHTML?.slice(0, 80)).join(" | ")); })
  .observe({type: "layout-shift", buffered: true});
"""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def all_sights(chromium, shown_hub):
    """The pages of those who look at everything: what shifts is noted."""
    made = Sights(chromium, shown_hub, [SHIFTS])
    yield made
    await made.end()


@pytest.fixture
def sights(all_sights):
    """The same for one test, which fails for what went wrong in the browser meanwhile."""
    yield all_sights
    all_sights.check()
