"""Health, metrics, version (promise P17)."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

import angelia
from angelia import telemetry
from angelia.model.errors import Forbidden
from angelia.web.access import House
from angelia.web.late import health
from angelia.web.signin.tries import address_of

router = APIRouter(tags=["probes"])
_HANDED_ON = ("x-forwarded-for", "forwarded", "x-real-ip")


@router.get("/healthz/live")
async def live() -> dict[str, str]:
    """The process turns."""
    return {"status": "ok"}


@router.get("/healthz/ready", responses={503: {"description": "Not ready", "content": {"application/json": {}}}})
async def ready(house: House) -> Response:
    """The store can make a message durable now; 503 with the part that can't."""
    status, said, headers = health(await house.ready())
    return JSONResponse(said, status, headers=headers)


@router.get("/metrics", response_class=PlainTextResponse, responses={403: {"description": "Neither from a network that may, nor with the token"}})
async def metrics(request: Request, house: House) -> Response:
    """For Prometheus: from the networks of `web.metrics_from`, or with the token of `web.metrics_token`."""
    # A proxy that the operator has not named may hand on for anybody: where it stands says nothing.
    host = request.client.host if request.client else ""
    is_handed_on = host not in house.proxies and any(name in request.headers for name in _HANDED_ON)
    if not house.scrapers.may(None if is_handed_on else address_of(request), request.headers.get("authorization", "")):
        raise Forbidden("metrics are for the networks of web.metrics_from, and for who has the token of web.metrics_token")
    return Response(generate_latest(telemetry.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/version")
async def version() -> dict[str, Any]:
    """What runs."""
    return {"name": "angelia", "version": angelia.__version__}
