"""What all tiers share."""

import pytest

from angelia import telemetry

pytest_plugins = ["angelia_testing.fixtures"]


@pytest.fixture(scope="session", autouse=True)
def _quiet_logs() -> None:
    telemetry.configure_logs("json", "error")
