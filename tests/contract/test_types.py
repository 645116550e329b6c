"""Curated types and filled messages, on SQLite and PostgreSQL alike."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from angelia.model.message import MessageType, Severity
from angelia.model.moments import to_us
from angelia.store import NewMessage, Plan

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)


async def test_what_an_operator_said_of_types(store):
    await store.add_messages([NewMessage(1, "ci", "seen.only", to_us(NOW), '{"type":"seen.only"}')])
    said = MessageType(
        key="obs.build",
        first_seen_at=NOW,
        last_seen_at=NOW,
        default_severity=Severity.HIGH,
        collapse_key="{object}",
        thread_key="{params.id}",
        state="curated",
    )
    await store.put_type(said)
    assert await store.types(is_curated=True) == [said]
    assert len(await store.types()) == 4


async def test_a_filled_message_is_stored_anew_under_its_fence(store):
    await store.add_messages([NewMessage(1, "ci", "a.b", to_us(NOW), '{"type":"a.b","subject":"s","tags":[["x","y"]]}')])
    (claimed,) = await store.claim_messages(1, timedelta(seconds=30), NOW)
    full = replace(claimed.message, severity=Severity.HIGH, has_own_severity=True, thread="t", collapse_key="k")
    assert await store.record_plans([Plan(full, claimed.fence - 1, is_filled=True)], [], [], NOW) == 0
    assert (await store.messages([1]))[1] == claimed.message
    assert await store.record_plans([Plan(full, claimed.fence, is_filled=True)], [], [], NOW) == 1
    assert (await store.messages([1]))[1] == full
