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


def _group(item):
    """What a test shares with others, so that one process has them all: a server or a hub of its file, or a node of RabbitMQ, whose start takes long."""
    if "rabbitmq" in getattr(item, "fixturenames", ()):
        return f"rabbitmq-{item.path.parent.name}"
    definitions = getattr(item, "_fixtureinfo", None)
    found = [one[-1] for one in definitions.name2fixturedefs.values() if one] if definitions else []
    return item.path.stem if any(one.scope == "module" and "_loop" not in one.argname for one in found) else None


class _Order:
    """After the order is random: a tier after the other."""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items):
        items.sort(key=_tier)


def pytest_configure(config):
    config.pluginmanager.register(_Order())


# First, since whoever shares the work out looks at the groups in this hook, too.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("xdist_group") is None and (group := _group(item)):
            item.add_marker(pytest.mark.xdist_group(group))
