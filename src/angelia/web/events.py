"""Events put on an exchange over HTTP, by administrators and by sources that may."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Response
from fastapi import Body as RequestBody
from pydantic import Discriminator, Field, Tag

from angelia.model.errors import Forbidden, InvalidInput
from angelia.model.event import Event
from angelia.web.access import House, Known
from angelia.web.failures import SHAPES
from angelia.web.forms import NewEvent
from angelia.web.headers import say_rate
from angelia.wire.callers import Caller

router = APIRouter(prefix="/api/v1/events", tags=["events"])
Body = dict[str, Any]
MOST = 1_000


Many = Annotated[list[NewEvent], Field(min_length=1, max_length=MOST)]
# What is wrong is said of the shape that was sent, not of the other one.
OneOrMany = Annotated[
    Annotated[NewEvent, Tag(SHAPES[0])] | Annotated[Many, Tag(SHAPES[1])], Discriminator(lambda sent: SHAPES[isinstance(sent, list)])
]


@router.post("/{exchange}")
async def publish(exchange: str, form: Annotated[OneOrMany, RequestBody()], caller: Known, house: House, response: Response) -> Body:
    """Publish one event, or several in order. They are durable once this answers; a 503 does not say whether they are."""
    forms = form if isinstance(form, list) else [form]
    _check(caller, len(forms))
    await house.broker.publish([_event(exchange, entry, house.now().timestamp()) for entry in forms])
    if caller.rate is not None:
        say_rate(response, caller.rate)
    return {"published": len(forms)}


def _check(caller: Caller, count: int) -> None:
    if caller.is_admin:
        return
    if caller.source is None or "publish" not in caller.scopes:
        raise Forbidden("publishing needs an administrator, or the token of a source with the scope publish")
    if not caller.source.is_active:
        raise Forbidden("this source is switched off")
    caller.take(count)


def _event(exchange: str, form: NewEvent, at: float) -> Event:
    properties = {"timestamp": int(at), "delivery_mode": 2}
    if form.text is not None:
        if form.body is not None:
            raise InvalidInput("an event has a body or a text, not both", "text")
        return Event(exchange, form.key, form.text.encode(), "text/plain", properties=properties)
    try:
        body = json.dumps(form.body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except (ValueError, RecursionError):  # UnicodeEncodeError is one
        raise InvalidInput("a text holds half a character (a lone surrogate), a number is none, or it is nested too deeply", "body") from None
    return Event(exchange, form.key, body, "application/json", properties=properties)
