"""Conformance suites: the promises of the contracts, as tests that every implementation runs."""

import pytest

pytest.register_assert_rewrite(*(f"angelia_testing.suites.{name}" for name in ("agent", "directory", "equality", "store")))
