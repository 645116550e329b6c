"""Hearing media, in SQL: leases, positions, and codes that come in from the other end."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from angelia.model.moments import to_us
from angelia.model.person import Address, AddressState
from angelia.stores.addresses import address_from, insert_address
from angelia.stores.changes import touch
from angelia.stores.ear_tables import ears, link_codes
from angelia.stores.engine import SqlEngine, run
from angelia.stores.tables import addresses

_a, _c = addresses.c, link_codes.c
_TAKE = (
    "INSERT INTO ears (agent, holder, lease_us) VALUES (?, ?, ?) ON CONFLICT (agent) DO UPDATE "
    "SET holder = excluded.holder, lease_us = excluded.lease_us WHERE ears.holder = excluded.holder OR ears.lease_us < ? RETURNING agent"
)


class EarsMixin:
    """EarStore in SQL."""

    engine: SqlEngine

    async def take_ear(self, agent: str, holder: str, until: datetime, now: datetime) -> bool:
        """See EarStore."""
        bound = (agent, holder, to_us(until), to_us(now))
        return await self.engine.write(lambda connection: run(connection, _TAKE, bound).first() is not None)

    async def drop_ear(self, agent: str, holder: str) -> None:
        """See EarStore."""
        statement = update(ears).where(ears.c.agent == agent, ears.c.holder == holder).values(lease_us=0)
        await self.engine.write(lambda connection: connection.execute(statement).close())

    async def ear_position(self, agent: str) -> str:
        """See EarStore."""
        found = await self.engine.read(lambda connection: connection.scalar(select(ears.c.position).where(ears.c.agent == agent)))
        return found or ""

    async def put_ear_position(self, agent: str, holder: str, position: str) -> bool:
        """See EarStore."""
        statement = update(ears).where(ears.c.agent == agent, ears.c.holder == holder).values(position=position)
        return await self.engine.write(lambda connection: bool(connection.execute(statement).rowcount))

    async def put_link_code(self, agent: str, person_id: int, link_hash: str, expires_at: datetime) -> None:
        """See EarStore."""
        values = {"agent": agent, "person_id": person_id, "link_hash": link_hash, "expires_us": to_us(expires_at)}

        def work(connection: Connection) -> None:
            connection.execute(delete(link_codes).where(_c.person_id == person_id, _c.agent == agent))
            connection.execute(insert(link_codes).values(**values))

        await self.engine.write(work)

    async def take_link_code(self, agent: str, link_hash: str, value: str, most: int, now: datetime) -> Address | None:
        """See EarStore."""

        def work(connection: Connection) -> Address | None:
            wanted = (_c.link_hash == link_hash, _c.agent == agent, _c.expires_us > to_us(now))
            person_id = connection.scalar(delete(link_codes).where(*wanted).returning(_c.person_id))
            return None if person_id is None else _verified(connection, int(person_id), agent, value, most, to_us(now))

        return await self.engine.write(work)


def _verified(connection: Connection, person_id: int, agent: str, value: str, most: int, now_us: int) -> Address | None:
    """Her address, as good as one whose code she typed."""
    hers = (_a.person_id == person_id, _a.agent == agent)
    known = connection.scalar(select(_a.id).where(*hers, _a.value == value))
    proven: dict[str, Any] = {"state": AddressState.OK.value, "verified_us": now_us}
    if known is None:
        if int(connection.scalar(select(func.count()).where(_a.person_id == person_id)) or 0) >= most:
            return None
        is_first = not connection.scalar(select(func.count()).where(*hers))
        values = {"person_id": person_id, "agent": agent, "value": value, "is_default": int(is_first), "origin": "user"}
        known = insert_address(connection, values | proven)
    else:
        connection.execute(update(addresses).where(_a.id == known).values(**proven))
    touch(connection, [person_id])
    return address_from(connection.execute(select(addresses).where(_a.id == known)).one())
