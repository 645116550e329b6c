"""Hearing media: whose turn it is, how far it was heard, and codes that are handed over at the other end."""

from datetime import datetime
from typing import Protocol

from angelia.model.person import Address


class EarStore(Protocol):
    """What hearing needs to be done once per site, and to go on after a restart."""

    async def take_ear(self, agent: str, holder: str, until: datetime, now: datetime) -> bool:
        """Take or renew the lease on hearing an agent. False while another holder's runs."""

    async def drop_ear(self, agent: str, holder: str) -> None:
        """Give it back, if it is still ours."""

    async def ear_position(self, agent: str) -> str:
        """How far it was heard, "" at the very first."""

    async def put_ear_position(self, agent: str, holder: str, position: str) -> bool:
        """So far it is heard. False, and nothing kept, where the lease is another's."""

    async def put_link_code(self, agent: str, person_id: int, link_hash: str, expires_at: datetime) -> None:
        """A code for one person and one agent; it takes the place of the one she had for that agent."""

    async def take_link_code(self, agent: str, link_hash: str, value: str, most: int, now: datetime) -> Address | None:
        """Once, in time: the address `value` is hers and verified, made if she had it not and has fewer than `most`. None where the code is none."""
