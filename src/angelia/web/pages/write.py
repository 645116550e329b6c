"""A message by hand: what programs post, a person writes to people and groups."""

import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from angelia.inlet import Taken
from angelia.model.errors import Forbidden, InvalidInput, RateLimited
from angelia.model.moments import public_id
from angelia.web.access import House, check_names
from angelia.web.pages.kit import page
from angelia.web.pages.wishes import Wrong
from angelia.web.signin.guard import Visiting, Visitor
from angelia.wire.fields import draft_of, parse_fields

router = APIRouter(include_in_schema=False)
FIELDS = ("to", "type", "subject", "body", "body_format", "severity", "object", "object_url")
_EMPTY = dict.fromkeys(FIELDS, "") | {"type": "note", "body_format": "text", "severity": "normal"}
Text = Annotated[str, Form(max_length=2_100)]


@router.get("/write")
async def write(
    request: Request,
    visitor: Visiting,
    sent: Annotated[str, Query(pattern="^(msg_[0-9a-z]{1,20})?$")] = "",
    to: Annotated[str, Query(max_length=300)] = "",
) -> Response:
    """An empty form; `to` fills in who it is for."""
    return _form(request, visitor, _EMPTY | {"to": to}, sent=sent)


def _form(request: Request, visitor: Visitor, typed: dict[str, str], *, wrong: Wrong | None = None, sent: str = "") -> Response:
    # What is sent twice, by a second click or a lost answer, is one message.
    values: dict[str, Any] = {"typed": typed, "wrong": wrong, "sent": sent, "key": secrets.token_urlsafe(12)}
    return page(request, visitor, "write.html", 200 if wrong is None else 422, **values)


@router.post("/write")
async def send(
    request: Request, visitor: Visiting, house: House, to: Text = "", type: Text = "note", subject: Text = "",
    body: Annotated[str, Form(max_length=1_100_000)] = "", body_format: Text = "text", severity: Text = "normal", object: Text = "",
    object_url: Text = "", key: Annotated[str, Form(max_length=64)] = "",
) -> Response:  # fmt: skip
    """Post it as her; the answer leads to an empty form that says so."""
    said = (to, type.strip(), subject.strip(), body.rstrip(), body_format, severity, object.strip(), object_url.strip())
    typed = dict(zip(FIELDS, said, strict=True))
    try:
        people = to.replace(",", " ").split()
        if not people:
            raise InvalidInput("name at least one person or group", "to")
        await check_names(house, people, "to")
        if not (typed["subject"] or typed["body"]):
            raise InvalidInput("write a subject or a text", "subject")
        fields = parse_fields({name: value for name, value in typed.items() if value and name != "to"} | {"to": people})
        sender = house.callers.sender(visitor.person, visitor.caller.scopes)
        sender.check_post(fields["type"], fields.get("severity", "normal"))
        (receipt,) = await house.accept(sender.name, [draft_of(fields, house.now, f"page-{key}" if key else None)])
    except (InvalidInput, Forbidden, RateLimited) as error:
        return _form(request, visitor, typed, wrong=Wrong(getattr(error, "field", ""), str(error)))
    if receipt.taken is Taken.CONFLICT:
        return _form(request, visitor, typed, wrong=Wrong("", "this was sent already, with another text; look at it and send it again"))
    return RedirectResponse(f"/write?sent={public_id('msg', receipt.message_id)}", 303)
