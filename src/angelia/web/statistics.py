"""Numbers over time: messages an hour, deliveries by agent and result, the busiest types, the health of sources."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from weakref import WeakKeyDictionary

from fastapi import APIRouter

from angelia.model.delivery import State
from angelia.model.moments import to_text
from angelia.store import Store, Traffic
from angelia.web.access import Admin, House
from angelia.web.context import Context

router = APIRouter(prefix="/api/v1/statistics", tags=["operations"])
Body = dict[str, Any]
HOUR = timedelta(hours=1)
HOURS = 7 * 24
KEPT = timedelta(minutes=5)
MOST_READ = 100_000
MOST_SHARE = 500
"""Rows that are read for one look, and how thin the sample gets at most: beyond that, reading more would tell little more."""


@dataclass
class Numbers:
    """Traffic by hour, kept for five minutes; one for each store, so that a second reader costs nothing."""

    hours: dict[datetime, Traffic] = field(default_factory=dict)
    read_at: datetime | None = None
    share: int = 1


_kept: WeakKeyDictionary[Store, Numbers] = WeakKeyDictionary()


async def numbers_of(house: Context) -> Numbers:
    """Hour -> its traffic, for 7 days, the running hour last; when that was read, and from which share of all: one in so many."""
    now = house.now()
    numbers = _kept.setdefault(house.store, Numbers())
    if numbers.read_at is None or not timedelta() <= now - numbers.read_at < KEPT:
        last = now.replace(minute=0, second=0, microsecond=0)
        edges = [last - HOUR * back for back in range(HOURS - 1, -2, -1)]
        numbers.share = await _share(house, edges)
        numbers.hours = dict(zip(edges, await house.store.traffic(edges, numbers.share), strict=False))
        numbers.read_at = now
    return numbers


async def hourly(house: Context) -> dict[datetime, Traffic]:
    """As above, the hours alone."""
    return (await numbers_of(house)).hours


async def _share(house: Context, edges: list[datetime]) -> int:
    """One in how many to read: judged by a thin look at each quarter of a day."""
    rough = await house.store.traffic([*edges[::6], edges[-1]], 100)
    rows = sum(sum(traffic.messages.values()) + sum(traffic.deliveries.values()) for traffic in rough)
    return max(1, min(rows // MOST_READ, MOST_SHARE))


def sources_of(hours: Mapping[datetime, Traffic], since: datetime) -> Counter[str]:
    """Messages by source since then."""
    counts: Counter[str] = Counter()
    for hour, traffic in hours.items():
        if hour >= since:
            for (_, source), count in traffic.messages.items():
                counts[source] += count
    return counts


def last_hours(hours: Mapping[datetime, Traffic]) -> dict[str, datetime]:
    """By source, the newest hour in which it spoke."""
    return {name: hour for hour in sorted(hours) for _, name in hours[hour].messages}


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
    """The last 7 days; at most 5 minutes old. With a `share` above 1 the counts are estimates, from one part in so many."""
    numbers = await numbers_of(house)
    hours = numbers.hours
    people, active, signed_in = await house.store.seen_since(house.now() - timedelta(days=7))
    reached = frozenset[int]().union(*(traffic.people for traffic in hours.values()))
    return {
        "read_at": None if numbers.read_at is None else to_text(numbers.read_at),
        "share": numbers.share,
        "hours": [{"at": to_text(hour), "messages": sum(traffic.messages.values())} for hour, traffic in hours.items()],
        "deliveries": {agent: {state.label: count for state, count in counts.items()} for agent, counts in sorted(deliveries_of(hours).items())},
        "types": [{"key": key, "messages": count} for key, count in types_of(hours).most_common(20)],
        "people": {"accounts": people, "active": active, "signed_in": signed_in, "reached": len(reached)},
    }


@router.get("/sources")
async def source_health(_: Admin, house: House) -> Body:
    """For each source: messages of 24 hours and of 7 days, the hour of the last one, and when a token of its was last used. On a busy hub,
    where numbers are estimates, few messages may be missed; `is_in_use` says whether a token of its was used in 24 hours.
    """
    return {"items": [one | {"last_hour": _text(one["last_hour"]), "last_used_at": _text(one["last_used_at"])} for one in await health(house)]}


async def health(house: Context) -> list[Body]:
    """As above, with times as times."""
    hours = await hourly(house)
    day, week = sources_of(hours, house.now() - timedelta(days=1)), sources_of(hours, min(hours))
    last = last_hours(hours)
    used: dict[str, datetime] = {}
    long_ago = datetime.min.replace(tzinfo=UTC)
    for token in await house.store.list_tokens():
        if token.last_used_at is not None and (token.owner not in used or used[token.owner] < token.last_used_at):
            used[token.owner] = token.last_used_at
    return [
        {
            "name": source.name,
            "messages_24h": day[source.name],
            "messages_7d": week[source.name],
            "last_hour": last.get(source.name),
            "last_used_at": used.get(f"source:{source.name}"),
            "is_in_use": used.get(f"source:{source.name}", long_ago) >= house.now() - timedelta(days=1),
        }
        for source in await house.store.list_sources()
    ]


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else to_text(moment)
