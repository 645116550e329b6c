"""What all tiers share, and in which order they run where several processes share the work."""

from pathlib import Path

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


# Those who wait longest begin first, so that at the end short ones fill what is left.
TIERS = ["journey", "browser", "service", "contract", "house", "pure"]
HERE = Path(__file__).parent


def _tier(item):
    return TIERS.index(item.path.relative_to(HERE).parts[0])


def _shares(item):
    """Whether it wants something that its whole file shares: a server, a hub."""
    definitions = getattr(item, "_fixtureinfo", None)
    found = [one[-1] for name, one in definitions.name2fixturedefs.items() if one] if definitions else []
    return any(one.scope == "module" and "_loop" not in one.argname for one in found)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("xdist_group") is None and _shares(item):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    items.sort(key=_tier)
