"""A served house whose exchange `open` anybody may follow; fixtures for the tests that import them."""

from dataclasses import replace

import pytest

from angelia.broker import ExchangeSettings
from angelia.front import app_of
from angelia_testing.live import served


@pytest.fixture
def settings(settings):
    return replace(settings, exchanges={"open": ExchangeSettings(access="public")})


@pytest.fixture
async def port(house):
    async with served(app_of(house)) as port:
        yield port
