"""Numbers over time: messages an hour, deliveries by agent and result, the busiest types, the health of sources."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from fastapi import APIRouter

from angelia.model.delivery import State
from angelia.model.moments import to_text
from angelia.store import Traffic
from angelia.web.access import Admin, House
from angelia.web.context import Context

router = APIRouter(prefix="/api/v1/statistics", tags=["operations"])
Body = dict[str, Any]
HOUR = timedelta(hours=1)
HOURS = 7 * 24
KEPT = timedelta(minutes=5)
SETTLED = timedelta(hours=2)
"""Messages of an hour that is over stay what they are; the deliveries of old hours may still change, and are read again every KEPT."""


@dataclass
class Numbers:
    """Traffic by hour, kept for five minutes; one for each store, so that a second reader costs nothing."""

    hours: dict[datetime, Traffic] = field(default_factory=dict)
    read_at: datetime | None = None


_kept: dict[int, Numbers] = {}


async def hourly(house: Context) -> tuple[dict[datetime, Traffic], datetime]:
    """Hour -> its traffic, for 7 days, the running hour last; and when that was read."""
    now = house.now()
    if id(house.store) not in _kept:
        _kept.clear()
    numbers = _kept.setdefault(id(house.store), Numbers())
    if numbers.read_at is None or not timedelta() <= now - numbers.read_at < KEPT:
        last = now.replace(minute=0, second=0, microsecond=0)
        edges = [last - HOUR * back for back in range(HOURS - 1, -2, -1)]
        numbers.hours = dict(zip(edges, await house.store.traffic(edges), strict=False))
        numbers.read_at = now
    return numbers.hours, numbers.read_at


def sources_of(hours: Mapping[datetime, Traffic], since: datetime) -> Counter[str]:
    """Messages by source since then."""
    counts: Counter[str] = Counter()
    for hour, traffic in hours.items():
        if hour >= since:
            for (_, source), count in traffic.messages.items():
                counts[source] += count
    return counts


def types_of(hours: Mapping[datetime, Traffic]) -> Counter[str]:
    """Messages by type."""
    counts: Counter[str] = Counter()
    for traffic in hours.values():
        for (key, _), count in traffic.messages.items():
            counts[key] += count
    return counts


def deliveries_of(hours: Mapping[datetime, Traffic]) -> dict[str, Counter[State]]:
    """By agent, how many stand in each state."""
    counts: dict[str, Counter[State]] = {}
    for traffic in hours.values():
        for (agent, state), count in traffic.deliveries.items():
            counts.setdefault(agent, Counter())[state] += count
    return counts


@router.get("")
async def statistics(_: Admin, house: House) -> Body:
    """The last 7 days; at most 5 minutes old."""
    hours, read_at = await hourly(house)
    people, active, signed_in = await house.store.seen_since(house.now() - timedelta(days=7))
    reached = frozenset[int]().union(*(traffic.people for traffic in hours.values()))
    return {
        "read_at": to_text(read_at),
        "hours": [{"at": to_text(hour), "messages": sum(traffic.messages.values())} for hour, traffic in hours.items()],
        "deliveries": {agent: {state.label: count for state, count in counts.items()} for agent, counts in sorted(deliveries_of(hours).items())},
        "types": [{"key": key, "messages": count} for key, count in types_of(hours).most_common(20)],
        "people": {"accounts": people, "active": active, "signed_in": signed_in, "reached": len(reached)},
    }


@router.get("/sources")
async def source_health(_: Admin, house: House) -> Body:
    """For each source: messages of 24 hours and of 7 days, the hour of the last one, and when a token of its was last used."""
    return {"items": [one | {"last_hour": _text(one["last_hour"]), "last_used_at": _text(one["last_used_at"])} for one in await health(house)]}


async def health(house: Context) -> list[Body]:
    """As above, with times as times."""
    hours, _ = await hourly(house)
    day, week = sources_of(hours, house.now() - timedelta(days=1)), sources_of(hours, min(hours))
    used: dict[str, datetime] = {}
    for token in await house.store.list_tokens():
        if token.last_used_at is not None and (token.owner not in used or used[token.owner] < token.last_used_at):
            used[token.owner] = token.last_used_at
    return [
        {
            "name": source.name,
            "messages_24h": day[source.name],
            "messages_7d": week[source.name],
            "last_hour": max((hour for hour, traffic in hours.items() if any(name == source.name for _, name in traffic.messages)), default=None),
            "last_used_at": used.get(f"source:{source.name}"),
        }
        for source in await house.store.list_sources()
    ]


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else to_text(moment)
