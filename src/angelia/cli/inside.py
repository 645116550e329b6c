"""The API without a hub that runs: a house built around the store in the data folder, for one call."""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx2

from angelia import telemetry
from angelia.cli.outcome import Answer, Failure, Unreachable
from angelia.front import Front
from angelia.house import House
from angelia.model.errors import AngeliaError, SchemaMismatch, StoreUnavailable
from angelia.settings import Settings
from angelia.stores.sql import is_there


def must_be_there(settings: Settings) -> None:
    """Unreachable, with what to do, where no hub has made the database yet."""
    if not settings.house.database and not is_there(settings.database):
        raise Unreachable(f"no hub has run in {settings.data_dir} yet: `angelia serve` starts one, `angelia db upgrade` makes its database")


def in_process(settings: Settings, method: str, path: str, arguments: Mapping[str, Any]) -> Answer:
    """On the store in the data folder, as its operator."""
    return asyncio.run(_in_process(settings, method, path, arguments))


async def _in_process(settings: Settings, method: str, path: str, arguments: Mapping[str, Any]) -> Answer:
    telemetry.configure_logs("text", "error")
    try:
        must_be_there(settings)
        async with House.open(settings) as house:
            transport = httpx2.ASGITransport(Front(house, trusts_caller=True).narrow(path))
            async with httpx2.AsyncClient(transport=transport, base_url="http://hub") as client:
                answer = await client.request(method, path, **arguments)
                return answer.status_code, answer.headers, answer.content
    except (StoreUnavailable, SchemaMismatch) as error:
        raise Unreachable(str(error)) from None
    except AngeliaError as error:
        raise Failure(str(error)) from None
