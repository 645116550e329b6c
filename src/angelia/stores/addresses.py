"""Addresses and their verification codes, in SQL."""

import hmac
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from angelia.model.errors import Conflict
from angelia.model.moments import to_us
from angelia.model.person import Address, AddressState
from angelia.stores import rows as shape
from angelia.stores.changes import touch
from angelia.stores.engine import SqlEngine, run
from angelia.stores.tables import addresses, codes

MOST_TRIES = 5
_a = addresses.c
_NEXT_ID = (
    "INSERT INTO counters (name, value) VALUES ('addresses', (SELECT COALESCE(MAX(id), 0) FROM addresses) + 1) "
    "ON CONFLICT (name) DO UPDATE SET value = MAX(counters.value, (SELECT COALESCE(MAX(id), 0) FROM addresses)) + 1 RETURNING value"
)


def address_from(row: Row[Any]) -> Address:
    """From a row of the table."""
    return Address(
        address_id=row.id,
        person_id=row.person_id,
        agent=row.agent,
        value=row.value,
        state=AddressState(row.state),
        is_default=bool(row.is_default),
        origin=row.origin,
        verified_at=shape.moment(row.verified_us),
    )


def insert_address(connection: Connection, values: dict[str, Any]) -> int:
    """A new row; its id. That of a deleted one is never given again: what waits for that one, comes back from it, or stands in its thread, is not
    this one's. PostgreSQL sees to it by itself, SQLite would give the newest again.
    """
    if connection.dialect.name == "sqlite":
        values = values | {"id": run(connection, _NEXT_ID, ()).scalar_one()}
    return int(connection.execute(insert(addresses).values(**values).returning(_a.id)).scalar_one())


class AddressesMixin:
    """The address part of PersonStore in SQL."""

    engine: SqlEngine

    async def add_address(self, address: Address) -> Address:
        """See PersonStore."""
        values = {
            "person_id": address.person_id,
            "agent": address.agent,
            "value": address.value,
            "state": address.state.value,
            "is_default": int(address.is_default),
            "origin": address.origin,
            "verified_us": shape.stamp(address.verified_at),
        }

        def work(connection: Connection) -> Address:
            same = (_a.person_id == address.person_id, _a.agent == address.agent, _a.value == address.value)
            if connection.scalar(select(_a.id).where(*same)) is not None:
                raise Conflict(f"this {address.agent} address is there already")
            if address.is_default:
                _no_default(connection, address.person_id, address.agent)
            address_id = insert_address(connection, values)
            touch(connection, [address.person_id])
            return replace(address, address_id=address_id)

        return await self.engine.write(work)

    async def addresses(self, person_id: int) -> list[Address]:
        """See PersonStore."""
        statement = select(addresses).where(_a.person_id == person_id).order_by(_a.id)
        return [address_from(row) for row in await self.engine.read(lambda connection: connection.execute(statement).all())]

    async def address(self, address_id: int) -> Address | None:
        """See PersonStore."""
        statement = select(addresses).where(_a.id == address_id)
        row = await self.engine.read(lambda connection: connection.execute(statement).first())
        return None if row is None else address_from(row)

    async def move_address(self, address_id: int, value: str) -> bool:
        """See PersonStore."""

        def work(connection: Connection) -> bool:
            row = connection.execute(select(addresses).where(_a.id == address_id).with_for_update()).first()
            if row is None:
                return False
            there = select(_a.id).where(_a.person_id == row.person_id, _a.agent == row.agent, _a.value == value)
            if (found := connection.scalar(there)) is not None:
                return bool(found == address_id)
            connection.execute(update(addresses).where(_a.id == address_id).values(value=value))
            touch(connection, [row.person_id])
            return True

        try:
            return await self.engine.write(work)
        except Conflict:  # another one got there between our look and our writing
            return False

    async def set_address(
        self, address_id: int, *, state: AddressState | None = None, is_default: bool | None = None, now: datetime
    ) -> Address | None:
        """See PersonStore."""

        def work(connection: Connection) -> Address | None:
            row = connection.execute(select(addresses).where(_a.id == address_id).with_for_update()).first()
            if row is None:
                return None
            values: dict[str, object] = {}
            if state is not None:
                values["state"] = state.value
                if state is AddressState.OK and row.verified_us is None:
                    values["verified_us"] = to_us(now)
            if is_default is not None:
                _no_default(connection, row.person_id, row.agent)
                values["is_default"] = int(is_default)
            if values:
                connection.execute(update(addresses).where(_a.id == address_id).values(**values))
                touch(connection, [row.person_id])
            return address_from(connection.execute(select(addresses).where(_a.id == address_id)).one())

        return await self.engine.write(work)

    async def delete_address(self, person_id: int, address_id: int) -> bool:
        """See PersonStore."""

        def work(connection: Connection) -> bool:
            gone = connection.execute(delete(addresses).where(_a.id == address_id, _a.person_id == person_id)).rowcount
            if gone:
                touch(connection, [person_id])
            return bool(gone)

        return await self.engine.write(work)

    async def put_code(self, address_id: int, code_hash: str, expires_at: datetime) -> None:
        """See PersonStore."""

        def work(connection: Connection) -> None:
            row = connection.execute(select(_a.agent, _a.value).where(_a.id == address_id)).one()
            values = {"code_hash": code_hash, "code_expires_us": to_us(expires_at), "code_tries": 0}
            connection.execute(update(addresses).where(_a.id == address_id).values(**values))
            connection.execute(insert(codes).values(agent=row.agent, value=row.value, sent_us=to_us(expires_at)))

        await self.engine.write(work)

    async def try_code(self, address_id: int, code_hash: str, now: datetime) -> bool:
        """See PersonStore."""

        def work(connection: Connection) -> bool:
            row = connection.execute(select(addresses).where(_a.id == address_id).with_for_update()).first()
            if row is None or row.code_hash is None or row.code_expires_us < to_us(now) or row.code_tries >= MOST_TRIES:
                return False
            if not hmac.compare_digest(row.code_hash, code_hash):
                connection.execute(update(addresses).where(_a.id == address_id).values(code_tries=row.code_tries + 1))
                return False
            values = {"code_hash": None, "state": AddressState.OK.value, "verified_us": row.verified_us or to_us(now)}
            connection.execute(update(addresses).where(_a.id == address_id).values(**values))
            touch(connection, [row.person_id])
            return True

        return await self.engine.write(work)

    async def codes_sent(self, agent: str, value: str, since: datetime) -> int:
        """See PersonStore."""
        statement = select(func.count()).where(codes.c.agent == agent, codes.c.value == value, codes.c.sent_us >= to_us(since))
        return await self.engine.read(lambda connection: int(connection.scalar(statement) or 0))


def _no_default(connection: Connection, person_id: int, agent: str) -> None:
    connection.execute(update(addresses).where(_a.person_id == person_id, _a.agent == agent).values(is_default=0))
