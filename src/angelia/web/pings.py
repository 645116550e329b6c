"""Pings: a source says at the address of an expectation that all is well, that a run begins, or that it failed. The address is all it needs."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import PlainTextResponse

from angelia import telemetry
from angelia.model.errors import NotFound
from angelia.model.expectation import MOST_TEXT, Sign, SignKind
from angelia.web.access import House
from angelia.web.context import Context
from angelia.web.headers import say_rate
from angelia.wire.callers import secret_hash

router = APIRouter(prefix="/api/v1/ping", tags=["expectations"], default_response_class=PlainTextResponse)
Secret = Annotated[str, Path(max_length=200)]
Said = Annotated[str, Path(pattern=r"^(start|fail|[0-9]{1,3})$")]
MOST_CODE = 255
_TEXT: dict[str, Any] = {"requestBody": {"content": {"text/plain": {"schema": {"type": "string"}}}}}


@router.get("/{secret}")
@router.head("/{secret}")
@router.post("/{secret}", openapi_extra=_TEXT)
async def ping(secret: Secret, request: Request, response: Response, house: House) -> str:
    """All is well. A text that is posted with it, such as the end of a log, stands in the history."""
    return await _heard(house, secret, SignKind.SUCCESS, None, request, response)


@router.get("/{secret}/{said}")
@router.head("/{secret}/{said}")
@router.post("/{secret}/{said}", openapi_extra=_TEXT)
async def ping_with(secret: Secret, said: Said, request: Request, response: Response, house: House) -> str:
    """`start`: a run begins. `fail`: it failed. A number: it ended with this exit code, and 0 is well."""
    if said == "start":
        return await _heard(house, secret, SignKind.START, None, request, response)
    if said == "fail":
        return await _heard(house, secret, SignKind.FAIL, None, request, response)
    if (code := int(said)) > MOST_CODE:
        raise NotFound("an exit code is a number up to 255")
    return await _heard(house, secret, SignKind.FAIL if code else SignKind.SUCCESS, code, request, response)


async def _heard(house: Context, secret: str, kind: SignKind, code: int | None, request: Request, response: Response) -> str:
    """Durable when this answers."""
    number = await house.store.expectation_at(secret_hash(secret))
    if number is None:
        raise NotFound("there is no such address; it may have been replaced")
    say_rate(response, house.limits.pings.take(str(number)))
    said = (await request.body()).decode(errors="replace").replace("\x00", "").strip() if request.method == "POST" else ""
    await house.store.note_signs({number: Sign(kind, house.now(), code, said[-MOST_TEXT:])})
    telemetry.expectation_signs.labels(kind.value).inc()
    return "OK\n"
