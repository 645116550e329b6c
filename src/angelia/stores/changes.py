"""Numbers for what changed, so that planners read again only that."""

from collections.abc import Collection

from sqlalchemy import Connection, update

from angelia.stores import rows as shape
from angelia.stores.engine import run
from angelia.stores.tables import persons

_COUNT = "INSERT INTO counters (name, value) VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = counters.value + 1 RETURNING value"


def next_number(connection: Connection, name: str) -> int:
    """The next value of a counter; its row is held until commit, so numbers become visible in order."""
    return int(run(connection, _COUNT, (name,)).scalar_one())


def touch(connection: Connection, person_ids: Collection[int]) -> None:
    """They changed: planners will read them again."""
    if person_ids:
        number = next_number(connection, "people")
        for ids in shape.chunks(person_ids):
            connection.execute(update(persons).where(persons.c.id.in_(ids)).values(changed_seq=number))
