"""Entries that are put off: out of the inbox until a moment, then back in it and unread, until she has looked."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from angelia.model.moments import to_us
from angelia.stores import rows as shape
from angelia.stores.engine import fetched, run
from angelia.stores.entries import listed

BACK_FOR = timedelta(days=30)
"""So long it is remembered that an entry came back, where she does not look."""

PENDING = "(SELECT delivery_id FROM snoozes WHERE person_id = ? AND is_back = 0)"
BACK = "(SELECT delivery_id FROM snoozes WHERE person_id = ? AND is_back = 1)"
_PUT = (
    "INSERT INTO snoozes (delivery_id, person_id, until_us, is_back) "
    "SELECT id, person_id, CAST(? AS bigint), 0 FROM deliveries WHERE person_id = ? AND id {ids} "
    "ON CONFLICT (delivery_id) DO UPDATE SET until_us = excluded.until_us, is_back = 0 RETURNING delivery_id"
)
_TAKE = "DELETE FROM snoozes WHERE person_id = ? AND delivery_id {ids} RETURNING delivery_id"
_LOOKED = "DELETE FROM snoozes WHERE person_id = ? AND is_back = 1 AND delivery_id {ids} RETURNING delivery_id"
_DUE = "UPDATE snoozes SET is_back = 1 WHERE is_back = 0 AND until_us <= ? RETURNING delivery_id, person_id"
_AGAIN = "UPDATE deliveries SET read_us = NULL WHERE id {ids} RETURNING id"
_COUNT = "SELECT count(*) FROM snoozes WHERE person_id = ? AND is_back = 1"
_OLD = "DELETE FROM snoozes WHERE is_back = 1 AND until_us < ?"


def put_off(connection: Connection, person_id: int, ids: Sequence[int], until: datetime) -> list[int]:
    """These of hers, until then; what is put off already gets the new time."""
    return [row[0] for some in shape.chunks(ids) for row in listed(connection, _PUT, (to_us(until), person_id), some)]


def take_back(connection: Connection, person_id: int, ids: Sequence[int], *, only_back: bool = False) -> list[int]:
    """These are put off no more; with `only_back` those that have come back, and that she has looked at now."""
    sql = _LOOKED if only_back else _TAKE
    return [row[0] for some in shape.chunks(ids) for row in listed(connection, sql, (person_id,), some)]


def pending(connection: Connection, person_id: int) -> dict[int, int]:
    """Until when, in microseconds, by delivery."""
    return {
        row[0]: row[1] for row in fetched(connection, "SELECT delivery_id, until_us FROM snoozes WHERE person_id = ? AND is_back = 0", (person_id,))
    }


def back(connection: Connection, person_id: int) -> int:
    """How many have come back, and wait for her to look."""
    return int(run(connection, _COUNT, (person_id,)).scalar() or 0)


def wake(connection: Connection, now: datetime) -> frozenset[int]:
    """Those whose time has come are back; whose they are."""
    due = run(connection, _DUE, (to_us(now),)).all()
    for some in shape.chunks(sorted(row[0] for row in due)):
        listed(connection, _AGAIN, (), some)
    run(connection, _OLD, (to_us(now - BACK_FOR),))
    return frozenset(row[1] for row in due)
