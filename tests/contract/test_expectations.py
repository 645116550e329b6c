"""Promises of the store about expectations, on SQLite and PostgreSQL alike."""

from angelia_testing.suites.expectations import ExpectationSuite


class TestExpectations(ExpectationSuite):
    """On each database: the fixture `store` has one of each kind."""
