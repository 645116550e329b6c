"""What every store promises, as tests: subclass `StoreSuite`, give a fixture `store` (opened, empty). A file for each role of `angelia.store`.

Announcements, experiments, jobs and ways on have suites of their own beside this one.
"""

from angelia_testing.suites.store.answers import AnswerSuite
from angelia_testing.suites.store.deliveries import DeliverySuite
from angelia_testing.suites.store.digests import DigestSuite
from angelia_testing.suites.store.ears import EarSuite
from angelia_testing.suites.store.inbox import InboxSuite
from angelia_testing.suites.store.ledger import LedgerSuite
from angelia_testing.suites.store.making import LEASE, MINUTE, NOW, a_digest, claimed_at_birth, delivery, message, planned, row
from angelia_testing.suites.store.messages import MessageSuite
from angelia_testing.suites.store.operations import AdministrationSuite
from angelia_testing.suites.store.people import PersonSuite
from angelia_testing.suites.store.signing_in import SignInSuite
from angelia_testing.suites.store.site import SiteSuite
from angelia_testing.suites.store.traces import TraceSuite
from angelia_testing.suites.store.upkeep import UpkeepSuite

__all__ = ["LEASE", "MINUTE", "NOW", "StoreSuite", "a_digest", "claimed_at_birth", "delivery", "message", "planned", "row"]


class StoreSuite(
    MessageSuite,
    LedgerSuite,
    DeliverySuite,
    DigestSuite,
    TraceSuite,
    AnswerSuite,
    PersonSuite,
    SiteSuite,
    AdministrationSuite,
    SignInSuite,
    InboxSuite,
    EarSuite,
    UpkeepSuite,
):
    """The promises of `angelia.store.Store`."""
