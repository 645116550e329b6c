"""Requests to be told when a task ends, on SQLite and PostgreSQL alike."""

from angelia_testing.suites.requests import RequestSuite


class TestRequests(RequestSuite):
    """On each database: the fixture `store` has one of each kind."""
