"""Campaigns in SQL: whether the last job of one has ended is decided in the transaction in which a job ends, begins, or is left."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection

from angelia.model.job import Campaign, JobState
from angelia.model.moments import from_us, to_us
from angelia.stores.engine import SqlEngine, run

_MAKE = "INSERT INTO job_campaigns (login, name) VALUES (?, ?) ON CONFLICT (login, name) DO NOTHING"
# Two jobs that end at once meet at this row: the second sees that the first has ended.
_LOCK = "SELECT rounds, to_tell FROM job_campaigns WHERE login = ? AND name = ? FOR UPDATE"
_RUNNING = "SELECT 1 FROM job_people WHERE login = ? AND campaign = ? AND campaign <> '' AND state < 10 LIMIT 1"
_ENDED = "UPDATE job_campaigns SET to_tell = 1, rounds = rounds + 1, ended_us = ? WHERE login = ? AND name = ?"
_GOES_ON = "UPDATE job_campaigns SET to_tell = 0 WHERE login = ? AND name = ? AND to_tell = 1"
_UNTOLD = "SELECT login, name, rounds, ended_us FROM job_campaigns WHERE to_tell = 1 AND ended_us <= ? ORDER BY ended_us LIMIT ?"
_COUNTS = "SELECT state, count(*), min(joined_us) FROM job_people WHERE login = ? AND campaign = ? AND campaign <> '' GROUP BY state"
_TOLD = "UPDATE job_campaigns SET to_tell = 0 WHERE login = ? AND name = ? AND rounds = ?"
_FORGET = (
    "DELETE FROM job_campaigns WHERE to_tell = 0 AND NOT EXISTS "
    "(SELECT 1 FROM job_people WHERE job_people.login = job_campaigns.login AND campaign = job_campaigns.name AND campaign <> '')"
)


class CampaignsMixin:
    """The part of JobStore that is about campaigns."""

    engine: SqlEngine

    async def untold_campaigns(self, before: datetime, limit: int) -> list[Campaign]:
        """See JobStore."""

        def work(connection: Connection) -> list[Campaign]:
            found = run(connection, _UNTOLD, (to_us(before), limit)).all()
            return [_campaign(connection, *row) for row in found]

        return await self.engine.glance(work)

    async def campaign_counts(self, login: str, name: str) -> dict[JobState, int]:
        """See JobStore."""
        found = await self.engine.read(lambda connection: run(connection, _COUNTS, (login, name)).all())
        return {JobState(row[0]): int(row[1]) for row in found}

    async def told_campaigns(self, told: Collection[Campaign]) -> None:
        """See JobStore."""
        rows = sorted((one.login, one.name, one.rounds) for one in told)
        if rows:
            await self.engine.write(lambda connection: run(connection, _TOLD, rows).close())


def _campaign(connection: Connection, login: str, name: str, rounds: int, ended_us: int) -> Campaign:
    counts = run(connection, _COUNTS, (login, name)).all()
    began_us = min((row[2] for row in counts), default=ended_us)
    return Campaign(login, name, rounds, from_us(began_us), from_us(ended_us), {JobState(row[0]): int(row[1]) for row in counts})


def look_at(connection: Connection, login: str, name: str, now: datetime) -> None:
    """After a change to one of her jobs of this campaign: is there one that has not ended?"""
    if not name:
        return
    run(connection, _MAKE, (login, name)).close()
    run(connection, _LOCK.removesuffix(" FOR UPDATE") if connection.dialect.name == "sqlite" else _LOCK, (login, name)).close()
    if run(connection, _RUNNING, (login, name)).first() is None:
        run(connection, _ENDED, (to_us(now), login, name)).close()
    else:
        run(connection, _GOES_ON, (login, name)).close()


def forget_empty(connection: Connection) -> None:
    """Those of which no job is kept any more."""
    run(connection, _FORGET).close()
