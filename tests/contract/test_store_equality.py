"""SQLite and PostgreSQL under the same random operations: every answer is equal."""

import pytest

from angelia_testing.fixtures import opened
from angelia_testing.suites.equality import EqualitySuite


@pytest.fixture
async def stores(sqlite_url, postgresql_url):
    made = await opened(sqlite_url), await opened(postgresql_url)
    yield made
    for store in made:
        await store.close()


class TestEquality(EqualitySuite):
    """SQLite beside PostgreSQL."""
