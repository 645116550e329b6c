"""What all tiers share, and in which order they run where several processes share the work."""

import gc
from pathlib import Path

import pytest
from hypothesis import settings

from angelia import telemetry

# A deadline would test how busy the machine is.
settings.register_profile("house", deadline=None)
settings.load_profile("house")

pytest_plugins = ["angelia_testing.fixtures"]

# Of what is made while tests are found nothing is rubbish, and all of it stays.
gc.disable()


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _quiet_logs() -> None:
    telemetry.configure_logs("json", "error")


# Begun in this order: what waits longest first, so that at the end short ones fill what is left.
TIERS = ["looking", "acting", "rabbitmq", "journey", "service", "contract", "house", "pure"]
LOOKING = {"test_access", "test_weight", "test_plots"}
ON_RABBITMQ = {"test_rabbitmq", "test_streams_rabbitmq", "test_amqp_agent", "test_amqp_inlet", "test_transition_readers"}


def _tier_of(path):
    """Of a path below this folder: a tier, or the part of one that runs in one process since its tests share what takes long to start."""
    tier, name = path.split("/")[-2], Path(path).stem
    if tier == "browser":  # those who look at all pages share one site, which is filled first, and a tour
        return "looking" if name in LOOKING else "acting"
    return "rabbitmq" if name in ON_RABBITMQ else tier


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: TIERS.index(_tier_of(item.path.as_posix())))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A file runs in one process, since its tests may share a server or a hub; of the journeys each stands for itself."""
    from xdist.scheduler import LoadScopeScheduling

    class Sharing(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            path = nodeid.partition("::")[0]
            tier = _tier_of(path)
            if tier in {"looking", "acting", "rabbitmq"}:
                return tier
            return nodeid if tier == "journey" and not path.endswith("test_raw_http.py") else path

    return Sharing(config, log)
