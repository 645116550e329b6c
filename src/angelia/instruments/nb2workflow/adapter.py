"""The adapter of notebook services: their options are the declaration, and asking for a result again is how they are polled.

`GET <url>/api/v1.0/options` says which workflows there are, with their parameters. `GET <url>/api/v1.0/get/<workflow>` with the parameters and
`_async_request=yes` begins one and answers 201 until it has ended, then 200 with `{data: {output, exceptions}}`. The service knows a run by its
parameters alone: the same request begins it, polls it and finds it again, and its results are kept by the service.
"""

import asyncio
import contextlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import quote, urlencode

from angelia import telemetry
from angelia.instrument import LATER, MANIFEST, CantTell, Done, Failed, Handle, Lent, Outcome, Progress, Rejected, Work, submitted
from angelia.instruments.nb2workflow.options import declaration_from
from angelia.instruments.nb2workflow.results import BadResult, fault_text, write_results
from angelia.model.declaration import Declaration
from angelia.model.errors import BadSettings
from angelia.model.setting import say
from angelia.outbound import Answer, NoAnswer, Request

KEPT = "options.json"
ASKED = "asked.json"
"""In a job's folder from before the first request until its end: that the service may have begun it."""


@dataclass(frozen=True, slots=True)
class NotebookSettings:
    """Where the service is."""

    url: str = say("", "where the service is; below it is api/v1.0")
    call_back: bool = say(True, "may the service call the hub when a run has ended; false where it can't reach the hub: its runs would fail")
    timeout: float = say(30.0, "seconds for one request")
    most_at_once: int = say(20, "how many runs it is given at once")
    poll_seconds: float = say(5.0, "how often it is asked for a run")
    learn_seconds: float = say(300.0, "how often it is asked what it offers")

    def __post_init__(self) -> None:
        """Say at the start what would fail with each job."""
        if not self.url.startswith(("https://", "http://")) or self.url.endswith("/"):
            raise BadSettings("the url of a notebook service starts with https:// or http:// and does not end in /")
        if min(self.timeout, self.poll_seconds, self.learn_seconds) <= 0 or self.most_at_once < 1:
            raise BadSettings("timeout, poll_seconds, learn_seconds and most_at_once are above 0")


class NotebookInstrument:
    """One service: each of its notebooks is a product."""

    Settings = NotebookSettings
    declares: Declaration | None = Declaration(name="notebooks", adapter="nb2workflow", is_repeatable=True)
    is_far = True

    def __init__(self, declaration: Declaration, settings: NotebookSettings, lent: Lent) -> None:
        self.most_at_once = settings.most_at_once
        self.poll_seconds = settings.poll_seconds
        self._settings, self._outbound, self._folder = settings, lent.outbound, lent.folder
        self._base, self._declaration = declaration, replace(declaration, is_repeatable=True)
        # A file that declares products says what people may use; then the service is not asked.
        self._is_fixed = bool(declaration.products)
        self._learned_at: float | None = None
        self._learning: asyncio.Task[bool] | None = None
        self._take_kept()
        self._look()

    @property
    def declaration(self) -> Declaration:
        """As the service said last; it is asked again in the background once that is old."""
        self._look()
        return self._declaration

    async def learn(self) -> bool:
        """Ask now what it offers; False where it can't be told, and what was known stays."""
        return await self._begun()

    async def submit(self, work: Work) -> Handle:
        """See Instrument."""
        self._check_unset(work)
        address = self._address(work, self._call_back(work))
        await asyncio.to_thread(_write, work.folder / ASKED, {"key": work.key, "is_cancelled": False})
        submitted(await self._fetch(address, self._settings.timeout, work.limits.output_bytes * 2), "the service")
        return work.key

    async def find(self, work: Work) -> Handle | None:
        """The same request as the submit's finds it or begins it: all that must be known is whether one was made."""
        return work.key if await asyncio.to_thread((work.folder / ASKED).exists) else None

    async def poll(self, work: Work, handle: Handle) -> Progress | Outcome:
        """See Instrument."""
        asked, is_done = await asyncio.to_thread(_state, work.folder)
        if asked.get("is_cancelled"):
            return Failed("it was cancelled; the service may compute it all the same")
        if asked.get("failed"):
            return Failed(str(asked["failed"]), is_crash=bool(asked.get("is_crash")))
        if is_done:
            return Done()
        answer = await self._fetch(self._address(work, self._call_back(work)), self._settings.timeout, work.limits.output_bytes * 2)
        if isinstance(answer, NoAnswer):
            if answer.is_too_large:
                return Failed(f"its results are too large: {answer.why}", is_limit=True)
            raise CantTell(answer.why)
        if answer.status == 201:
            return Progress(None, str(answer.said.get("comment") or "")[:2_000], is_running=answer.said.get("workflow_status") == "started")
        if answer.status != 200:
            raise CantTell(f"the service answered {answer.status}", is_for_good=answer.status not in LATER)
        return await self._ended(work, answer)

    async def cancel(self, work: Work, handle: Handle) -> None:
        """The service has no way to end a run: the hub asks no more for it."""
        if work.folder.is_dir():
            await asyncio.to_thread(_write, work.folder / ASKED, {"key": work.key, "is_cancelled": True})

    async def close(self) -> None:
        """Its connections are the house's. A question that is under way may end: cut off, it would leave a connection behind."""
        if self._learning is not None and not self._learning.done():
            await asyncio.wait([self._learning], timeout=1.0)
            self._learning.cancel()
            await asyncio.gather(self._learning, return_exceptions=True)

    async def _ended(self, work: Work, answer: Answer) -> Outcome:
        outcome = await asyncio.to_thread(_written, answer, work.folder)
        if isinstance(outcome, Failed):
            # Asked once more after it had forgotten, the service would begin it anew.
            kept = {"key": work.key, "is_cancelled": False, "failed": outcome.why, "is_crash": outcome.is_crash}
            await asyncio.to_thread(_write, work.folder / ASKED, kept)
        return outcome

    def _check_unset(self, work: Work) -> None:
        """A parameter that is left out has its default there: nothing else can be said in an address."""
        product = self._declaration.product(work.product)
        for parameter in product.parameters if product is not None else ():
            if parameter.default is not None and parameter.name in work.values and work.values[parameter.name] is None:
                raise Rejected(f"the service can't be told that {parameter.name} has no value")

    def _address(self, work: Work, call_back: str) -> str:
        """The request that begins, polls and finds this run."""
        given = {name: _text(value) for name, value in sorted(work.values.items()) if value is not None}
        given |= {"_async_request": "yes"} | ({"_async_request_callback": call_back} if call_back else {})
        return f"/api/v1.0/get/{quote(work.product, safe='')}?{urlencode(given)}"

    def _call_back(self, work: Work) -> str:
        """With the secret of this attempt; what a service calls it with besides (`action`) comes behind."""
        if not self._settings.call_back or not work.callback_url:
            return ""
        return f"{work.callback_url}?{urlencode({'secret': work.callback_secret})}"

    async def _fetch(self, path: str, timeout: float, most: int) -> Answer | NoAnswer:
        asked = Request(url=self._settings.url + path, headers={"accept": "application/json"}, timeout=timeout, most=max(1, most))
        return await self._outbound.fetch(asked)

    def _look(self) -> None:
        """Ask again in the background where it is time, and where there is a loop to do it in."""
        if self._is_fixed or (self._learned_at is not None and monotonic() - self._learned_at < self._settings.learn_seconds):
            return
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop()
            self._begun()

    def _begun(self) -> "asyncio.Task[bool]":
        """The one question that is under way."""
        if self._learning is None or self._learning.done():
            self._learned_at = monotonic()
            self._learning = asyncio.create_task(self._learn(), name=f"options of {self._base.name}")
        return self._learning

    async def _learn(self) -> bool:
        answer = await self._fetch("/api/v1.0/options", self._settings.timeout, 1 << 22)
        if isinstance(answer, NoAnswer) or answer.status != 200 or not answer.said:
            why = answer.why if isinstance(answer, NoAnswer) else f"it answered {answer.status}"
            telemetry.log.warning("instrument_not_described", instrument=self._base.name, error=why)
            return False
        await asyncio.to_thread(self._take, answer.said)
        await asyncio.to_thread(_keep, self._folder, answer.body)
        return True

    def _take(self, options: Any) -> None:
        made, faults = declaration_from(options, self._base.name, self._base)
        for fault in faults:
            telemetry.log.warning("workflow_left_out", instrument=self._base.name, error=fault)
        self._declaration = made

    def _take_kept(self) -> None:
        """What the service said before the hub was started anew: it may be down now."""
        if self._is_fixed:
            return
        try:
            options = json.loads((self._folder / KEPT).read_bytes())
        except (OSError, ValueError):
            return
        self._take(options)


def _text(value: Any) -> str:
    """As the service reads it: texts as they are, all else as JSON, truth in Python's words."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, bool) else json.dumps(value, sort_keys=True)


def _written(answer: Answer, folder: Path) -> Outcome:
    """The results as products, or why there are none."""
    data = answer.said.get("data")
    if not isinstance(data, dict) or not isinstance(data.get("exceptions", []), list):
        return Failed("the service answered what is no result", is_crash=True)
    output = data.get("output")
    if data.get("exceptions") or not isinstance(output, dict):
        return Failed(fault_text(data.get("exceptions") or []))
    try:
        write_results(output, folder)
    except BadResult as error:
        return Failed(str(error), is_crash=True)
    return Done()


def _keep(folder: Path, content: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{KEPT}"
    part.write_bytes(content)
    part.replace(folder / KEPT)


def _write(path: Path, value: Any) -> None:
    part = path.with_name(f".{path.name}")
    part.write_text(json.dumps(value), encoding="utf-8")
    part.replace(path)


def _state(folder: Path) -> tuple[dict[str, Any], bool]:
    """(what was asked, are the products there?)."""
    try:
        asked = json.loads((folder / ASKED).read_text("utf-8"))
    except (OSError, ValueError):
        asked = {}
    return asked, (folder / MANIFEST).is_file()
