"""Traces of letters in SQL: found by their receipts, the newest of a thread, and who may begin one."""

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, and_, select

from angelia.model.delivery import Delivery, State
from angelia.store import Settlement, Trace
from angelia.stores import rows as shape
from angelia.stores.ear_tables import receipts
from angelia.stores.engine import SqlEngine, run
from angelia.stores.tables import deliveries

_d, _k = deliveries.c, receipts.c
# Agent and address are the delivery's own.
_KEEP = (
    "INSERT INTO receipts (id, receipt, thread, root, track, is_progress, agent, address_id) "
    "SELECT CAST(? AS bigint), CAST(? AS text), CAST(? AS text), CAST(? AS text), CAST(? AS text), CAST(? AS smallint), agent, address_id "
    "FROM deliveries WHERE id = ? ON CONFLICT (id) DO UPDATE SET receipt = excluded.receipt, thread = excluded.thread, root = excluded.root, "
    "track = excluded.track, is_progress = excluded.is_progress"
)
_NEWEST_TRACE = (
    "SELECT receipt, thread, root, track, is_progress FROM receipts WHERE address_id = ? AND {by} = ? AND {by} <> '' AND receipt <> '' "
    "ORDER BY id DESC LIMIT 1"
)
# Who is about to begin a thread stands there without a receipt, which comes with the outcome.
_LOCK_THREAD = "SELECT pg_advisory_xact_lock(hashtextextended(CAST(? AS text), 0))"
_IS_BEGUN = (
    "SELECT 1 FROM receipts AS r LEFT JOIN deliveries AS d ON d.id = r.id "
    f"WHERE r.address_id = ? AND r.thread = ? AND r.thread <> '' AND r.id <> ? AND (r.receipt <> '' OR d.state = {State.SENDING:d}) LIMIT 1"
)
_BEGIN = (
    "INSERT INTO receipts (id, receipt, thread, agent, address_id) SELECT CAST(? AS bigint), '', CAST(? AS text), agent, address_id "
    "FROM deliveries WHERE id = ? ON CONFLICT (id) DO NOTHING"
)


class TracesMixin:
    """TraceStore in SQL."""

    engine: SqlEngine

    async def deliveries_by_receipt(self, agent: str, receipts: Collection[str]) -> list[Delivery]:
        """See TraceStore."""

        def work(connection: Connection) -> list[Delivery]:
            wanted = select(_k.id).where(_k.agent == agent, _k.receipt.in_({storable(receipt) for receipt in receipts if receipt}))
            of_digests = select(_d.digest_id).where(_d.id.in_(wanted), _d.message_id.is_(None), _d.digest_id.is_not(None))
            found: list[Delivery] = []
            for condition in (_d.id.in_(wanted), and_(_d.digest_id.in_(of_digests), _d.message_id.is_not(None))):
                found += [shape.delivery_from(row) for row in connection.execute(select(*shape.DELIVERY_SELECT).where(condition))]
            return sorted(found, key=lambda delivery: delivery.delivery_id)

        return await self.engine.read(work)

    async def traces(self, places: Collection[tuple[int, str, str]]) -> dict[tuple[int, str, str], tuple[Trace | None, Trace | None]]:
        """See TraceStore."""

        def work(connection: Connection) -> dict[tuple[int, str, str], tuple[Trace | None, Trace | None]]:
            return {
                (address_id, thread, track): (_trace(connection, "thread", address_id, thread), _trace(connection, "track", address_id, track))
                for address_id, thread, track in places
            }

        return await self.engine.read(work) if places else {}

    async def claim_roots(self, wanted: Sequence[tuple[int, int, str]]) -> set[int]:
        """See TraceStore."""
        # In one order everywhere: two that ask for the same threads wait for each other in one direction only.
        ordered = sorted(wanted, key=lambda one: (one[1], one[2], one[0]))

        def work(connection: Connection) -> set[int]:
            given: set[int] = set()
            for delivery_id, address_id, thread in ordered:
                key = storable(thread)
                if connection.dialect.name == "postgresql":
                    run(connection, _LOCK_THREAD, (f"{address_id}/{key}",)).close()
                if run(connection, _IS_BEGUN, (address_id, key, delivery_id)).first() is None:
                    run(connection, _BEGIN, (delivery_id, key, delivery_id)).close()
                    given.add(delivery_id)
            return given

        return await self.engine.write(work) if ordered else set()


def keep_traces(connection: Connection, settlements: Sequence[Settlement], applied: Collection[tuple[int, int]]) -> None:
    """Those of the settlements that applied. What has no receipt can't be answered."""
    told = [(one.delivery_id, one.trace) for one in settlements if one.trace is not None and (one.delivery_id, one.fence) in applied]
    rows = [(key, *map(storable, (t.receipt, t.thread, t.root, t.track)), int(t.is_progress), key) for key, t in told if t.receipt]
    if rows:
        run(connection, _KEEP, rows).close()


def _trace(connection: Connection, by: str, address_id: int, key: str) -> Trace | None:
    row = run(connection, _NEWEST_TRACE.format(by=by), (address_id, storable(key))).first() if key else None
    return None if row is None else Trace(row[0], row[1], row[2], row[3], bool(row[4]))


def storable(text: str) -> str:
    """A peer's words may hold what a database can't keep: they are mended, since an outcome must never fail to be kept."""
    return text[:1000].replace("\x00", "").encode("utf-8", "replace").decode()
