"""What every store promises of requests to be told when a task ends: subclass `RequestSuite`, give a fixture `store` (opened, empty)."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from angelia.model.errors import InvalidInput
from angelia.store import Store, TaskRequest

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DONE = "wf.task.finished"


def request(number: int, **fields: Any) -> TaskRequest:
    """Of the user 1, for the task t1."""
    told: dict[str, Any] = {"user_id": "1", "event": DONE, "task_id": "t1", "instance_id": "", "document": "{}", "created_at": NOW}
    return TaskRequest(request_id=f"{number:024x}", **(told | fields))


def numbers(found: Sequence[TaskRequest]) -> list[int]:
    """What `request` was given."""
    return [int(one.request_id, 16) for one in found]


class RequestSuite:
    """What the brainlife dialect relies on."""

    async def test_an_id_is_taken_once(self, store: Store) -> None:
        assert await store.put_task_request(request(1))
        assert not await store.put_task_request(request(1, user_id="2"))
        assert [one.user_id for one in await store.task_requests(None)] == ["1"]

    async def test_each_sees_hers_as_they_were_posted(self, store: Store) -> None:
        made = [request(1, document='{"config":{"a":"\\ud800"}}'), request(2, user_id="2", triggered_at=NOW, instance_id="i")]
        for one in made:
            await store.put_task_request(one)
        assert await store.task_requests("1") == made[:1] and await store.task_requests(None) == made
        assert numbers(await store.task_requests(None, limit=1)) == [1]
        assert [await store.count_waiting_requests(user) for user in ("1", "2", "3")] == [1, 0, 0]

    async def test_only_what_was_asked_for_is_due_and_once(self, store: Store) -> None:
        for one in (
            request(1), request(2, user_id="2"), request(3, event="wf.task.failed"), request(4, task_id="t2"),
            request(5, task_id="", instance_id="i"), request(6, task_id=""), request(7, triggered_at=NOW),
        ):  # fmt: skip
            await store.put_task_request(one)
        assert await store.match_task_requests("1", DONE, "t1", "i", NOW) == 2
        assert await store.match_task_requests("1", DONE, "t1", "i", NOW + MINUTE) == 0
        assert await store.match_task_requests("1", DONE, "", "", NOW) == 0, "what names no task is nobody's"
        due = await store.matched_task_requests()
        assert numbers(due) == [1, 5] and {one.matched_at for one in due} == {NOW}
        await store.end_task_requests([due[0].request_id], NOW + MINUTE)
        assert numbers(await store.matched_task_requests()) == [5]
        assert (await store.task_requests("1"))[0].triggered_at == NOW + MINUTE

    async def test_those_that_are_due_are_read_on_from_any_of_them(self, store: Store) -> None:
        for number in range(1, 7):
            await store.put_task_request(request(number, task_id=f"t{number % 2}"))
        await store.match_task_requests("1", DONE, "t0", "", NOW)
        await store.match_task_requests("1", DONE, "t1", "", NOW - MINUTE)
        found: list[int] = []
        last: TaskRequest | None = None
        while some := await store.matched_task_requests(2, last):
            found += numbers(some)
            last = some[-1]
            await store.end_task_requests([some[0].request_id], NOW)
        assert found == [1, 3, 5, 2, 4, 6]

    async def test_what_no_database_can_keep_is_refused_and_matches_nothing(self, store: Store) -> None:
        with pytest.raises(InvalidInput):
            await store.put_task_request(request(1, task_id="\ud800"))
        with pytest.raises(InvalidInput):
            await store.match_task_requests("\ud800", DONE, "t1", "", NOW)
        assert await store.task_requests(None) == []

    async def test_old_ones_are_forgotten(self, store: Store) -> None:
        await store.put_task_request(request(1))
        await store.put_task_request(request(2, created_at=NOW + MINUTE))
        await store.forget_task_requests(NOW + MINUTE)
        assert numbers(await store.task_requests(None)) == [2]

    async def test_how_far_a_reader_was_is_kept(self, store: Store) -> None:
        assert await store.stream_position("a") == ""
        for position in ("e-1", "e-2"):
            await store.put_stream_position("a", position)
            assert await store.stream_position("a") == position
        assert await store.stream_position("b") == ""
