"""Statistics: curves and tables of the last seven days."""

import json
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request, Response

from angelia.flow.profiles import zone_of
from angelia.model.delivery import State
from angelia.store import Traffic
from angelia.web.access import House
from angelia.web.pages.kit import page
from angelia.web.signin.guard import Administering
from angelia.web.statistics import deliveries_of, numbers_of, types_of

router = APIRouter(include_in_schema=False)


@router.get("/admin/statistics")
async def statistics(request: Request, visitor: Administering, house: House) -> Response:
    """Messages an hour, deliveries by agent and result, the busiest types, people."""
    numbers = await numbers_of(house)
    hours = numbers.hours
    agents = deliveries_of(hours)
    accounts, active, signed_in = await house.store.seen_since(house.now() - timedelta(days=7))
    top = types_of(hours).most_common(20)
    values: dict[str, Any] = {
        "read_at": numbers.read_at,
        "share": numbers.share,
        "messages": sum(sum(traffic.messages.values()) for traffic in hours.values()),
        "deliveries": sum(sum(counts.values()) for counts in agents.values()),
        "accounts": accounts,
        "active": active,
        "signed_in": signed_in,
        "reached": len(frozenset[int]().union(*(traffic.people for traffic in hours.values()))),
        "times": [int(hour.timestamp()) for hour in hours],
        "message_values": [sum(traffic.messages.values()) for traffic in hours.values()],
        "agent_values": {agent: [_of_agent(traffic, agent) for traffic in hours.values()] for agent in sorted(agents)},
        "agents": sorted(agents.items()),
        "states": [state for state in State if any(counts[state] for counts in agents.values())],
        "types": top,
        "busiest": top[0][1] if top else 1,
        "days": _days(hours, visitor.person.time_zone),
        "chart": lambda times, series: json.dumps({"times": times, "series": [{"label": label, "values": found} for label, found in series]}),
    }
    return page(request, visitor, "admin/statistics.html", **values)


def _of_agent(traffic: Traffic, agent: str) -> int:
    return sum(count for (name, _), count in traffic.deliveries.items() if name == agent)


def _days(hours: dict[datetime, Traffic], zone: str) -> list[tuple[datetime, int, Counter[str]]]:
    """The curves as numbers: for each day in the reader's zone, messages, and deliveries by agent."""
    found: dict[object, tuple[datetime, int, Counter[str]]] = {}
    for hour, traffic in hours.items():
        day = hour.astimezone(zone_of(zone)).date()
        start, messages, agents = found.get(day, (hour, 0, Counter()))
        for (agent, _), count in traffic.deliveries.items():
            agents[agent] += count
        found[day] = start, messages + sum(traffic.messages.values()), agents
    return list(found.values())
