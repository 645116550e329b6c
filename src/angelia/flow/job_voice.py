"""What people are told of their jobs: ordinary messages of the types `job.<instrument>.<state>`, through intake."""

import asyncio
import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b

from angelia.inlet import Accept, Draft
from angelia.model.job import PREFIX, HistoryRow, Job, JobState
from angelia.model.message import HOUSE, Message, Recipient, Sender, Severity
from angelia.model.payload import payload_of
from angelia.planning.job_news import link_line
from angelia.store import JobStore

GRACE = timedelta(seconds=1)
"""What is over so soon is told by its end alone."""
AT_ONCE = 200
_STATE_WORDS = {
    JobState.QUEUED: ("submitted", "was submitted", Severity.LOW),
    JobState.DONE: ("done", "is done", Severity.NORMAL),
    JobState.FAILED: ("failed", "failed", Severity.HIGH),
    JobState.CANCELLED: ("cancelled", "was cancelled", Severity.LOW),
    JobState.LOST: ("lost", "was lost", Severity.HIGH),
}
_NO_WORD = re.compile(r"[^a-z0-9_:-]+")


class JobVoice:
    """Says what is written down to be told; each word has a key, so that saying it twice says it once."""

    def __init__(self, store: JobStore, accept: Accept, base_url: str, title_of: Callable[[str], str], products_url: str = "") -> None:
        self._store, self._accept, self._base_url, self._title_of = store, accept, base_url, title_of
        self._products_url = products_url
        self._saying = asyncio.Lock()

    async def say(self, now: datetime) -> int:
        """What is due to be told; how much it was."""
        async with self._saying:
            told = await self._store.untold_jobs(AT_ONCE)
            ready = [(number, job, row) for number, job, row in told if row.state.is_final or now - row.at >= GRACE or job.state.is_final]
            drafts = [self._draft(number, job, row) for number, job, row in ready if not _is_overtaken(job, row, now)]
            if drafts:
                await self._accept(HOUSE, drafts)
            await self._store.told_jobs([number for number, _, _ in ready])
            return len(ready)

    def _draft(self, number: int, job: Job, row: HistoryRow) -> Draft:
        message = job_message(job, row, self._title_of(job.instrument), self._base_url, self._products_url)
        payload = payload_of(message)
        digest = blake2b(payload.encode(), digest_size=16).digest()
        return Draft(message.type, payload, f"{job.key} {number}", digest)


def _is_overtaken(job: Job, row: HistoryRow, now: datetime) -> bool:
    """Was it submitted, and over before anybody had to be told?"""
    return row.state is JobState.QUEUED and job.state.is_final and job.ended_at is not None and job.ended_at - row.at < GRACE


def message_type(instrument: str, state: JobState) -> str:
    """`job.<instrument>.<state>`, where the name of the instrument may be of letters that a type has not."""
    word = _STATE_WORDS[state][0]
    return f"{PREFIX}.{_NO_WORD.sub('_', instrument.lower())[:80] or '_'}.{word}"


def job_message(job: Job, row: HistoryRow, title: str, base_url: str, products_url: str = "") -> Message:
    """One step of one job as a message to all who asked for it. Pure."""
    _, words, severity = _STATE_WORDS[row.state]
    people: Sequence[str] = [login for login in job.people if login]
    ended_at = row.at if row.state.is_final else None
    seconds = (ended_at - job.created_at).total_seconds() if ended_at else 0.0
    lines = [f"Your job {job.public_id} ({title or job.instrument}, {job.product}) {words}."]
    if row.message:
        lines.append(row.message)
    page = f"{base_url}/jobs/{job.public_id}"
    if row.state is JobState.DONE and (line := link_line(job, products_url, page)):
        lines.append(line)
    return Message(
        message_id=0,
        source=HOUSE,
        type=message_type(job.instrument, row.state),
        received_at=row.at,
        occurred_at=row.at,
        sender=Sender(HOUSE, "Angelia"),
        recipients=tuple(Recipient(login, reason="owner" if login == job.owner else "asked for the same") for login in people),
        actor="" if row.by in ("dispatcher", "instrument") else row.by,
        severity=severity,
        subject=f"{title or job.instrument}: {job.product} {words}",
        body="\n".join(lines),
        object=job.public_id,
        object_url=page,
        thread=job.public_id,
        params={
            "job": job.public_id,
            "alias": job.alias,
            "session": job.session,
            "instrument": job.instrument,
            "product": job.product,
            "state": row.state.label,
            "reason": str(row.reason),
            "attempt": str(row.attempt),
            "seconds": f"{seconds:.3f}",
            "output_bytes": str(job.output_bytes),
            "submitted_at": f"{job.created_at.timestamp():.6f}",
        },
        is_restricted=True,
        access=tuple(people),
    )
