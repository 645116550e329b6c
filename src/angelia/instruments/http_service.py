"""HTTP service: jobs that any back end computes which takes a POST, and is then asked or calls back.

The back end's side, in JSON: `POST <url>/jobs` with `{key, product, parameters, callback_url, callback_secret, limits}` answers 201 or 202 with
`{id}`; a key that it knows is answered with the same id. `GET <url>/jobs/<id>` answers `{state, progress, message, products}`, where state is
queued, running, done, failed or cancelled, and a product is `{name, kind, title, content_type, url, meta}`. `GET <url>/jobs?key=<key>` answers
`{jobs: [{id}]}`; `DELETE <url>/jobs/<id>` cancels.
"""

import json
import re
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO
from urllib.parse import quote, urljoin, urlsplit

from angelia.instrument import LATER, CantTell, Done, Failed, Gone, Handle, Lent, Outcome, Progress, Work, submitted
from angelia.model.declaration import Declaration, ProductKind
from angelia.model.errors import BadSettings
from angelia.model.setting import say
from angelia.outbound import Answer, NoAnswer, Request, host_of
from angelia.products.output import write_manifest

_NAME = re.compile(r"[^A-Za-z0-9._-]+")
_MOST_PRODUCTS = 200
_KINDS = frozenset(kind.value for kind in ProductKind)


@dataclass(frozen=True, slots=True)
class HttpServiceSettings:
    """Where the back end is. `timeout` in seconds is for one request."""

    url: str = say("", "where the back end is; below it are jobs")
    token: str = say("", "sent as a bearer token to the back end, and only there")
    timeout: float = say(20.0, "seconds for one request")
    most_at_once: int = say(100, "how many jobs it is given at once")
    poll_seconds: float = say(5.0, "how often it is asked for a job that says nothing by itself")

    def __post_init__(self) -> None:
        """Say at the start what would fail with each job."""
        if not self.url.startswith(("https://", "http://")) or self.url.endswith("/"):
            raise BadSettings("the url of an http_service instrument starts with https:// or http:// and does not end in /")
        if min(self.timeout, self.poll_seconds) <= 0 or self.most_at_once < 1:
            raise BadSettings("timeout, poll_seconds and most_at_once are above 0")


class HttpServiceInstrument:
    """A back end that is asked over HTTP, within the limits of all requests that the hub makes."""

    Settings = HttpServiceSettings
    declares: Declaration | None = None
    is_far = True

    def __init__(self, declaration: Declaration, settings: HttpServiceSettings, lent: Lent) -> None:
        self.declaration = declaration
        self.most_at_once = settings.most_at_once
        self.poll_seconds = settings.poll_seconds
        self._settings, self._outbound = settings, lent.outbound

    async def submit(self, work: Work) -> Handle:
        """See Instrument."""
        body = {
            "key": work.key,
            "product": work.product,
            "parameters": dict(work.values),
            "callback_url": work.callback_url,
            "callback_secret": work.callback_secret,
            "limits": asdict(work.limits),
        }
        handle = submitted(await self._ask("POST", "/jobs", body), "the back end").said.get("id")
        if not isinstance(handle, str) or not handle:
            raise CantTell("the back end took the job and gave no id")
        return handle

    async def find(self, work: Work) -> Handle | None:
        """See Instrument."""
        answer = await self._ask("GET", f"/jobs?key={quote(work.key, safe='')}")
        if isinstance(answer, NoAnswer):
            raise CantTell(answer.why)
        if answer.status in (404, 405, 501):
            raise CantTell("the back end can't be asked for a key", is_for_good=True)
        found = answer.said.get("jobs")
        if answer.status != 200 or not isinstance(found, list):
            raise CantTell(f"the back end answered {answer.status}")
        if not found:
            return None
        handle = found[0].get("id") if isinstance(found[0], dict) else None
        if not isinstance(handle, str) or not handle:
            raise CantTell("the back end knows the job and gave no id")
        return handle

    async def poll(self, work: Work, handle: Handle) -> Progress | Outcome:
        """See Instrument."""
        answer = await self._ask("GET", f"/jobs/{quote(handle, safe='')}")
        if isinstance(answer, NoAnswer):
            raise CantTell(answer.why)
        if answer.status in (404, 410):
            return Gone(f"the back end does not know it any more ({answer.status})")
        if answer.status != 200:
            raise CantTell(f"the back end answered {answer.status}")
        said = answer.said
        message = str(said.get("message") or "")[:2_000]
        match said.get("state"):
            case "queued":
                return Progress(None, message, is_running=False)
            case "running":
                return Progress(_fraction(said.get("progress")), message)
            case "done":
                return await self._fetch(work, handle, said.get("products"), message)
            case "failed":
                return Failed(message or "the back end says that it failed")
            case "cancelled":
                return Failed(message or "it was cancelled at the back end")
            case other:
                return Failed(f"the back end gave a state that there is not: {str(other)[:50]!r}", is_crash=True)

    async def cancel(self, work: Work, handle: Handle) -> None:
        """See Instrument."""
        if handle:
            await self._ask("DELETE", f"/jobs/{quote(handle, safe='')}")

    async def close(self) -> None:
        """Its connections are the house's."""

    async def _fetch(self, work: Work, handle: Handle, listed: Any, message: str) -> Outcome:
        """All products, then their list; garbage ends only this job."""
        if not isinstance(listed, list) or len(listed) > _MOST_PRODUCTS:
            return Failed("the back end's list of products is none", is_crash=True)
        entries, room = [], work.limits.output_bytes
        for number, entry in enumerate(listed):
            if not isinstance(entry, dict) or entry.get("kind") not in _KINDS or not isinstance(entry.get("url"), str):
                return Failed("a product of the back end has no name, kind or url", is_crash=True)
            name = str(entry.get("name") or f"product {number}")[:200]
            path = f"{number:03d}-{_NAME.sub('_', name).strip('._')[:80] or 'product'}"
            url = urljoin(f"{self._settings.url}/jobs/{quote(handle, safe='')}/", entry["url"])
            with (work.folder / path).open("wb") as file:
                fault = _fault(await self._get(url, room, file))
                room -= file.tell()
            if fault is not None:
                return fault
            entries.append({name: entry.get(name) for name in ("kind", "title", "content_type", "meta")} | {"name": name, "path": path})
        write_manifest(work.folder, entries)
        return Done(message)

    async def _ask(self, method: str, path: str, body: Any = None) -> Answer | NoAnswer:
        headers = {"accept": "application/json", "content-type": "application/json"} | self._credentials(self._settings.url)
        content = b"" if body is None else json.dumps(body).encode()
        url = f"{self._settings.url}{path}"
        return await self._outbound.fetch(Request(url=url, method=method, headers=headers, content=content, timeout=self._settings.timeout))

    async def _get(self, url: str, room: int, into: BinaryIO) -> Answer | NoAnswer:
        """The token goes to the back end alone, wherever its products are."""
        asked = Request(url=url, headers=self._credentials(url), timeout=self._settings.timeout * 5, most=max(1, room))
        return await self._outbound.fetch(asked, into)

    def _credentials(self, url: str) -> dict[str, str]:
        is_its_own = host_of(url) == host_of(self._settings.url) and urlsplit(url).scheme == urlsplit(self._settings.url).scheme
        return {"authorization": f"Bearer {self._settings.token}"} if self._settings.token and is_its_own else {}


def _fault(answer: Answer | NoAnswer) -> Outcome | None:
    """What a product that can't be had means for the job. CantTell where it may be had later."""
    if isinstance(answer, NoAnswer):
        if answer.is_forbidden or answer.is_too_large:
            return Failed(f"a product can't be fetched: {answer.why}", is_limit=answer.is_too_large)
        raise CantTell(answer.why)
    if answer.status in LATER:
        raise CantTell(f"the back end answered {answer.status} for a product")
    return None if answer.status == 200 else Failed(f"the back end answered {answer.status} for a product", is_crash=True)


def _fraction(value: Any) -> float | None:
    return float(min(1, max(0, value))) if isinstance(value, int | float) and not isinstance(value, bool) and value == value else None  # noqa: PLR0124
