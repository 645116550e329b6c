"""Promises of the store about jobs, on SQLite and PostgreSQL alike; and its hot queries, which find what they need by an index."""

import pytest

from angelia.stores import jobs
from angelia_testing.suites.jobs import JobSuite


class TestJobs(JobSuite):
    """On each database: the fixture `store` has one of each kind."""


@pytest.mark.parametrize(
    ("statement", "parameters", "index"),
    [
        (jobs._CURRENT, ("h",), "jobs_content"),
        (jobs._WAITING_IDS, ("x", 1, 1), "jobs_waiting"),
        (jobs._HELD_IDS, ("x", 1, 1), "jobs_held"),
        (jobs._OLD, (1, 1), "jobs_ended"),
        (jobs._COUNTS[0], (), "jobs_state"),
        (jobs._COUNTS[1], (), "jobs_state"),
        (jobs._WAITING, ("x", 1), "job_people_state"),
        (jobs._LAST_REPORT, (1,), "job_history_job"),
    ],
)
async def test_no_query_looks_at_all_jobs(sqlite_store, statement, parameters, index):
    explained = await sqlite_store.engine.read(lambda connection: jobs.run(connection, f"EXPLAIN QUERY PLAN {statement}", parameters).all())
    steps = " ".join(row[3] for row in explained)
    assert index in steps
    assert "TEMP B-TREE FOR ORDER BY" not in steps
