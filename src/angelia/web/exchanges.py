"""Exchanges as operators see them: their rules, what is wrong with them, and who follows them live in this process."""

from typing import Any

from fastapi import APIRouter

from angelia.broker import ExchangeSettings, missing_exchange
from angelia.model.errors import BrokerUnavailable
from angelia.web.access import Admin, House

router = APIRouter(prefix="/api/v1/exchanges", tags=["events"])
Body = dict[str, Any]
MOST = 1_000


@router.get("")
async def list_exchanges(caller: Admin, house: House) -> Body:
    """All, by name. `followers` are the clients of the process that answers; `fault` is empty where all is well."""
    faults, counts = await house.broker.faults(), house.streams.counts()
    return {
        "items": [
            {"name": name, **_rules(settings), "followers": counts.get(name, 0), "fault": faults.get(name) or faults.get("", "")}
            for name, settings in sorted(house.broker.exchanges.items())
        ]
    }


@router.get("/{exchange}")
async def show_exchange(exchange: str, caller: Admin, house: House) -> Body:
    """One, with its newest position (null while the broker is away) and who follows it, at most 1,000 of them. Without a name: nobody known."""
    settings = house.broker.exchanges.get(exchange)
    if settings is None:
        raise missing_exchange(exchange)
    followers = house.streams.followers(exchange)
    try:
        position = str(await house.broker.head(exchange))
    except BrokerUnavailable:
        position = None
    return {
        "name": exchange,
        **_rules(settings),
        "position": position,
        "followers": len(followers),
        "items": [{"name": one.name, "keys": list(one.keys), "is_behind": one.is_behind} for one in followers[:MOST]],
    }


def _rules(settings: ExchangeSettings) -> Body:
    return {"kind": settings.kind, "access": settings.access, "keep_seconds": settings.keep_seconds, "keep_bytes": settings.keep_bytes}
