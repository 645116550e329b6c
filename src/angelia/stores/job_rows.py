"""Jobs as rows: their columns, and what is made of them."""

import json
from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, select

from angelia.model.job import HistoryRow, Job, JobReason, JobState, canonical
from angelia.model.moments import from_us, to_us
from angelia.stores import rows as shape
from angelia.stores.job_tables import job_people, jobs

NAMES = (
    "id", "owner", "instrument", "version", "product", "parameters", "content_hash", "state", "due_us", "fence", "attempt", "tries",
    "created_us", "changed_us", "started_us", "ended_us", "deadline_us", "progress", "message", "reason", "session", "campaign", "alias", "is_shared",
    "handle", "report_sequence", "output_bytes",
)  # fmt: skip
COLUMNS = ", ".join(NAMES)
SELECT = tuple(jobs.c[name] for name in NAMES)
_p = job_people.c


def history_row(number: int, row: Any) -> HistoryRow:
    """The how-manieth of its job, 0 where that does not matter."""
    return HistoryRow(
        number,
        from_us(row.at_us),
        JobState(row.state),
        row.by_whom,
        row.attempt,
        row.progress,
        row.message,
        JobReason(row.reason),
        json.loads(row.report) if row.report else {},
    )


def all_of(connection: Connection, rows: Collection[Any]) -> list[Job]:
    """Jobs with all who asked for them. Most were asked for once, and cost no further look."""
    people: dict[int, tuple[str, ...]] = {}
    asked = select(_p.job_id, _p.login).order_by(_p.joined_us, _p.login)
    for some in shape.chunks(sorted(row.id for row in rows if row.is_shared), 1_000):
        for row in connection.execute(asked.where(_p.job_id.in_(some))):
            people[row.job_id] = (*people.get(row.job_id, ()), row.login)
    return [job_of(row, people.get(row.id, ())) for row in rows]


def one_of(connection: Connection, row: Any) -> Job | None:
    """The same for one that may not be there."""
    return None if row is None else all_of(connection, [row])[0]


def row_of(job: Job) -> tuple[Any, ...]:
    """In the order of NAMES."""
    return (
        job.job_id, job.owner, job.instrument, job.version, job.product, canonical(dict(job.values)), job.content_hash, int(job.state),
        to_us(job.due_at) if job.due_at else 0, job.fence, job.attempt, job.tries, to_us(job.created_at), to_us(job.changed_at),
        shape.stamp(job.started_at), shape.stamp(job.ended_at), shape.stamp(job.deadline_at), job.progress, job.message, str(job.reason),
        job.session, job.campaign, job.alias, int(job.is_shared), job.handle, job.report_sequence, job.output_bytes,
    )  # fmt: skip


def job_of(row: Any, people: tuple[str, ...] = ()) -> Job:
    """Of a row with the columns NAMES."""
    return Job(
        job_id=row.id,
        owner=row.owner,
        instrument=row.instrument,
        version=row.version,
        product=row.product,
        values=json.loads(row.parameters),
        content_hash=row.content_hash,
        state=JobState(row.state),
        due_at=from_us(row.due_us),
        fence=row.fence,
        attempt=row.attempt,
        tries=row.tries,
        created_at=from_us(row.created_us),
        changed_at=from_us(row.changed_us),
        started_at=shape.moment(row.started_us),
        ended_at=shape.moment(row.ended_us),
        deadline_at=shape.moment(row.deadline_us),
        progress=row.progress,
        message=row.message,
        reason=JobReason(row.reason),
        session=row.session,
        campaign=row.campaign,
        alias=row.alias,
        is_shared=bool(row.is_shared),
        shared_with=tuple(login for login in people if login != row.owner),
        handle=row.handle,
        report_sequence=row.report_sequence,
        output_bytes=row.output_bytes,
    )
