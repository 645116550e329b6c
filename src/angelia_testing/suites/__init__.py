"""Conformance suites: the promises of the contracts, as tests that every implementation runs."""

import pytest

pytest.register_assert_rewrite("angelia_testing.suites.agent", "angelia_testing.suites.equality", "angelia_testing.suites.store")
