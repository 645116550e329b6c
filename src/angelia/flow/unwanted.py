"""What waits, asked about again with today's wants (promise P10): is it unwanted now, and why?"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from angelia.flow.unsubscribe import decided_by
from angelia.model.delivery import Delivery, Reason
from angelia.model.message import Message
from angelia.model.person import Address, AddressState
from angelia.model.preference import Site
from angelia.planning import escalation, fallback
from angelia.planning.decision import Decision, Profile, Resolution, Standing, Verdict
from angelia.planning.estimate import roles_in
from angelia.planning.resolve import Alike, judged, resolve
from angelia.store import LedgerRow

Pair = tuple[int, int]
Known = tuple[Profile, tuple[Address, ...]]
Profiles = Mapping[int, Known]
WAYS_ON = (fallback.PREFIX, escalation.PREFIX)
"""How `decided_by` begins where it was not her wishes alone that decided."""
_STAYS = frozenset({Reason.HOLD_SILENT, Reason.HOLD_DROPPED, Reason.GROUP_NOT_ACCEPTED, Reason.GROUP_ADDRESS, Reason.TEST_TRAFFIC, Reason.OWN_ACTION})


@dataclass(frozen=True, slots=True)
class Today:
    """Today's decisions: where many get one message, those who want the same are decided for once."""

    site: Site
    now: datetime
    shared: Mapping[int, Alike] = field(default_factory=dict)
    decided: Collection[Pair] = ()
    """For these that was done a moment ago, by what is known now."""

    def unwanted(self, delivery: Delivery, known: Known, message: Message, row: LedgerRow | None) -> Reason | None:
        """Only a clear no counts: a change of schedule does not call back what is on its way, and nothing calls back what is locked."""
        if delivery.is_locked or (message.message_id, delivery.person_id) in self.decided:
            return None
        profile, addresses = known
        if not profile.person.is_active:
            return Reason.PERSON_INACTIVE
        because = row.because if row is not None else ()
        standing = Standing(roles_in(because))
        decided = decided_by(row, delivery.agent)
        resolution = None if decided.startswith(WAYS_ON) else self._resolution(message, profile, standing)
        if resolution is None:
            # Something else than her wishes brings it, or none of them speaks for it any more: what she says against it counts all the same.
            said = Decision(delivery.agent, Verdict.NOW, delivery.reason, decided)
            found = judged(message, profile, standing, self.site, self.now, [delivery.agent], said, is_own=True)
            return next((one.reason for one in found if one.verdict is Verdict.SUPPRESSED and one.reason not in _STAYS), None)
        # One of several addresses of hers may be wanted, and the others not.
        place = next((one.value for one in addresses if one.address_id == delivery.address_id and one.state is AddressState.OK), "")
        said_of_it = [one for one in resolution.decisions if one.agent == delivery.agent and one.address in ("", place)]
        if not all(one.verdict is Verdict.SUPPRESSED for one in said_of_it):
            return None
        return next((one.reason for one in said_of_it if one.reason not in _STAYS), None)

    def _resolution(self, message: Message, profile: Profile, standing: Standing) -> Resolution | None:
        alike = self.shared.get(message.message_id)
        return alike(profile, standing) if alike is not None else resolve(message, profile, standing, self.site, self.now)
