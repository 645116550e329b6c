"""Promises of the store about jobs, on SQLite and PostgreSQL alike."""

from angelia_testing.suites.jobs import JobSuite


class TestJobs(JobSuite):
    """On each database: the fixture `store` has one of each kind."""
