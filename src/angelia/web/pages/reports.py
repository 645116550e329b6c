"""What browsers report: something on a page that our content security policy forbids. On a sound site there is never one."""

from fastapi import APIRouter, Request, Response

from angelia import telemetry
from angelia.model.errors import RateLimited
from angelia.web.signin.tries import Tries
from angelia.wire.redaction import without_secrets

router = APIRouter(include_in_schema=False)
_tries = Tries(60, 60.0)
_MOST_BYTES = 8_192


@router.post("/csp-reports")
async def report(request: Request) -> Response:
    """Counted and logged, at most so many a minute; the body is foreign text, so it is a value of the log line and nothing else."""
    try:
        _tries.take("all")
    except RateLimited:
        return Response(status_code=204)
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BYTES:
            break
    telemetry.csp_reports.inc()
    telemetry.log.warning("csp_report", report=without_secrets(body[:_MOST_BYTES].decode("utf-8", "replace")))
    return Response(status_code=204)
