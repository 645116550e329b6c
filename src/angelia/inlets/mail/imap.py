"""The mailbox inlet: reads what is new, does what it says, and only then puts it away and moves its mark."""

import asyncio
import ssl
from collections.abc import Callable
from datetime import datetime

from angelia import telemetry
from angelia.inlet import Accept
from angelia.inlets.mail.door import MOST_BYTES, Door
from angelia.inlets.mail.mailbox import Found, ImapMailbox, MailboxFailed
from angelia.inlets.mail.reading import parsed
from angelia.inlets.mail.settings import MailInletSettings
from angelia.model.errors import Conflict, StoreUnavailable
from angelia.store import Store

FIRST_REST, LONGEST_REST = 1.0, 300.0  # seconds after a failure, doubled each time


class MailboxInlet:
    """Reads one folder. Mail to none of our addresses is left as it lies; nothing is ever answered."""

    name = "mailbox"

    def __init__(self, settings: MailInletSettings, door: Door, store: Store, clock: Callable[[], datetime]) -> None:
        self._settings, self._door, self._store, self._clock = settings, door, store, clock
        box = settings.mailbox
        self._mark = f"mailbox {box.user}@{box.host}/{box.folder}"
        self.fault = ""

    async def run(self, accept: Accept) -> None:
        """Read until cancelled; what fails is tried again, later each time."""
        del accept
        rest = FIRST_REST
        while True:
            try:
                await self._session()
            except Exception as error:  # noqa: BLE001 - a server's odd word, or a bug here, must not end the reading for good
                rest = FIRST_REST if not self.fault else min(rest * 2, LONGEST_REST)
                self.fault = str(error) or type(error).__name__
                is_foreseen = isinstance(error, MailboxFailed | StoreUnavailable | Conflict)
                telemetry.log.warning("mailbox_failed", error=self.fault, again_in=rest, exc_info=not is_foreseen)
            await asyncio.sleep(rest)

    async def _session(self) -> None:
        """One connection, until it fails."""
        box = ImapMailbox(self._settings)
        try:
            await asyncio.to_thread(box.open)
            while True:
                await self._look(box)
                self.fault = ""
                await self._wait(box)
        finally:
            box.close()

    async def _look(self, box: ImapMailbox) -> None:
        """Take all that is new, in order: the mark is never before a mail that is not done."""
        validity, _, last = (await self._store.stream_position(self._mark)).partition(":")
        done = int(last) if validity == str(box.validity) else 0
        for uid in await asyncio.to_thread(box.newer, done):
            found = await asyncio.to_thread(box.read, uid, MOST_BYTES)
            if found is not None:
                await self._one(box, found)
            await self._store.put_stream_position(self._mark, f"{box.validity}:{uid}")

    async def _one(self, box: ImapMailbox, found: Found) -> None:
        """Commit, then put away. If we die between the two it is read again, and changes nothing."""
        try:
            meaning = await self._door.meaning_of(parsed(found.raw))
            if meaning is None:
                telemetry.mail_back.labels("foreign").inc()
                return
            if not found.is_whole:
                raise ValueError(f"it is larger than {MOST_BYTES} bytes")
            await self._door.take(meaning, found.raw, None)
        except (StoreUnavailable, Conflict):
            raise
        except Exception as error:  # noqa: BLE001 - one bad mail must not keep back all that follow
            telemetry.mail_back.labels("poison").inc()
            telemetry.log.warning("mail_put_aside", uid=found.uid, error=f"{type(error).__name__}: {error}")
            await asyncio.to_thread(box.put_aside, found.uid, f"{type(error).__name__}: {error}", self._clock())
            return
        await asyncio.to_thread(box.taken, found.uid)

    async def _wait(self, box: ImapMailbox) -> None:
        """Until the server says that something came, but never long: a word that was lost costs no more than this."""
        if not box.can_wait:
            await asyncio.sleep(self._settings.every)
            return
        if not await asyncio.to_thread(box.begin_waiting):
            await _readable(box, self._settings.every)
        await asyncio.to_thread(box.end_waiting)


async def _readable(box: ImapMailbox, seconds: float) -> None:
    """In the loop, not in a thread: so the hub can stop at once."""
    wire = box.socket
    if isinstance(wire, ssl.SSLSocket) and wire.pending():
        return
    loop, came = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(wire.fileno(), came.set)
    try:
        async with asyncio.timeout(seconds):
            await came.wait()
    except TimeoutError:
        return
    finally:
        loop.remove_reader(wire.fileno())
