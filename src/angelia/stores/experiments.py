"""Experiments and reported transitions in SQL: taken in order, remembered for later events of their resources, published after the commit."""

import json
import secrets
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

from sqlalchemy import Connection, delete, exists, or_, select

from angelia.model.experiment import Experiment, ExperimentState, IllegalTransition, Resource, StoredTransition, Transition, after
from angelia.model.moments import from_us, to_us
from angelia.store import Chore, TakenTransition
from angelia.stores import rows as shape
from angelia.stores.changes import end_turn, take_turn
from angelia.stores.engine import Insert, SqlEngine, run
from angelia.stores.event_tables import experiment_resources, experiments, transitions

_e, _t = experiments.c, transitions.c
_COLUMNS = (
    "id, path, event_key, state, is_created, name, owner, group_name, reporter, duration, started_us, stopped_us, changed_us"
)  # fmt: skip
_BY_PATH = "SELECT " + _COLUMNS + " FROM experiments WHERE path = ?"
_BY_ID = "SELECT " + _COLUMNS + " FROM experiments WHERE id = ?"
_MAKE = "INSERT INTO experiments (path, event_key, changed_us, seen_us) VALUES (?, ?, ?, ?) RETURNING id"
_CHANGE = (
    "UPDATE experiments SET state = ?, is_created = ?, name = ?, owner = ?, group_name = ?, reporter = ?, duration = ?, started_us = ?, "
    "stopped_us = ?, changed_us = ?, seen_us = ? WHERE id = ?"
)
_SEEN = "UPDATE experiments SET seen_us = ? WHERE id = ?"
_PARENT = "SELECT experiment_id FROM experiment_resources WHERE path = ?"
_RESOURCE = (
    "INSERT INTO experiment_resources (path, experiment_id, object_type, name, state, changed_us) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (path) DO UPDATE SET experiment_id = excluded.experiment_id, object_type = excluded.object_type, "
    "name = CASE WHEN excluded.name = '' THEN experiment_resources.name ELSE excluded.name END, "
    "state = CASE WHEN excluded.state = '' THEN experiment_resources.state ELSE excluded.state END, changed_us = excluded.changed_us"
)
_TAKEN = "SELECT id, experiment_id FROM transitions WHERE fingerprint = ?"
# The row of the counter is held until commit, so numbers become visible in order, and one transaction at a time changes experiments.
_NUMBERS = "INSERT INTO counters (name, value) VALUES ('transitions', ?) ON CONFLICT (name) DO UPDATE SET value = counters.value + ? RETURNING value"
_INSERT = Insert(
    "transitions",
    {
        "id": "bigint", "fingerprint": "bytea", "experiment_id": "bigint", "received_us": "bigint", "payload": "text",
        "to_publish": "smallint", "to_tell": "smallint",
    },
    "ON CONFLICT DO NOTHING",
)  # fmt: skip
_PENDING = {
    Chore.PUBLISH: "SELECT id, experiment_id, payload FROM transitions WHERE to_publish = 1 ORDER BY id LIMIT ?",
    Chore.TELL: "SELECT id, experiment_id, payload FROM transitions WHERE to_tell = 1 ORDER BY id LIMIT ?",
}
_DONE = {
    Chore.PUBLISH: "UPDATE transitions SET to_publish = 0 WHERE id = ?",
    Chore.TELL: "UPDATE transitions SET to_tell = 0 WHERE id = ?",
}
SILENT_FOR = 4
"""So many times longer than ended ones are those kept that never said their end."""


class ExperimentsMixin:
    """ExperimentStore in SQL."""

    engine: SqlEngine

    async def add_transitions(self, reported: Sequence[Transition], now: datetime) -> list[TakenTransition]:
        """See ExperimentStore."""

        def work(connection: Connection) -> list[TakenTransition]:
            last = run(connection, _NUMBERS, (len(reported), len(reported))).scalar_one()
            taken = []
            for index, transition in enumerate(reported):
                try:
                    taken.append(_take(connection, transition, last - len(reported) + index + 1, to_us(now)))
                except IllegalTransition as error:
                    error.field = f"{index}.{error.field}"
                    raise
            return taken

        return await self.engine.write(work)

    async def claim_transitions(self, chore: Chore, limit: int, lease: timedelta, now: datetime) -> list[StoredTransition]:
        """See ExperimentStore."""
        if not await self.engine.read(lambda connection: run(connection, _PENDING[chore], (1,)).all()):
            return []
        until_us = to_us(now + lease)

        def work(connection: Connection) -> list[StoredTransition]:
            if not take_turn(connection, chore.lease, until_us, to_us(now)):
                return []
            return _stored(connection, run(connection, _PENDING[chore], (limit,)).all())

        return await self.engine.write(work)

    async def settle_transitions(self, chore: Chore, numbers: Collection[int]) -> None:
        """See ExperimentStore."""

        def work(connection: Connection) -> None:
            if numbers:
                run(connection, _DONE[chore], [(number,) for number in sorted(numbers)]).close()
            end_turn(connection, chore.lease)

        await self.engine.write(work)

    async def experiment(self, experiment_id: int) -> Experiment | None:
        """See ExperimentStore."""
        row = await self.engine.read(lambda connection: run(connection, _BY_ID, (experiment_id,)).first())
        return None if row is None else _experiment(row)

    async def list_experiments(
        self,
        *,
        login: str | None = None,
        groups: Collection[str] = (),
        reporter: str | None = None,
        state: ExperimentState | None = None,
        path: str = "",
        before_id: int | None = None,
        limit: int = 100,
    ) -> list[Experiment]:
        """See ExperimentStore."""
        statement = select(*(_e[name] for name in _COLUMNS.split(", "))).order_by(_e.id.desc()).limit(limit)
        if login is not None:
            statement = statement.where(or_(_e.owner == login, _e.group_name.in_(sorted(groups))))
        if reporter is not None:
            statement = statement.where(_e.reporter == reporter)
        if state is not None:
            statement = statement.where(_e.state == int(state))
        if path:
            statement = statement.where(_e.path == path)
        if before_id is not None:
            statement = statement.where(_e.id < before_id)
        found = await self.engine.read(lambda connection: connection.execute(statement).all())
        return [_experiment(row) for row in found]

    async def transitions_of(self, experiment_id: int, before: int | None = None, limit: int = 100) -> list[StoredTransition]:
        """See ExperimentStore."""
        statement = select(_t.id, _t.experiment_id, _t.payload).where(_t.experiment_id == experiment_id)
        if before is not None:
            statement = statement.where(_t.id < before)
        statement = statement.order_by(_t.id.desc()).limit(limit)
        return await self.engine.read(lambda connection: _stored(connection, connection.execute(statement).all()))

    async def resources_of(self, experiment_id: int) -> list[Resource]:
        """See ExperimentStore."""
        table = experiment_resources.c
        statement = select(table.path, table.object_type, table.name, table.state, table.changed_us).where(table.experiment_id == experiment_id)
        found = await self.engine.read(lambda connection: connection.execute(statement.order_by(table.path)).all())
        return [Resource(row[0], row[1], row[2], row[3], from_us(row[4])) for row in found]

    async def forget_experiments(self, now: datetime, retention: timedelta, limit: int) -> int:
        """See ExperimentStore."""
        before_us, silent_us = to_us(now - retention), to_us(now - SILENT_FOR * retention)
        is_pending = or_(_t.to_publish == 1, _t.to_tell == 1)
        ended = or_(_e.state == int(ExperimentState.TERMINATED), _e.seen_us < silent_us)
        old = select(_e.id).where(_e.seen_us < before_us, ended, ~exists().where(_t.experiment_id == _e.id, is_pending))
        loose = select(_t.id).where(_t.received_us < before_us, _t.experiment_id.is_(None), ~is_pending)

        def work(connection: Connection) -> int:
            ids = list(connection.scalars(old.order_by(_e.seen_us).limit(limit)))
            numbers = list(connection.scalars(loose.order_by(_t.received_us).limit(limit)))
            for some in shape.chunks(ids, 1_000):
                connection.execute(delete(transitions).where(_t.experiment_id.in_(some)))
                connection.execute(delete(experiment_resources).where(experiment_resources.c.experiment_id.in_(some)))
                connection.execute(delete(experiments).where(_e.id.in_(some)))
            for some in shape.chunks(numbers, 1_000):
                connection.execute(delete(transitions).where(_t.id.in_(some)))
            return max(len(ids), len(numbers))

        return await self.engine.write(work)


def _take(connection: Connection, transition: Transition, number: int, now_us: int) -> TakenTransition:
    """Write down one; a repeat is recognised by all that it says and by who says it."""
    fingerprint = blake2b(_text(transition).encode(), digest_size=16).digest()
    known = run(connection, _TAKEN, (fingerprint,)).first()
    if known is not None:
        row = None if known[1] is None else run(connection, _BY_ID, (known[1],)).first()
        return TakenTransition(known[0], False, None if row is None else _experiment(row))
    experiment = _experiment_of(connection, transition, now_us)
    if experiment is not None:
        transition = replace(transition, experiment=experiment.path)
        if transition.is_of_experiment:
            experiment = after(experiment, transition)
            run(connection, _CHANGE, (*_changes(experiment), now_us, experiment.experiment_id)).close()
        else:
            run(connection, _SEEN, (now_us, experiment.experiment_id)).close()
            state = "deleted" if transition.event_type == "delete" else transition.full_state
            values = (transition.path, experiment.experiment_id, transition.object_type, transition.name, state, to_us(transition.at))
            run(connection, _RESOURCE, values).close()
    experiment_id = None if experiment is None else experiment.experiment_id
    # On PostgreSQL a bulk insert must be the last write; what follows the rows makes it an ordinary one.
    _INSERT(connection, [(number, fingerprint, experiment_id, now_us, _text(transition), 1, 1)])
    return TakenTransition(number, True, experiment)


def _experiment_of(connection: Connection, transition: Transition, now_us: int) -> Experiment | None:
    """The experiment that it belongs to: named by it, or by an earlier event of the same resource. One that is not known is made."""
    if not transition.experiment:
        parent = run(connection, _PARENT, (transition.path,)).scalar()
        row = None if parent is None else run(connection, _BY_ID, (parent,)).first()
        return None if row is None else _experiment(row)
    row = run(connection, _BY_PATH, (transition.experiment,)).first()
    if row is not None:
        return _experiment(row)
    key = secrets.token_hex(10)
    experiment_id = run(connection, _MAKE, (transition.experiment, key, to_us(transition.at), now_us)).scalar_one()
    return Experiment(path=transition.experiment, experiment_id=experiment_id, key=key, changed_at=transition.at)


def _changes(experiment: Experiment) -> tuple[Any, ...]:
    return (
        int(experiment.state), int(experiment.is_created), experiment.name[:255], experiment.owner, experiment.group, experiment.reporter,
        experiment.duration, shape.stamp(experiment.started_at), shape.stamp(experiment.stopped_at), to_us(experiment.changed_at),
    )  # fmt: skip


def _experiment(row: Any) -> Experiment:
    return Experiment(
        experiment_id=row[0], path=row[1], key=row[2], state=ExperimentState(row[3]), is_created=bool(row[4]), name=row[5], owner=row[6],
        group=row[7], reporter=row[8], duration=row[9], started_at=shape.moment(row[10]), stopped_at=shape.moment(row[11]),
        changed_at=from_us(row[12]),
    )  # fmt: skip


def _stored(connection: Connection, rows: Sequence[Any]) -> list[StoredTransition]:
    known: dict[int | None, Experiment | None] = {None: None}
    found = []
    for number, experiment_id, payload in rows:
        if experiment_id not in known:
            row = run(connection, _BY_ID, (experiment_id,)).first()
            known[experiment_id] = None if row is None else _experiment(row)
        found.append(StoredTransition(number, _transition(payload), known[experiment_id]))
    return found


_NAMES = ("object_type", "event_type", "path", "source", "state", "substate", "group", "user", "experiment", "reporter")


def _text(transition: Transition) -> str:
    fields = {name: value for name in _NAMES if (value := getattr(transition, name))}
    return json.dumps({"at": to_us(transition.at)} | fields | {"data": transition.data}, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _transition(text: str) -> Transition:
    fields = json.loads(text)
    return Transition(at=from_us(fields.pop("at")), **fields)
