"""Pages in Chromium: bytes of a first and of a second visit, when somebody can use them, what jumps, and how long the server takes."""

import asyncio
import statistics
import time

import httpx2
from playwright.async_api import Browser, async_playwright

from angelia_testing.browser import ARGUMENTS, CHROMIUM, WIDE
from angelia_testing.peers.hub import SampleHub
from angelia_testing.places import tour

MESSAGES, TIMES, ASKED = 200, 2, 20
WATCH = """
window.shift = 0; window.painted = 0;
new PerformanceObserver((list) => { for (const one of list.getEntries()) window.shift += one.value; }).observe({type: "layout-shift", buffered: true});
new PerformanceObserver((list) => { for (const one of list.getEntries()) window.painted = one.startTime; }).observe({type: "largest-contentful-paint", buffered: true});
"""
# Scripts are deferred: once they have run, every button works.
NUMBERS = "() => [performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd, window.painted, window.shift]"


def main() -> None:
    hub = SampleHub()
    try:
        for number in range(MESSAGES):
            hub.post(
                type="obs.build.fail",  # successes go to nobody's inbox there
                subject=f"package {number} on x86_64",
                object=f"KDE/p{number % 40}",
                to=["alice", "root"],
            )
        while hub.call("GET", "/api/v1/people/alice/inbox/counts")["total"] < MESSAGES:
            time.sleep(0.1)
        asyncio.run(measure(hub))
    finally:
        hub.stop()


async def measure(hub: SampleHub) -> None:
    """One line a page: the first of its kind that a link leads to."""
    print("Aims: first visit below 150 kB, usable below 1,000 ms, layout shift 0.")
    print(f"{MESSAGES} messages in the inbox, empty cache, everything on loopback; times are medians of {TIMES}, the server's of {ASKED}.\n")
    print("| page | first visit kB | second kB | usable ms | painted ms | layout shift | server p50, p95 ms |\n|---|---|---|---|---|---|---|")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        done: set[str] = set()
        for login in ("alice", "root"):
            for pattern, places in sorted(tour(hub, login, 1).pages.items()):
                if pattern not in done:
                    done.add(pattern)
                    print(await one(hub, browser, login, pattern, places[0]), flush=True)
        await browser.close()


async def one(hub: SampleHub, browser: Browser, login: str, pattern: str, place: str) -> str:
    """The line of one page."""
    firsts, seconds, seen = [], [], []
    for _ in range(TIMES):
        context = await browser.new_context(viewport=WIDE, base_url=hub.url)
        name, value = hub.cookie(login)
        await context.add_cookies([{"name": name, "value": value, "url": hub.url}])
        await context.add_init_script(WATCH)
        page = await context.new_page()
        sizes: list[float] = []
        wire = await context.new_cdp_session(page)
        wire.on("Network.loadingFinished", lambda event, sizes=sizes: sizes.append(event["encodedDataLength"]))
        await wire.send("Network.enable")
        await page.goto(place)
        await page.wait_for_timeout(300)
        seen.append(await page.evaluate(NUMBERS))
        firsts.append(sum(sizes))
        sizes.clear()
        await page.goto(place)
        await page.wait_for_timeout(100)
        seconds.append(sum(sizes))
        await context.close()
    usable, painted, shift = (statistics.median(column) for column in zip(*seen, strict=True))
    p50, p95 = await asyncio.to_thread(server_times, hub, login, place)
    return f"| {pattern} | {max(firsts) / 1e3:.0f} | {max(seconds) / 1e3:.0f} | {usable:.0f} | {painted:.0f} | {shift:.3f} | {p50:.1f}, {p95:.1f} |"


def server_times(hub: SampleHub, login: str, place: str) -> tuple[float, float]:
    """Milliseconds from asking to the last byte, packed as browsers ask for it."""
    headers = {"Accept-Encoding": "gzip", "Sec-Fetch-Site": "same-origin"}
    took = []
    with httpx2.Client(base_url=hub.url, cookies=dict([hub.cookie(login)]), headers=headers, timeout=30) as client:
        for _ in range(ASKED):
            began = time.perf_counter()
            client.get(place)
            took.append((time.perf_counter() - began) * 1e3)
    took.sort()
    return took[len(took) // 2], took[int(len(took) * 0.95)]


if __name__ == "__main__":
    main()
