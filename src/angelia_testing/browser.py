"""Chromium at the pages of a sample hub: whatever goes wrong in the browser fails the test that made it go wrong."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page, Request, ViewportSize, WebError, async_playwright, expect

from angelia_testing.peers.hub import SampleHub
from angelia_testing.peers.process import missing
from angelia_testing.waiting import wait_until

CHROMIUM = Path("/usr/bin/chromium")
SHELL = Path("/usr/bin/chromium-headless-shell")
"""The same without a window and all that belongs to one: a fifth less work for each page. It shows no notifications."""
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE = 45_000.0  # milliseconds; it only bounds how long a failure takes
expect.set_options(timeout=PATIENCE)
WIDE: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 800}
# What hostile texts try to set, and what the browser says of the content policy before the report has gone.
_CANARY = """
Object.defineProperty(window, "__xss", { set(value) { console.error("the canary: __xss was set to " + value); } });
document.addEventListener("securitypolicyviolation", (event) => console.error("content policy: " + event.violatedDirective + " " + event.blockedURI));
"""


class Watch:
    """Over one context: errors of scripts and of the console, dialogs, the canary, requests that leave the hub."""

    def __init__(self, home: str) -> None:
        self.faults: list[str] = []
        self._home = home
        # Chromium says so where a page is left while it connects.
        self._expected: list[re.Pattern[str]] = [re.compile("WebSocket is closed before the connection is established")]
        self._answers: set[asyncio.Task[None]] = set()
        self.is_agreeing = False
        self.is_reporting = False

    def expect(self, pattern: str) -> None:
        """A fault that belongs to the test, as a regular expression."""
        self._expected.append(re.compile(pattern))

    def agree(self) -> None:
        """Say yes to the questions that pages ask before they destroy something."""
        self.is_agreeing = True

    def told(self) -> None:
        """Breaches of the content policy belong to the test."""
        self.is_reporting = True

    async def follow(self, context: BrowserContext) -> None:
        """Watch everything that happens in the context."""
        await context.add_init_script(_CANARY)
        context.on("console", self._console)
        context.on("weberror", self._error)
        context.on("dialog", self._dialog)
        context.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning", "assert"):
            self.faults.append(f"console: {message.type}: {message.text} at {message.location.get('url', '')}")

    def _error(self, error: WebError) -> None:
        self.faults.append(f"script: {error.error}")

    def _dialog(self, dialog: Dialog) -> None:
        is_wanted = self.is_agreeing and dialog.type == "confirm"
        if not is_wanted:
            self.faults.append(f"dialog: {dialog.message}")
        answer = asyncio.ensure_future(dialog.accept() if is_wanted else dialog.dismiss())
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)

    def _request(self, request: Request) -> None:
        if not request.url.startswith((f"{self._home}/", "data:", "blob:")):
            self.faults.append(f"a request left the hub: {request.method} {request.url}")

    def unforeseen(self) -> list[str]:
        """The faults that the test did not expect."""
        return [fault for fault in self.faults if not any(pattern.search(fault) for pattern in self._expected)]


class Visits:
    """Opens pages as somebody, each in a context of its own."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self._watches: list[tuple[SampleHub, Watch, float]] = []

    async def __call__(self, hub: SampleHub, login: str | None = "alice", **options: Any) -> Page:
        """A blank page, signed in as `login`, or as nobody; `options` are those of Playwright's new_context."""
        context = await self._browser.new_context(base_url=hub.url, **{"viewport": WIDE, "locale": "en-GB"} | options)
        self._contexts.append(context)
        context.set_default_timeout(PATIENCE)
        watch = Watch(hub.url)
        self._watches.append((hub, watch, hub.metric("angelia_csp_reports_total")))
        await watch.follow(context)
        if login is not None:
            name, value = hub.cookie(login)
            await context.add_cookies([{"name": name, "value": value, "url": hub.url, "httpOnly": True, "sameSite": "Lax"}])
        page = await context.new_page()
        page.watch = watch  # type: ignore[attr-defined]
        return page

    async def end(self) -> None:
        """Close everything, and fail if something was not as it should be."""
        for context in self._contexts:
            # Seldom the browser never says that a context is closed; that must not end the run.
            with suppress(TimeoutError):
                async with asyncio.timeout(15):
                    await context.close()
        self.check()

    def check(self) -> None:
        """Fail if something was not as it should be; what was told once is not told again."""
        for number, (hub, watch, reports) in enumerate(self._watches):
            faults, now = watch.unforeseen(), hub.metric("angelia_csp_reports_total")
            watch.faults.clear()
            self._watches[number] = (hub, watch, now)
            assert not faults, "\n".join(faults)
            assert watch.is_reporting or now == reports, "the browser has reported a breach of the content policy"


Visit = Callable[..., Awaitable[Page]]


@asynccontextmanager
async def launched(program: Path) -> AsyncIterator[Browser]:
    """A browser; Debian's, never one that is downloaded."""
    if not program.exists():
        missing("Chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """One browser for the whole run."""
    async with launched(SHELL if SHELL.exists() else CHROMIUM) as browser:
        yield browser


@pytest.fixture(scope="session")
def filled() -> Iterator[Path]:
    """The folder of a sample site that was filled and stopped."""
    hub = SampleHub()
    hub.stop(keeps=True)
    yield hub.data
    hub.stop()


@pytest.fixture(scope="module")
def hub(filled: Path) -> Iterator[SampleHub]:
    """A sample hub of the tests of one file, which change things on it; each is content with what others left there."""
    made = SampleHub(filled)
    yield made
    made.stop()


def furnish(hub: SampleHub) -> None:
    """Put something into rooms that the sample leaves empty, so that their pages have all their parts."""
    rules = [
        {"name": "Okular at once", "type": "obs.build.fail", "when": {"project": ["KDE"]}, "do": {"mail": "now"}},
        {"type": "instrument", "do": {"mail": "daily"}, "enabled": False},
    ]
    wants = {
        "rules": rules,
        "follows": ["KDE/okular"],
        "mutes": {"request/7": "normal"},
        "quiet": ["22:00", "06:00"],
        "schedules": {"lunch": {"every": "day", "at": ["12:15"]}},
    }
    hub.call("PUT", "/api/v1/people/alice/preferences", wants | {"preferences": {"obs.request": {"mail": "lunch"}}})
    hub.call("PUT", "/api/v1/types/news.public", {"labels": {"en": "News for everybody"}, "is_public": True})
    hub.call("POST", "/api/v1/people/alice/addresses", {"agent": "mail", "value": "alice.home@example.org"})
    news = hub.post(type="news.public", subject="The beam is back", body="At *noon*.", body_format="markdown", to=["alice"])
    tests = [
        {
            "type": "instrument.error",
            "subject": f"Frame {number} is lost",
            "object": "yumo/17",
            "thread": "run/17",
            "to": ["alice", "root"],
            "severity": "urgent",
        }
        for number in range(3)
    ]
    hub.call("POST", "/api/v1/messages", tests, as_whom="build-service")
    hub.post(type="obs.build.fail", subject="okular failed again", object="KDE/okular", params={"project": "KDE"})
    wait_until(lambda: hub.call("GET", "/api/v1/people/alice/inbox/counts")["total"] >= 7, 60)
    wait_until(lambda: hub.call("GET", f"/api/v1/messages/{news}/why?login=alice")["is_candidate"], 60)


@pytest.fixture(scope="session")
def shown_hub(filled: Path) -> Iterator[SampleHub]:
    """A sample hub to look at, with something in every room: no test changes anything on it."""
    made = SampleHub(filled)
    furnish(made)
    yield made
    made.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def visit(chromium: Browser) -> AsyncIterator[Visits]:
    """Opens pages: `await visit(hub, "alice")`."""
    visits = Visits(chromium)
    yield visits
    await visits.end()


class Sights:
    """A page a person that many tests look through, one after the other: a context for each place would take longer than the looking."""

    def __init__(self, browser: Browser, hub: SampleHub, scripts: Sequence[str]) -> None:
        self._visits = Visits(browser)
        self._hub = hub
        self._scripts = scripts
        self._pages: dict[str | None, Page] = {}

    async def of(self, login: str | None) -> Page:
        """Hers, as wide as a desk, in the light of a day."""
        if login not in self._pages:
            page = await self._visits(self._hub, login)
            for script in self._scripts:
                await page.context.add_init_script(script)
            self._pages[login] = page
        page = self._pages[login]
        await page.set_viewport_size(WIDE)
        await page.emulate_media(color_scheme="light")
        return page

    def check(self) -> None:
        """Fail if something was not as it should be since the last look."""
        self._visits.check()

    async def end(self) -> None:
        """Close them."""
        await self._visits.end()


@pytest_asyncio.fixture(loop_scope="session")
async def page(hub: SampleHub, visit: Visits) -> Page:
    """A page of alice's."""
    return await visit(hub, "alice")


@pytest_asyncio.fixture(loop_scope="session")
async def root_page(hub: SampleHub, visit: Visits) -> Page:
    """A page of the administrator's, on the same hub."""
    return await visit(hub, "root")
