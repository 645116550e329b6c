"""A first visit is light and stands still: bytes on the wire, and nothing that jumps while it is read."""

import pytest

from angelia_testing.browser import PHONE
from angelia_testing.places import routes

MOST_BYTES = 150_000
PATTERNS = sorted({route.path for route in routes()})


@pytest.mark.parametrize("pattern", PATTERNS)
async def test_a_first_visit(pattern, tours, sights):
    who = next((login for login, one in tours.items() if one.pages.get(pattern)), "")
    if who == "":
        return  # no page: a redirect, a download; tests/browser/test_access.py sees to it that links lead to all of them
    page = await sights.of(who)
    wire = await page.context.new_cdp_session(page)
    await wire.send("Network.clearBrowserCache")
    sizes = []
    wire.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    await wire.send("Network.enable")
    await page.goto(tours[who].pages[pattern][0])
    # What comes in after the page has loaded may shift it as well.
    await page.wait_for_timeout(250)
    assert await page.evaluate("window.shifts") == []
    assert sizes
    assert 1_000 < sum(sizes) < MOST_BYTES
    await page.set_viewport_size(PHONE)
    await page.goto(tours[who].pages[pattern][0])
    await page.wait_for_timeout(250)
    assert await page.evaluate("window.shifts") == []
    await wire.detach()


PAINTED = """async () => { while (!performance.getEntriesByName("first-contentful-paint").length) await new Promise(requestAnimationFrame);
  return performance.getEntriesByName("first-contentful-paint")[0].startTime - performance.getEntriesByType("navigation")[0].domInteractive; }"""


async def test_nothing_is_shown_of_half_a_page(shown_hub, visit):
    page = await visit(shown_hub, "alice")
    await page.goto(f"{shown_hub.url}/reference/person")  # its style and scripts are kept from now on
    wire = await page.context.new_cdp_session(page)
    await wire.send("Network.enable")
    slow = {"offline": False, "latency": 20, "downloadThroughput": 20_000, "uploadThroughput": -1}
    await wire.send("Network.emulateNetworkConditions", slow)
    await page.goto(f"{shown_hub.url}/reference/person")
    assert await page.evaluate(PAINTED) > 0
    await wire.detach()
