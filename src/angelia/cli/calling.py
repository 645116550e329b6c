"""The two ways to call the API; loaded only by commands that do."""

from collections.abc import Mapping
from typing import Any

import httpx2

from angelia import telemetry
from angelia.cli.reach import Failure, Reach, Unreachable
from angelia.house import House
from angelia.model.errors import AngeliaError, SchemaMismatch, StoreUnavailable
from angelia.settings import load

Answer = tuple[int, Mapping[str, str], str]


def over_http(url: str, token: str, method: str, path: str, arguments: Mapping[str, Any]) -> Answer:
    """Over the network, with the token if there is one."""
    headers = dict(arguments.get("headers", {}))
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        answer = httpx2.request(method, url.rstrip("/") + path, timeout=30, **(dict(arguments) | {"headers": headers}))
    except httpx2.HTTPError as error:
        raise Unreachable(f"the hub at {url} does not answer: {error}") from None
    return answer.status_code, answer.headers, answer.text


async def in_process(reach: Reach, method: str, path: str, arguments: Mapping[str, Any]) -> Answer:
    """On the store in the data folder, as its operator."""
    telemetry.configure_logs("text", "error")
    try:
        async with House.open(load(reach.config, overrides=reach.overrides())) as house:
            transport = httpx2.ASGITransport(house.app(trusts_caller=True, only=path))
            async with httpx2.AsyncClient(transport=transport, base_url="http://hub") as client:
                answer = await client.request(method, path, **arguments)
                return answer.status_code, answer.headers, answer.text
    except (StoreUnavailable, SchemaMismatch) as error:
        raise Unreachable(str(error)) from None
    except AngeliaError as error:
        raise Failure(str(error)) from None
