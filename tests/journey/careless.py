"""The hub with one of its promises broken on purpose, so that the crash tests can show that they would notice; and one with short leases.

`python careless.py KIND ARGUMENTS OF ANGELIA`
"""

import asyncio
import sqlite3
import sys
from datetime import timedelta

from angelia.__main__ import main
from angelia.flow import intake, janitor, planner, relay
from angelia.inlet import Receipt, Taken
from angelia.model.errors import StoreUnavailable
from angelia.store import NewMessage
from angelia.stores import upkeep


class Unflushed(sqlite3.Connection):
    """Says yes to FULL, and does not flush at a commit."""

    def execute(self, sql, *parameters):
        return super().execute(sql.replace("synchronous=FULL", "synchronous=NORMAL"), *parameters)


def unflushed():
    connect = sqlite3.connect
    sqlite3.connect = lambda *arguments, **options: connect(*arguments, factory=Unflushed, **options)
    # The hub looks at this at its start, and would refuse.
    upkeep._assert_durable = lambda connection: None


def hasty():
    """Acknowledges, then stores."""
    tasks = set()

    async def store_later(self, rows):
        await asyncio.sleep(0.05)
        try:
            await self._store.add_messages(rows)
        except StoreUnavailable:
            return
        self._wake()

    async def accept(self, source, drafts):
        rows = [NewMessage(self.new_id(), source, d.type, self._clock_us(), d.payload, d.idempotency_key, d.fingerprint) for d in drafts]
        task = asyncio.create_task(store_later(self, rows))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return [Receipt(row.message_id, Taken.NEW) for row in rows]

    intake.Intake.accept = accept


def short_leases():
    relay.LEASE = timedelta(seconds=3)
    planner.LEASE = timedelta(seconds=3)
    janitor.LEASES_EVERY = timedelta(seconds=0.5)


if __name__ == "__main__":
    {"unflushed": unflushed, "hasty": hasty, "short-leases": short_leases}[sys.argv.pop(1)]()
    main()
