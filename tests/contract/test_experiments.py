"""Promises of the store about experiments, on SQLite and PostgreSQL alike."""

from angelia_testing.suites.experiments import ExperimentSuite


class TestExperiments(ExperimentSuite):
    """On each database: the fixture `store` has one of each kind."""
