"""What people are told of their jobs: ordinary messages of the types `job.<instrument>.<state>`, through intake."""

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from angelia.inlet import Accept, Draft, drafted
from angelia.model.job import PREFIX, Campaign, HistoryRow, Job, JobReason, JobState
from angelia.model.message import HOUSE, Attachment, Message, Recipient, RecipientKind, Sender, Severity
from angelia.model.payload import payload_of
from angelia.planning.job_news import link_line
from angelia.store import JobStore

GRACE = timedelta(seconds=1)
"""What is over so soon is told by its end alone."""
GATHERING = timedelta(seconds=5)
"""So long must a campaign have had no job that goes on: who submits one after another does not hear after each."""
AT_ONCE = 200
OUT_OF_DATE = timedelta(minutes=5)
"""So long at least may a word on progress be on its way."""
_STATE_WORDS = {
    JobState.QUEUED: ("submitted", "was submitted", Severity.LOW),
    JobState.RUNNING: ("running", "is running", Severity.LOW),
    JobState.DONE: ("done", "is done", Severity.NORMAL),
    JobState.FAILED: ("failed", "failed", Severity.HIGH),
    JobState.CANCELLED: ("cancelled", "was cancelled", Severity.LOW),
    JobState.LOST: ("lost", "was lost", Severity.HIGH),
}
_NO_WORD = re.compile(r"[^a-z0-9_:-]+")


CodeOf = Callable[[Job], Attachment | None]
"""Code that asks for the same as a job, as it goes with what is said of it; None where there is none."""
GivenOf = Callable[[Job], Mapping[str, Any] | None]
"""The values by which somebody would ask for the same again; None where nobody can."""


class JobVoice:
    """Says what is written down to be told; each word has a key, so that saying it twice says it once."""

    def __init__(
        self, store: JobStore, accept: Accept, base_url: str, title_of: Callable[[str], str], products_url: str = "",
        code_of: CodeOf = lambda _: None, given_of: GivenOf = lambda _: None, copies_to: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self._store, self._accept, self._base_url, self._title_of = store, accept, base_url, title_of
        self._products_url, self._code_of, self._given_of, self._copies_to = products_url, code_of, given_of, copies_to
        self._saying = asyncio.Lock()
        self._last: dict[int, Beat] = {}

    async def say(self, now: datetime, running: Sequence[Job] = (), every: float = 0.0) -> int:
        """What is due to be told, and how far those that run are, `every` so many seconds (0: never); how much it was."""
        async with self._saying:
            if every > 0:
                await self._say_progress(now, running, every)
            rolled = await self._say_campaigns(now)
            ready = await self._store.untold_jobs(AT_ONCE, now - GRACE)
            drafts = [draft for number, job, row in ready if not _is_overtaken(job, row, now) for draft in self._drafts(number, job, row)]
            if drafts:
                await self._accept(HOUSE, drafts)
            await self._store.told_jobs([number for number, _, _ in ready])
            return len(ready) + rolled

    async def _say_campaigns(self, now: datetime) -> int:
        """Those that have ended, and did not go on for a while; each end has its number in the key, so it is said once."""
        ended = await self._store.untold_campaigns(now - GATHERING, AT_ONCE)
        if ended:
            drafts = [drafted(campaign_message(one, self._base_url), f"campaign {one.login} {one.name} {one.rounds}") for one in ended if one.counts]
            await self._accept(HOUSE, drafts)
            await self._store.told_campaigns(ended)
        return len(ended)

    async def _say_progress(self, now: datetime, running: Sequence[Job], every: float) -> None:
        """Once in each `every` seconds of a job, whoever holds it: the number of the beat is in the key."""
        self._last = {job.job_id: self._last[job.job_id] for job in running if job.job_id in self._last}
        drafts: list[Draft] = []
        for job in running:
            beat = beat_of(job, now, every, self._last.get(job.job_id))
            if beat is not None:
                self._last[job.job_id] = beat
                message = progress_message(job, beat, now, every, self._title_of(job.instrument), self._base_url)
                # Two processes that have it in turn say the beat in other words; the first said it.
                drafts.append(drafted(message, f"{job.key} beat {beat.number}", f"{job.key} {beat.number}"))
        if drafts:
            await self._accept(HOUSE, drafts)

    def _drafts(self, number: int, job: Job, row: HistoryRow) -> Iterator[Draft]:
        """One for all who asked at the same time, the first with the copies; none where it concerns nobody."""
        link = self._line(job) if row.state is JobState.DONE else ""
        key, copies_to = f"{job.key} {number}", self._copies_to
        for one in by_wait(job, row) if concerned(job, row) else ():
            message = job_message(one, row, self._title_of(job.instrument), self._base_url, link, copies_to)
            # Without what goes with it: another version of the code must not make another message of it.
            yield drafted(replace(message, attachment=self._code_of(job)), key, payload_of(message))
            key, copies_to = f"{key} +", ()

    def _line(self, job: Job) -> str:
        """How the text leads back to the request; "" where it can't."""
        given = self._given_of(job) if self._products_url else None
        return "" if given is None else link_line(job, given, self._products_url, f"{self._base_url}/jobs/{job.public_id}")


@dataclass(frozen=True, slots=True)
class Beat:
    """A word on progress: the how-manieth `every` seconds of its job it is said in, that of the word before, and what was seen."""

    number: int
    before: int
    seen: tuple[JobState, float, str]


def beat_of(job: Job, now: datetime, every: float, last: Beat | None) -> Beat | None:
    """What is to be said of a job that runs; None where its time has not come, or nothing is new. Pure."""
    number, seen = int((now - job.created_at).total_seconds() // every), (job.state, job.progress, job.message)
    if job.state is not JobState.RUNNING or not any(job.people) or job.campaign or number < 1:
        return None
    if last is not None and (number <= last.number or seen == last.seen):
        return None
    return Beat(number, last.number if last is not None else number - 1, seen)


def campaign_message(campaign: Campaign, base_url: str) -> Message:
    """How all jobs of a campaign ended, for the one whose it is. Pure."""
    counts = {state.label: number for state, number in sorted(campaign.counts.items()) if number}
    is_good = not any(campaign.counts.get(state) for state in (JobState.FAILED, JobState.LOST))
    summary = ", ".join(f"{number} {label}" for label, number in counts.items())
    page = f"{base_url}/jobs?{urlencode({'campaign': campaign.name})}"
    return Message(
        message_id=0,
        source=HOUSE,
        type=f"{PREFIX}.campaign.{'done' if is_good else 'failed'}",
        received_at=campaign.ended_at,
        occurred_at=campaign.ended_at,
        sender=Sender(HOUSE, "Angelia"),
        recipients=(Recipient(campaign.login, reason="owner"),),
        severity=Severity.NORMAL if is_good else Severity.HIGH,
        subject=f"Campaign {campaign.name} has ended: {summary}",
        body=f"All jobs of your campaign {campaign.name} have ended: {summary}.\n{page}",
        object=f"campaign {campaign.name} of {campaign.login}",
        object_url=page,
        params={
            "campaign": campaign.name,
            "state": "done" if is_good else "failed",
            "seconds": f"{(campaign.ended_at - campaign.began_at).total_seconds():.3f}",
            "jobs": str(sum(counts.values())),
            "jobs_done": str(counts.get("done", 0)),
            "jobs_failed": str(counts.get("failed", 0)),
            "jobs_cancelled": str(counts.get("cancelled", 0)),
            "jobs_lost": str(counts.get("lost", 0)),
        },
        is_restricted=True,
        access=(campaign.login,),
    )


def progress_message(job: Job, beat: Beat, now: datetime, every: float, title: str, base_url: str) -> Message:
    """How far it is, for all who asked for it. It is out of date soon: where it can't be told in time, it is not told. Pure."""
    row = HistoryRow(0, now, job.state, "dispatcher", job.attempt, job.progress, job.message)
    message = job_message(job, row, title, base_url)
    told = {"seconds": f"{beat.number * every:.3f}", "before": f"{beat.before * every:.3f}", "progress": f"{job.progress:.3f}"}
    return replace(message, params={**message.params, **told}, expires_at=now + max(OUT_OF_DATE, timedelta(seconds=2 * every)))


def _is_overtaken(job: Job, row: HistoryRow, now: datetime) -> bool:
    """Was it submitted, and over before anybody had to be told?"""
    return row.state is JobState.QUEUED and job.state.is_final and job.ended_at is not None and job.ended_at - row.at < GRACE


def message_type(instrument: str, state: JobState) -> str:
    """`job.<instrument>.<state>`, where the name of the instrument may be of letters that a type has not."""
    word = _STATE_WORDS[state][0]
    return f"{PREFIX}.{_NO_WORD.sub('_', instrument.lower())[:80] or '_'}.{word}"


def concerned(job: Job, row: HistoryRow) -> list[str]:
    """Who is to be told: of a submission who asked, of all else everybody whose it is. A campaign is told at its end alone."""
    people = [login for login in job.people if login and login not in job.in_campaign]
    if row.reason is JobReason.ASKED or (row.state is JobState.QUEUED and row.by in job.people):
        return [login for login in people if login == row.by]
    return people


def by_wait(job: Job, row: HistoryRow) -> list[Job]:
    """The job as each sees it who is told of its end: how long it took counts from when she asked. Those who asked at the same time are one. Pure."""
    if not row.state.is_final or len(job.joined_at) < 2:
        return [job]
    begun, people = job.asked_at or job.created_at, concerned(job, row)
    since: dict[datetime, list[str]] = {}
    for login in people:
        joined = job.joined_at.get(login, begun)
        since.setdefault(joined if joined - begun >= GRACE else begun, []).append(login)
    return [replace(job, asked_at=at, in_campaign=(*job.in_campaign, *(login for login in people if login not in since[at]))) for at in sorted(since)]


def job_message(job: Job, row: HistoryRow, title: str, base_url: str, link: str = "", copies_to: Sequence[str] = ()) -> Message:
    """One step of one job as a message to those whom it concerns; `link` is a line of its text, `copies_to` hear of it as well. Pure."""
    _, words, severity = _STATE_WORDS[row.state]
    if row.state is JobState.RUNNING:
        words = f"is running: {row.progress:.0%}" if row.progress else "is running"
    if row.reason is JobReason.EMPTY:
        words = "is done, with an empty result"
    people = concerned(job, row)
    copies = [name for name in copies_to if name not in people]
    ended_at = row.at if row.state.is_final else None
    seconds = (ended_at - (job.asked_at or job.created_at)).total_seconds() if ended_at else 0.0
    asked_before = {"asked_before": " ".join(f"{before:.3f}" for before in row.asked_before)} if row.asked_before else {}
    lines = [f"The job {job.public_id} ({title or job.instrument}, {job.product}) {words}."]
    if row.message:
        lines.append(row.message)
    page = f"{base_url}/jobs/{job.public_id}"
    if row.reason is JobReason.EMPTY:
        lines.append("There is nothing in what came of it: the parameters may ask for what there is not.")
    if link:
        lines.append(link)
    return Message(
        message_id=0,
        source=HOUSE,
        type=message_type(job.instrument, row.state),
        received_at=row.at,
        occurred_at=row.at,
        sender=Sender(HOUSE, "Angelia"),
        recipients=(
            *(Recipient(login, reason="owner" if login == job.owner else "asked for the same") for login in people),
            *(Recipient(name, RecipientKind.CC, "looks after jobs") for name in copies),
        ),
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
            **asked_before,
        },
        is_restricted=True,
        access=(*people, *copies),
    )
