"""What all tiers share."""

import pytest
from hypothesis import settings

from angelia import telemetry

# A deadline would test how busy the machine is.
settings.register_profile("house", deadline=None)
settings.load_profile("house")

pytest_plugins = ["angelia_testing.fixtures"]


@pytest.fixture(scope="session", autouse=True)
def _quiet_logs() -> None:
    telemetry.configure_logs("json", "error")
