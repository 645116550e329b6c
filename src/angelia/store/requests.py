"""Requests to be told when a task ends, and how far exchanges were read."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRequest:
    """Somebody wants to be told once: `event` is `wf.task.<status>` of the task or of any task of the instance. `document` is what was posted (JSON).
    `matched_at`: the event came; `triggered_at`: it was said, or will not be.
    """

    request_id: str
    user_id: str
    event: str
    task_id: str
    instance_id: str
    document: str
    created_at: datetime
    matched_at: datetime | None = None
    triggered_at: datetime | None = None


class RequestStore(Protocol):
    """Requests to be told when a task ends, and how far exchanges were read."""

    async def put_task_request(self, request: TaskRequest) -> bool:
        """Keep a new one; False if its id is taken."""

    async def task_requests(self, user_id: str | None, limit: int = 10_000) -> list[TaskRequest]:
        """Those of one user, or all, by id."""

    async def count_waiting_requests(self, user_id: str) -> int:
        """How many of hers have not been said."""

    async def match_task_requests(self, user_id: str, event: str, task_id: str, instance_id: str, now: datetime) -> int:
        """Her requests for this event on this task or instance are due; how many became so."""

    async def matched_task_requests(self, limit: int = 1_000, after: TaskRequest | None = None) -> list[TaskRequest]:
        """Those that are due and not said, the longest due first; with `after` what stands behind that one."""

    async def end_task_requests(self, request_ids: Collection[str], now: datetime) -> None:
        """They are said."""

    async def forget_task_requests(self, before: datetime) -> None:
        """Forget those made before."""

    async def stream_position(self, name: str) -> str:
        """How far a reader was, "" for a new one."""

    async def put_stream_position(self, name: str, position: str) -> None:
        """So far it is."""
