"""A small client: `send(...)` from a script, sync and async; what the hub can't take now waits in a folder and is delivered later."""

import asyncio
import json
import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2

PATH = "/api/v1/messages"
MOST_SPOOLED = 100_000
FLUSH_AT_ONCE = 50
_TRY_LATER = frozenset({404, 405, 408, 425, 429, 500, 502, 503, 504, 507})
_TOO_LARGE = frozenset({413, 431})
_BROKEN = (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError)
"""How a connection that was kept open ends just as it is used again. Once more on a new one is harmless: each message has its key."""


class Refused(Exception):
    """The hub will never take this message; the text says why."""


class NotAllowed(Refused):
    """The hub does not know the token, or it may not do this."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """`status` is accepted, repeat (it was there already), or spooled (kept here; no id yet)."""

    status: str
    message_id: str | None = None


def sync_folder(folder: Path) -> None:
    """Make a rename in it durable, where the system opens folders: Windows does not, and needs no such word."""
    try:
        number = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(number)
    finally:
        os.close(number)


class Spool:
    """A folder of messages that wait, oldest first by name; one that can never be sent moves to `refused/` with the reason."""

    def __init__(self, folder: str | Path, refused: Callable[[Path, str], object] | None = None) -> None:
        """`refused` hears of each message that was put aside: where it lies now, and why."""
        self.folder = Path(folder)
        self._refused = refused

    def put(self, fields: Mapping[str, Any]) -> None:
        """Durable when it returns: written aside, flushed, renamed."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if sum(1 for _ in self.folder.glob("*.json")) >= MOST_SPOOLED:
            raise OSError(f"{self.folder} holds {MOST_SPOOLED} messages: the hub has been away for too long")
        name = f"{time.time_ns():020d}-{secrets.token_hex(4)}"
        part = self.folder / f"{name}.part"
        with part.open("w", encoding="utf-8") as file:
            json.dump(fields, file, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        part.rename(self.folder / f"{name}.json")
        sync_folder(self.folder)

    def waiting(self) -> list[Path]:
        """Oldest first."""
        return sorted(self.folder.glob("*.json"))

    def refuse(self, path: Path, why: str) -> None:
        """Put it aside, with the reason beside it."""
        aside = self.folder / "refused"
        aside.mkdir(exist_ok=True)
        try:
            path.rename(aside / path.name)
        except FileNotFoundError:
            return  # another process has put it there
        (aside / f"{path.stem}.txt").write_text(why, encoding="utf-8")
        if self._refused is not None:
            self._refused(aside / path.name, why)


def _prepared(fields: Mapping[str, Any]) -> dict[str, Any]:
    """With a key of its own, so that a repeat is recognised however often it is sent."""
    if not fields.get("type"):
        raise ValueError("a message needs a type, such as instrument.error")
    return {"idempotency_key": secrets.token_hex(16)} | {name: value for name, value in fields.items() if value is not None}


def _headers(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def receipt_of(status: int, text: str) -> Receipt:
    """What the hub said; Refused for what it will never take, OSError for what it may take later.

    Only the hub itself refuses for good, in its own words. Whatever else answers there (a proxy, a page to sign in, a redirect to https) may be
    gone tomorrow; but what is too large for a proxy stays so, and who is not allowed in is told.
    """
    if status in _TRY_LATER:
        raise OSError(f"the hub answered {status}")
    try:
        body = json.loads(text)
        if status in (200, 201):
            return Receipt(body["status"], body["id"])
        fields = [error["field"] for error in body.get("errors", [])]
        words = f"{fields[0]}: {body['detail']}" if fields else str(body["detail"])
    except (ValueError, KeyError, TypeError, AttributeError):
        if status not in _TOO_LARGE and status not in (401, 403):
            raise OSError(f"what answered {status} is not the hub") from None
        words = f"the hub answered {status}"
    raise (NotAllowed if status in (401, 403) else Refused)(words)


Post = Callable[[Mapping[str, Any]], Receipt]
"""One try: a receipt, Refused, or OSError for later."""


class Spooling:
    """Sends by any road, through a spool: what waits goes first, so order is kept, and each message has one key for all its tries.

    `fault` says why the last one that waits could not be sent.
    """

    def __init__(self, post: Post, spool: Spool | None) -> None:
        self._post = post
        self._spool = spool
        self.fault = ""

    def send(self, fields: Mapping[str, Any]) -> Receipt:
        """Sent, or spooled; without a spool the caller gets the OSError."""
        prepared = _prepared(fields)
        if self._spool is not None and self._spool.waiting():
            _, left = self.flush(FLUSH_AT_ONCE)
            if left:
                self._spool.put(prepared)
                return Receipt("spooled")
        try:
            return self._post(prepared)
        except OSError as error:
            if self._spool is None:
                raise
            self.fault = str(error)
            self._spool.put(prepared)
            return Receipt("spooled")

    def flush(self, limit: int = MOST_SPOOLED) -> tuple[int, int]:
        """Send what waits, oldest first, until one can't be sent; (sent, left)."""
        if self._spool is None:
            return 0, 0
        sent = 0
        for path in self._spool.waiting()[:limit]:
            try:
                self._post(json.loads(path.read_text(encoding="utf-8")))
            except FileNotFoundError:
                continue  # another process sends from the same folder, and was faster
            except NotAllowed as error:
                # A token that ran out must not set the whole spool aside: it waits for a good one.
                self.fault = str(error)
                break
            except (Refused, ValueError) as error:
                self._spool.refuse(path, str(error))
                continue
            except OSError as error:
                self.fault = str(error)
                break
            path.unlink(missing_ok=True)
            sent += 1
        return sent, len(self._spool.waiting())


class Client:
    """Sends messages to one hub. `spool` is a folder for what can't be sent now; without one the caller gets the OSError."""

    def __init__(self, url: str, *, token: str = "", spool: str | Path | None = None, timeout: float = 10.0) -> None:
        self._http = httpx2.Client(base_url=url.rstrip("/"), headers=_headers(token), timeout=timeout)
        self._sending = Spooling(self._post, None if spool is None else Spool(spool))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back."""
        self._http.close()

    def send(self, **fields: Any) -> Receipt:
        """Send one message (fields as in POST /api/v1/messages). What waits in the spool goes first, so order is kept."""
        return self._sending.send(fields)

    def flush(self, limit: int = MOST_SPOOLED) -> tuple[int, int]:
        """Send what waits, oldest first, until one can't be sent; (sent, left)."""
        return self._sending.flush(limit)

    def _post(self, fields: Mapping[str, Any]) -> Receipt:
        try:
            try:
                answer = self._http.post(PATH, json=fields)
            except _BROKEN:
                answer = self._http.post(PATH, json=fields)
        except httpx2.HTTPError as error:
            raise OSError(f"the hub does not answer: {error}") from error
        return receipt_of(answer.status_code, answer.text)


class AsyncClient:
    """The same for asyncio. Files of the spool are written and read in threads, so that no disk holds up the loop."""

    def __init__(self, url: str, *, token: str = "", spool: str | Path | None = None, timeout: float = 10.0) -> None:
        self._http = httpx2.AsyncClient(base_url=url.rstrip("/"), headers=_headers(token), timeout=timeout)
        self._spool = None if spool is None else Spool(spool)
        self._flushing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.aclose()

    async def send(self, **fields: Any) -> Receipt:
        """Send one message. What waits in the spool goes first, so order is kept."""
        prepared = _prepared(fields)
        if self._spool is None:
            return await self._post(prepared)
        if await asyncio.to_thread(self._spool.waiting):
            _, left = await self.flush(FLUSH_AT_ONCE)
            if left:
                return await self._keep(self._spool, prepared)
        try:
            return await self._post(prepared)
        except OSError:
            return await self._keep(self._spool, prepared)

    async def flush(self, limit: int = MOST_SPOOLED) -> tuple[int, int]:
        """Send what waits, oldest first, until one can't be sent; (sent, left). One at a time: the next would send the same files."""
        if self._spool is None:
            return 0, 0
        async with self._flushing:
            return await asyncio.to_thread(Spooling(self._post_from_thread(), self._spool).flush, limit)

    async def _keep(self, spool: Spool, prepared: Mapping[str, Any]) -> Receipt:
        await asyncio.to_thread(spool.put, prepared)
        return Receipt("spooled")

    def _post_from_thread(self) -> Post:
        """Files in the thread, requests in the loop."""
        loop = asyncio.get_running_loop()
        return lambda fields: asyncio.run_coroutine_threadsafe(self._post(fields), loop).result()

    async def _post(self, fields: Mapping[str, Any]) -> Receipt:
        try:
            try:
                answer = await self._http.post(PATH, json=fields)
            except _BROKEN:
                answer = await self._http.post(PATH, json=fields)
        except httpx2.HTTPError as error:
            raise OSError(f"the hub does not answer: {error}") from error
        return receipt_of(answer.status_code, answer.text)


def send(body: str = "", *, type: str, url: str = "", token: str = "", spool: str = "", timeout: float = 10.0, **fields: Any) -> Receipt:
    """One message from a script: `angelia.send("done", type="job.done", to=["alice"])`. Hub, token and spool from ANGELIA_URL,
    ANGELIA_TOKEN and ANGELIA_SPOOL where they are not given.
    """
    where = url or os.environ.get("ANGELIA_URL", "http://127.0.0.1:8080")
    folder = spool or os.environ.get("ANGELIA_SPOOL", "")
    with Client(where, token=token or os.environ.get("ANGELIA_TOKEN", ""), spool=folder or None, timeout=timeout) as client:
        return client.send(type=type, body=body or None, **fields)
