"""What the journeys share: a furnished folder that each starts from, a hub in it, a receiver of mail, and the size of the run."""

import shutil

import pytest

from angelia_testing.hub import Hub, furnish
from angelia_testing.peers.smtp_sink import SmtpSink
from angelia_testing.soak import IS_SOAK


@pytest.fixture(scope="session")
def sized():
    """`sized(ci, soak)`: how much of it, in this run."""
    return lambda ci, soak: soak if IS_SOAK else ci


@pytest.fixture(scope="session")
def ground(tmp_path_factory):
    """The data folder of a hub that has not run: alice has a mail address; bob and carol look into their inboxes."""
    folder = tmp_path_factory.mktemp("ground") / "hub"
    furnish(folder, "alice", "bob", "carol", by_mail=["alice"])
    return folder


@pytest.fixture
def folder(ground, tmp_path):
    """A copy of the furnished folder for one test."""
    return shutil.copytree(ground, tmp_path / "hub")


@pytest.fixture
def hub(folder):
    made = Hub(folder)
    yield made
    made.stop()


@pytest.fixture
def sink():
    made = SmtpSink()
    yield made
    made.stop()
