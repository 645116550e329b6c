"""Requests to be told when a task ends, and how far exchanges were read, in SQL."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, and_, delete, func, insert, or_, select, update

from angelia.model.moments import from_us, to_us
from angelia.store import TaskRequest
from angelia.stores.engine import SqlEngine
from angelia.stores.event_tables import stream_positions, task_requests

_r = task_requests.c
_p = stream_positions.c


class RequestsMixin:
    """RequestStore in SQL."""

    engine: SqlEngine

    async def put_task_request(self, request: TaskRequest) -> bool:
        """See RequestStore."""
        row = {
            "id": request.request_id,
            "user_id": request.user_id,
            "event": request.event,
            "task_id": request.task_id,
            "instance_id": request.instance_id,
            "document": request.document,
            "created_us": to_us(request.created_at),
            "triggered_us": to_us(request.triggered_at) if request.triggered_at else None,
        }

        def work(connection: Connection) -> bool:
            if connection.scalar(select(_r.id).where(_r.id == request.request_id)) is not None:
                return False
            connection.execute(insert(task_requests).values(**row))
            return True

        return await self.engine.write(work)

    async def task_requests(self, user_id: str | None, limit: int = 10_000) -> list[TaskRequest]:
        """See RequestStore."""
        statement = select(task_requests).order_by(_r.id).limit(limit)
        if user_id is not None:
            statement = statement.where(_r.user_id == user_id)
        found = await self.engine.read(lambda connection: connection.execute(statement).all())
        return [_request(row) for row in found]

    async def count_waiting_requests(self, user_id: str) -> int:
        """See RequestStore."""
        statement = select(func.count()).select_from(task_requests).where(_r.user_id == user_id, _r.triggered_us.is_(None))
        return await self.engine.read(lambda connection: int(connection.scalar(statement) or 0))

    async def match_task_requests(self, user_id: str, event: str, task_id: str, instance_id: str, now: datetime) -> int:
        """See RequestStore."""
        places = [condition for value, condition in ((task_id, _r.task_id == task_id), (instance_id, _r.instance_id == instance_id)) if value]
        if not places:
            return 0
        waits = (_r.user_id == user_id, _r.event == event, _r.triggered_us.is_(None), _r.matched_us.is_(None), or_(*places))
        # Most events match nothing: they cost a look and no write.
        looked = select(func.count()).select_from(task_requests).where(*waits)
        if not await self.engine.read(lambda connection: connection.scalar(looked)):
            return 0
        due = update(task_requests).where(*waits).values(matched_us=to_us(now))
        return await self.engine.write(lambda connection: connection.execute(due).rowcount)

    async def matched_task_requests(self, limit: int = 1_000, after: TaskRequest | None = None) -> list[TaskRequest]:
        """See RequestStore."""
        statement = select(task_requests).where(_r.matched_us.is_not(None), _r.triggered_us.is_(None)).order_by(_r.matched_us, _r.id).limit(limit)
        if after is not None and after.matched_at is not None:
            at_us = to_us(after.matched_at)
            statement = statement.where(or_(_r.matched_us > at_us, and_(_r.matched_us == at_us, _r.id > after.request_id)))
        found = await self.engine.read(lambda connection: connection.execute(statement).all())
        return [_request(row) for row in found]

    async def end_task_requests(self, request_ids: Collection[str], now: datetime) -> None:
        """See RequestStore."""
        statement = update(task_requests).where(_r.id.in_(list(request_ids))).values(triggered_us=to_us(now))
        await self.engine.write(lambda connection: connection.execute(statement))

    async def forget_task_requests(self, before: datetime) -> None:
        """See RequestStore."""
        await self.engine.write(lambda connection: connection.execute(delete(task_requests).where(_r.created_us < to_us(before))))

    async def stream_position(self, name: str) -> str:
        """See RequestStore."""
        found = await self.engine.read(lambda connection: connection.scalar(select(_p.position).where(_p.name == name)))
        return found or ""

    async def put_stream_position(self, name: str, position: str) -> None:
        """See RequestStore."""

        def work(connection: Connection) -> None:
            if not connection.execute(update(stream_positions).where(_p.name == name).values(position=position)).rowcount:
                connection.execute(insert(stream_positions).values(name=name, position=position))

        await self.engine.write(work)


def _request(row: "object") -> TaskRequest:
    values = row._mapping  # type: ignore[attr-defined]
    return TaskRequest(
        request_id=values["id"],
        user_id=values["user_id"],
        event=values["event"],
        task_id=values["task_id"],
        instance_id=values["instance_id"],
        document=values["document"],
        created_at=from_us(values["created_us"]),
        matched_at=from_us(values["matched_us"]) if values["matched_us"] is not None else None,
        triggered_at=from_us(values["triggered_us"]) if values["triggered_us"] is not None else None,
    )
