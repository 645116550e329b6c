"""What operators look at, in SQL: the audit log, what is late, what failed before, whom and what there is."""

import json
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, insert, or_, select

from angelia.model.delivery import Delivery
from angelia.model.moments import from_us, to_text, to_us
from angelia.model.person import Person
from angelia.store import Document
from angelia.stores import rows as shape
from angelia.stores.engine import SqlEngine, run
from angelia.stores.people import IS_HUMAN, PERSON_COLUMNS, person_from
from angelia.stores.tables import audit, persons, relations

# The state stands as a number: a bound parameter would keep SQLite from using the partial index.
_OVERDUE = "SELECT count(*) FROM deliveries WHERE state = 2 AND agent = ? AND due_us < ?"
_RETRIES = (
    "SELECT "
    + shape.RETURNING
    + " FROM (SELECT "
    + shape.RETURNING
    + " FROM deliveries WHERE state = 2 AND agent = ? ORDER BY due_us, id LIMIT 1000)"
    " AS late WHERE attempts > 0 ORDER BY due_us, id LIMIT ?"
)


class OperationsMixin:
    """OperationsStore in SQL."""

    engine: SqlEngine

    async def audit(self, actor: str, action: str, target: str, detail: Document, now: datetime) -> None:
        """See OperationsStore."""
        text = json.dumps(detail, ensure_ascii=False, default=str)
        values = {"at_us": to_us(now), "actor": actor, "action": action, "target": target, "detail": text}
        await self.engine.write(lambda connection: connection.execute(insert(audit).values(**values)).close())

    async def audit_log(self, before_id: int | None = None, limit: int = 100, *, actor: str = "", action: str = "") -> list[dict[str, object]]:
        """See OperationsStore."""
        statement = select(audit).order_by(audit.c.id.desc()).limit(limit)
        if before_id is not None:
            statement = statement.where(audit.c.id < before_id)
        if actor:
            statement = statement.where(audit.c.actor == actor)
        if action.endswith("."):
            statement = statement.where(audit.c.action >= action, audit.c.action < f"{action[:-1]}/")
        elif action:
            statement = statement.where(audit.c.action == action)
        found = await self.engine.read(lambda connection: connection.execute(statement).all())
        return [
            {
                "id": row.id,
                "at": to_text(from_us(row.at_us)),
                "actor": row.actor,
                "action": row.action,
                "target": row.target,
                "detail": json.loads(row.detail),
            }
            for row in found
        ]

    async def overdue(self, agents: Collection[str], now: datetime, ages: Sequence[timedelta]) -> dict[str, tuple[int, ...]]:
        """See OperationsStore."""

        def work(connection: Connection) -> dict[str, tuple[int, ...]]:
            return {agent: tuple(run(connection, _OVERDUE, (agent, to_us(now - age))).scalar_one() for age in ages) for agent in agents}

        return await self.engine.read(work)

    async def retries(self, agents: Collection[str], limit: int) -> list[Delivery]:
        """See OperationsStore."""

        def work(connection: Connection) -> list[Delivery]:
            return [shape.delivery_from(row) for agent in agents for row in run(connection, _RETRIES, (agent, limit))][:limit]

        return await self.engine.read(work)

    async def find_people(self, text: str, after_login: str = "", limit: int = 100) -> list[Person]:
        """See OperationsStore. Goes through the logins in order, and stops when it has found enough."""
        wanted = text.lower()
        holds = or_(func.lower(persons.c.login).contains(wanted, autoescape=True), func.lower(persons.c.name).contains(wanted, autoescape=True))
        statement = select(*PERSON_COLUMNS).where(persons.c.login > after_login, IS_HUMAN, holds)
        statement = statement.order_by(persons.c.login).limit(limit)
        return [person_from(row) for row in await self.engine.read(lambda connection: connection.execute(statement).all())]

    async def objects(self, text: str = "", after: str = "", limit: int = 100) -> list[str]:
        """See OperationsStore."""
        statement = select(relations.c.object).where(relations.c.object > after).distinct().order_by(relations.c.object).limit(limit)
        if text:
            statement = statement.where(func.lower(relations.c.object).contains(text.lower(), autoescape=True))
        return await self.engine.read(lambda connection: list(connection.scalars(statement)))
