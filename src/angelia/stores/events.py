"""Events of the embedded broker in SQL: sequences without holes in the order of commits, bounded memory."""

import json
import secrets
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from angelia.model.event import Event, Position
from angelia.model.moments import to_us
from angelia.store import ExchangeMark
from angelia.stores.engine import Insert, SqlEngine, as_one, run

_MARKS = "SELECT name, epoch, head, pruned, total FROM exchanges"
_MAKE = "INSERT INTO exchanges (name, epoch) VALUES (?, ?) ON CONFLICT DO NOTHING"
# The row is held until commit: sequences become visible in order, whoever publishes.
_ADVANCE = "UPDATE exchanges SET head = head + ?, total = total + ? WHERE name = ? RETURNING epoch, head, total"
_LOST = "UPDATE exchanges SET epoch = ?, head = 0, pruned = 0, total = 0 WHERE name = ? AND epoch = ?"
_STATES = {
    "postgresql": "SELECT name, state FROM last_states WHERE name = ANY(CAST(? AS text[]))",
    "sqlite": "SELECT name, state FROM last_states WHERE name IN (SELECT value FROM json_each(?))",
}
_PUT_STATES = Insert(
    "last_states",
    {"name": "text", "state": "text", "at_us": "bigint"},
    "ON CONFLICT (name) DO UPDATE SET state = excluded.state, at_us = excluded.at_us",
)
_FORGET_STATES = "DELETE FROM last_states WHERE name IN (SELECT name FROM last_states WHERE at_us < ? ORDER BY at_us LIMIT ?)"
_INSERT = Insert(
    "events",
    {
        "exchange": "text", "sequence": "bigint", "at_us": "bigint", "total": "bigint", "routing_key": "text", "body": "bytea",
        "content_type": "text", "headers": "text", "properties": "text",
    },
)  # fmt: skip
_READ = (
    "SELECT sequence, routing_key, body, content_type, headers, properties FROM events WHERE exchange = ? AND sequence > ? "
    "AND total <= (SELECT total FROM events WHERE exchange = ? AND sequence > ? ORDER BY sequence LIMIT 1) + ? ORDER BY sequence LIMIT ?"
)
_OLDEST = "SELECT sequence, at_us, total FROM events WHERE exchange = ? ORDER BY sequence LIMIT ?"
_DROP = "DELETE FROM events WHERE exchange = ? AND sequence <= ?"
_PRUNED = "UPDATE exchanges SET pruned = ? WHERE name = ? AND pruned < ?"


class EventsMixin:
    """EventStore in SQL."""

    engine: SqlEngine

    async def exchange_marks(self, names: Collection[str]) -> dict[str, ExchangeMark]:
        """See EventStore."""
        found = await self.engine.read(_marks)
        if missing := [name for name in names if name not in found]:

            def work(connection: Connection) -> dict[str, ExchangeMark]:
                run(connection, _MAKE, [(name, secrets.token_hex(6)) for name in sorted(missing)]).close()
                return _marks(connection)

            found = await self.engine.write(work)
        return {name: found[name] for name in names}

    async def exchange_epoch(self, name: str, lost: str = "") -> str:
        """See EventStore."""
        mark = (await self.exchange_marks([name]))[name]
        if mark.epoch != lost:
            return mark.epoch

        def work(connection: Connection) -> str:
            run(connection, _LOST, (secrets.token_hex(6), name, lost)).close()
            return _marks(connection)[name].epoch

        return await self.engine.write(work)

    async def last_states(self, names: Collection[str]) -> dict[str, str]:
        """See EventStore."""

        def work(connection: Connection) -> dict[str, str]:
            return {row[0]: row[1] for row in run(connection, _STATES[connection.dialect.name], (as_one(connection, names),)).all()}

        return await self.engine.read(work) if names else {}

    async def put_last_states(self, states: Mapping[str, str], now: datetime) -> None:
        """See EventStore."""
        rows = [(name, state, to_us(now)) for name, state in sorted(states.items())]
        await self.engine.write(lambda connection: _PUT_STATES(connection, rows))

    async def forget_states(self, before: datetime, limit: int) -> int:
        """See EventStore."""
        return await self.engine.write(lambda connection: int(run(connection, _FORGET_STATES, (to_us(before), limit)).rowcount))

    async def append_events(self, events: Sequence[Event], now: datetime) -> list[Position]:
        """See EventStore."""
        by_exchange: dict[str, list[int]] = {}
        for index, event in enumerate(events):
            by_exchange.setdefault(event.exchange, []).append(index)
        texts = [(_text(event.headers), _text(event.properties)) for event in events]
        at_us = to_us(now)

        def work(connection: Connection) -> list[Position]:
            positions: dict[int, Position] = {}
            rows: list[tuple[Any, ...]] = []
            for name in sorted(by_exchange):  # always in one order, so that two publishers of several never wait for each other
                indexes = by_exchange[name]
                sizes = [_size(events[index], texts[index]) for index in indexes]
                epoch, head, total = run(connection, _ADVANCE, (len(indexes), sum(sizes), name)).one()
                sequence, total = head - len(indexes), total - sum(sizes)
                for index, size in zip(indexes, sizes, strict=True):
                    event, sequence, total = events[index], sequence + 1, total + size
                    positions[index] = Position(epoch, sequence)
                    rows.append((name, sequence, at_us, total, event.routing_key, event.body, event.content_type, *texts[index]))
            _INSERT(connection, rows)
            return [positions[index] for index in range(len(events))]

        return await self.engine.write(work)

    async def read_events(self, exchange: str, epoch: str, after: int, limit: int, most_bytes: int) -> list[Event]:
        """See EventStore."""

        def work(connection: Connection) -> list[Any]:
            return list(run(connection, _READ, (exchange, after, exchange, after, most_bytes, limit)).all())

        return [_event(exchange, epoch, row) for row in await self.engine.read(work)]

    async def prune_events(self, exchange: str, before: datetime, keep_bytes: int, limit: int) -> int:
        """See EventStore."""
        before_us = to_us(before)

        def work(connection: Connection) -> int:
            mark = _marks(connection).get(exchange)
            oldest = run(connection, _OLDEST, (exchange, limit)).all() if mark else []
            count, last = 0, 0
            for sequence, at_us, total in oldest:
                if at_us >= before_us and mark is not None and total > mark.total - keep_bytes:
                    break
                count, last = count + 1, sequence
            if count:
                run(connection, _DROP, (exchange, last)).close()
                run(connection, _PRUNED, (last, exchange, last)).close()
            return count

        return await self.engine.write(work)


def _marks(connection: Connection) -> dict[str, ExchangeMark]:
    return {row[0]: ExchangeMark(*row) for row in run(connection, _MARKS).all()}


def _text(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, separators=(",", ":")) if fields else ""


def _size(event: Event, texts: tuple[str, str]) -> int:
    return len(event.body) + len(event.routing_key) + len(texts[0]) + len(texts[1]) + 64


def _event(exchange: str, epoch: str, row: Any) -> Event:
    sequence, key, body, content_type, headers, properties = row
    return Event(
        exchange,
        key,
        bytes(body),
        content_type,
        json.loads(headers) if headers else {},
        json.loads(properties) if properties else {},
        Position(epoch, sequence),
    )
