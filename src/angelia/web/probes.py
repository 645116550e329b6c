"""Health, metrics, version (promise P17)."""

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

import angelia
from angelia import telemetry
from angelia.web.access import House
from angelia.web.late import health

router = APIRouter(tags=["probes"])


@router.get("/healthz/live")
async def live() -> dict[str, str]:
    """The process turns."""
    return {"status": "ok"}


@router.get("/healthz/ready", responses={503: {"description": "Not ready", "content": {"application/json": {}}}})
async def ready(house: House) -> Response:
    """The store can make a message durable now; 503 with the part that can't."""
    status, said, headers = health(await house.ready())
    return JSONResponse(said, status, headers=headers)


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics() -> Response:
    """For Prometheus. Behind a proxy, keep it from the public."""
    return Response(generate_latest(telemetry.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/version")
async def version() -> dict[str, Any]:
    """What runs."""
    return {"name": "angelia", "version": angelia.__version__}
