"""Numbers for what changed, so that planners read again only that; and turns, of which one worker at a time has one."""

from collections.abc import Collection

from sqlalchemy import Connection, update

from angelia.stores import rows as shape
from angelia.stores.engine import run
from angelia.stores.tables import persons

_COUNT = "INSERT INTO counters (name, value) VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = counters.value + 1 RETURNING value"
# A turn that lies further ahead than any was given was taken under a clock that went back.
_TAKE = (
    "INSERT INTO counters (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value "
    "WHERE counters.value <= ? OR counters.value > ? RETURNING value"
)
_END = "UPDATE counters SET value = 0 WHERE name = ?"


def take_turn(connection: Connection, name: str, until_us: int, now_us: int) -> bool:
    """Is it this worker's from now on, until `until_us` or `end_turn`?"""
    return run(connection, _TAKE, (name, until_us, now_us, until_us)).first() is not None


def end_turn(connection: Connection, name: str) -> None:
    """The next may have it."""
    run(connection, _END, (name,)).close()


def next_number(connection: Connection, name: str) -> int:
    """The next value of a counter; its row is held until commit, so numbers become visible in order."""
    return int(run(connection, _COUNT, (name,)).scalar_one())


def touch(connection: Connection, person_ids: Collection[int]) -> None:
    """They changed: planners will read them again."""
    if person_ids:
        number = next_number(connection, "people")
        for ids in shape.chunks(person_ids):
            connection.execute(update(persons).where(persons.c.id.in_(ids)).values(changed_seq=number))
