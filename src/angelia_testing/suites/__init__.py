"""Conformance suites: the promises of the contracts, as tests that every implementation runs."""

import pkgutil

import pytest

# All of them, by looking: one that is forgotten would fail without saying what it compared.
pytest.register_assert_rewrite(*(found.name for found in pkgutil.iter_modules(__path__, f"{__name__}.")))
