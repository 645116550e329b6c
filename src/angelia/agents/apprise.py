"""Apprise: letters to whatever the library of that name knows (github.com/caronc/apprise), in threads, within our limits.

The library connects by itself, so the guard sits where every connection of Python passes by: an audit hook judges the address that a thread of
ours connects to, after all names are resolved and all redirects are followed.
"""

import asyncio
import logging
import re
import sys
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import EntryPoint
from queue import SimpleQueue
from typing import Any
from urllib.request import getproxies

from angelia.agent import Letter, Surroundings
from angelia.model.delivery import Later, Outcome, Refused, Sent
from angelia.model.errors import BadSettings
from angelia.model.person import Address
from angelia.rendering.render import plain_content
from angelia.rendering.text import shortened

# Loaded where the agent is switched on, and only there: it takes half a second.
_LIBRARY = EntryPoint("library", "apprise", "angelia.agents.apprise")
_URL = re.compile(r"([a-z0-9]{1,31})://[!#-;=?-\[\]_a-z~]{1,1000}")
_STATUS = re.compile(r"error=([1-5][0-9]{2})\b")
_REFUSED_EVENTS = frozenset({"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork"})
MOST_TITLE, MOST_TEXT = 250, 30_000
MOST_KEPT = 500  # URLs
SCHEMES = "discord, gchat, gotifys, jsons, mmosts, opsgenie, pagerduty, pover, rockets, slack, workflows, wxteams, zulip"


@dataclass(frozen=True, slots=True)
class AppriseSettings:
    """`schemes` are those that people may use, with commas; each must be one that the library speaks over HTTP. `timeout` in seconds."""

    schemes: str = SCHEMES
    timeout: float = 10.0
    concurrency: int = 20

    def __post_init__(self) -> None:
        """Say at the start what would fail at night."""
        if self.timeout <= 0 or self.concurrency < 1:
            raise BadSettings("agents.apprise: timeout and concurrency are above 0")
        if not self.allowed or any(re.fullmatch(r"[a-z0-9]+", scheme) is None for scheme in self.allowed):
            raise BadSettings("agents.apprise.schemes are beginnings of URLs with commas between, such as discord, slack")

    @property
    def allowed(self) -> frozenset[str]:
        """The schemes one by one."""
        return frozenset(filter(None, (scheme.strip() for scheme in self.schemes.split(","))))


class AppriseAgent:
    """Sends letters to URLs of Apprise. They hold passwords: nothing of them but the scheme is ever said."""

    name = "apprise"
    is_pull = False
    is_interruptive = True
    is_opt_in = True
    Settings = AppriseSettings

    def __init__(self, settings: AppriseSettings, house: Surroundings | None = None) -> None:
        house = house or Surroundings()
        self._settings = settings
        self._templates, self._outbound = house.templates, house.outbound
        self.concurrency = settings.concurrency
        self.address_example = _example(settings.allowed)
        self._library = _loaded()
        if getproxies():
            raise BadSettings("agents.apprise can't look behind a proxy: start the hub without HTTP_PROXY and its like")
        unfit = sorted(scheme for scheme in settings.allowed if not _is_fit(self._library.plugins.N_MGR, scheme))
        if unfit:
            raise BadSettings(f"agents.apprise.schemes: {', '.join(unfit)} is nothing that the library speaks over HTTP")
        self._asset = self._library.AppriseAsset(app_id="Angelia", secure_logging=True, storage_mode="memory", http_redirects=False)
        self._crew = Crew(settings.concurrency)
        self._idle: OrderedDict[str, list[Any]] = OrderedDict()
        _listen()

    def check_address(self, value: str) -> str | None:
        """One URL of an allowed scheme that the library takes."""
        return value if self._target(value) is not None else None

    def _target(self, value: str) -> Any:
        match = _URL.fullmatch(value)
        if match is None or value.count("://") != 1 or match[1] not in self._settings.allowed:
            return None
        return self._library.Apprise.instantiate(value, asset=self._asset, suppress_exceptions=True)

    def shown(self, value: str) -> str:
        """The scheme, and a mark by which two of hers differ."""
        return f"{value.partition('://')[0]}://… ({sha256(value.encode()).hexdigest()[:4]})"

    def note(self, address: Address) -> str:
        """There is nothing to know."""
        del address
        return ""

    def destination(self, letter: Letter) -> str:
        """The scheme: for most that is one service, and a host may be a secret here."""
        return letter.address.value.partition("://")[0] if letter.address is not None else "apprise"

    async def deliver(self, letter: Letter) -> Outcome:
        """One try, in a thread of its own."""
        url = letter.address.value if letter.address is not None else ""
        target = self._taken(url)
        if target is None:
            return Refused("this is no URL that the hub may use", is_address_bad=True)
        title, body = self._text(letter)
        try:
            async with asyncio.timeout(self._settings.timeout):
                return await self._in_thread(lambda: self._try(url, target, title, body))
        except TimeoutError:
            return Later(f"no answer within {self._settings.timeout:g} s", blames_destination=False)

    def _taken(self, url: str) -> Any:
        """What the library makes of a URL, for one try at a time. It is kept: to read a URL costs a fifth of a whole letter."""
        if kept := self._idle.get(url):
            return kept.pop()
        target = self._target(url)
        if target is not None:
            target.redirects, target.request_rate_per_sec = False, 0
            target.socket_connect_timeout = target.socket_read_timeout = self._settings.timeout
            target.overflow_mode = "truncate"
        return target

    def _keep(self, url: str, target: Any) -> None:
        """In a thread, after a try that the library went through with."""
        self._idle.setdefault(url, []).append(target)
        if len(self._idle) > MOST_KEPT:
            self._idle.popitem(last=False)

    def _text(self, letter: Letter) -> tuple[str, str]:
        """Subject and text, with the number of the delivery as a hash tag: a repeat has the same."""
        content = plain_content(letter, self.name, self._templates)
        end = " ".join(filter(None, (letter.web_url, f"#d{letter.delivery.delivery_id}")))
        return shortened(content.subject, MOST_TITLE), f"{shortened(content.text.strip(), MOST_TEXT)}\n\n{end}"

    async def _in_thread(self, work: Callable[[], Outcome]) -> Outcome:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Outcome] = loop.create_future()

        def tell(outcome: Outcome) -> None:
            if not done.done():
                done.set_result(outcome)

        def say(outcome: Outcome) -> None:
            with suppress(RuntimeError):  # the loop may have ended meanwhile
                loop.call_soon_threadsafe(tell, outcome)

        if not self._crew.give(work, say):
            return Later("too many tries still wait for an answer", blames_destination=False)
        return await done

    def _try(self, url: str, target: Any, title: str, body: str) -> Outcome:
        """In a thread: what the library made of it, in our words."""
        _HERE.guard, _HERE.refused, _HERE.status = self._outbound.is_allowed, "", ""
        try:
            is_sent = target.notify(title=title, body=body, notify_type="info", body_format="text")
        except Exception as error:  # noqa: BLE001 - a hundred services, and whatever they raise; its text may hold the URL
            if _HERE.refused:
                return Refused(_HERE.refused, is_address_bad=True)
            return Later(f"the library failed: {type(error).__name__}", blames_destination=False)
        finally:
            _HERE.guard = None
        if _HERE.refused:
            return Refused(_HERE.refused, is_address_bad=True)
        self._keep(url, target)
        if is_sent:
            return Sent()
        if _HERE.status == "410":
            return Refused("the service says that it is gone (410)", is_address_bad=True)
        # One person's wrong password is no reason to let all others rest.
        said = f"the service answered {_HERE.status}" if _HERE.status else "the service did not take it"
        return Later(said, blames_destination=_HERE.status.startswith("5") or not _HERE.status)

    async def close(self) -> None:
        """Threads end with their tries."""
        self._crew.end()


class Crew:
    """Threads that work off what they are given, at most so many at a time: tries that are given up go on until their sockets end.

    They are daemons, which those of the standard library are not: one that hangs must not keep the hub from its end.
    """

    def __init__(self, most: int) -> None:
        self._seats, self._resting = threading.BoundedSemaphore(most), threading.Semaphore(0)
        self._given: SimpleQueue[tuple[Callable[[], Outcome], Callable[[Outcome], None]] | None] = SimpleQueue()
        self._count = 0

    def give(self, work: Callable[[], Outcome], say: Callable[[Outcome], None]) -> bool:
        """Is there a thread for it? One that rests takes it, else a new one; it says what came of it when there is room for another."""
        if not self._seats.acquire(blocking=False):
            return False
        self._given.put((work, say))
        if not self._resting.acquire(blocking=False):
            self._count += 1
            threading.Thread(target=self._run, name="apprise", daemon=True).start()
        return True

    def end(self) -> None:
        """All of them, once they are through."""
        for _ in range(self._count):
            self._given.put(None)

    def _run(self) -> None:
        while (given := self._given.get()) is not None:
            work, say = given
            try:
                outcome = work()
            finally:
                self._resting.release()
                self._seats.release()
            say(outcome)


def _is_fit(known: Any, scheme: str) -> bool:
    """Is it spoken by plain HTTP requests? What has threads of its own would connect where the guard is not."""
    if scheme not in known.schemas():
        return False
    module = vars(sys.modules[known[scheme].__module__])
    return "requests" in module and "threading" not in module


def _loaded() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what its hundred services warn of is not ours to mend
            library = _LIBRARY.load()
            library.plugins.N_MGR.load_modules()
            return library
    except ImportError as error:
        raise BadSettings(f"agents.apprise needs the library: install angelia[apprise] ({error})") from error


def _example(allowed: frozenset[str]) -> str:
    known = {"slack": "slack://TokenA1234/TokenB5678/TokenC9012345678901234567/", "discord": "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js"}
    return next((example for scheme, example in known.items() if scheme in allowed), f"{min(allowed)}://hooks.example.org/token")


_HERE = threading.local()
"""Of the threads of this agent: `guard` while they try, what it `refused`, and the `status` that a service gave."""


class _Forbidden(OSError):
    """We don't go there."""


def _guarding(event: str, arguments: tuple[Any, ...]) -> None:
    """Called by Python before everything that it audits, in all threads: so it looks first whether it is one of ours."""
    guard = getattr(_HERE, "guard", None)
    if guard is None:
        return
    if event in ("socket.connect", "socket.sendto"):
        place = arguments[1]
        if not isinstance(place, tuple) or not guard(str(place[0])):
            _HERE.refused = "this leads to an address that the hub may not call"
            raise _Forbidden(_HERE.refused)
    elif event in _REFUSED_EVENTS:
        _HERE.refused = "this service starts programs, which is not done here"
        raise _Forbidden(_HERE.refused)


class _Listener(logging.Handler):
    """Takes the status from what the library logs, and nothing else: its lines may hold secrets, so none goes on."""

    def emit(self, record: logging.LogRecord) -> None:
        """Called in the thread that logs."""
        if getattr(_HERE, "guard", None) is not None and (found := _STATUS.search(record.getMessage())):
            _HERE.status = found[1]


@lru_cache(maxsize=1)
def _listen() -> None:
    """Once a process: an audit hook is never taken away."""
    log = logging.getLogger("apprise")
    log.propagate = False
    log.handlers = [_Listener(logging.WARNING)]
    sys.addaudithook(_guarding)
