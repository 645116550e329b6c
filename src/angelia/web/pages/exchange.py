"""Her whole document as TOML: out, and back in by way of a plan that says what would change."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response, UploadFile

from angelia.flow.wants import save_wants
from angelia.model.errors import Conflict, InvalidInput
from angelia.web.access import House
from angelia.web.context import Context
from angelia.web.forms import RowId
from angelia.web.pages.wishes import Wrong, back, wish_page, wrong_of
from angelia.web.signin.guard import Visiting, Visitor
from angelia.web.wants import plan_preferences
from angelia.wire.documents import from_toml, to_toml

router = APIRouter(include_in_schema=False)
MOST_TEXT = 1_000_000
DAYS = 30
Text = Annotated[str, Form(max_length=MOST_TEXT)]


@router.get("/preferences/export")
async def export(visitor: Visiting, house: House) -> Response:
    """The document as a file."""
    document, version = await house.store.wants(visitor.person.login)
    headers = {"Content-Disposition": 'attachment; filename="angelia-preferences.toml"', "ETag": f'"{version}"', "Cache-Control": "private, no-store"}
    return Response(to_toml(dict(document)), media_type="application/toml; charset=utf-8", headers=headers)


@router.get("/preferences/import")
async def ask(request: Request, visitor: Visiting, house: House) -> Response:
    """The form, with what is stored now."""
    document, _ = await house.store.wants(visitor.person.login)
    return await _page(request, visitor, house, to_toml(dict(document)))


async def _page(request: Request, visitor: Visitor, house: Context, text: str, wrong: Wrong | None = None, **values: Any) -> Response:
    shared: dict[str, Any] = {"plan": None, "text": text, "days": DAYS}
    return await wish_page(request, visitor, house, "exchange.html", wrong=wrong, **(shared | values))


@router.post("/preferences/import")
async def plan(request: Request, visitor: Visiting, house: House, document: Text = "", file: UploadFile | None = None) -> Response:
    """What would change, and how many deliveries would have differed; nothing is saved."""
    text = document
    try:
        if file is not None and file.filename:
            text = await _text_of(file)
        made = await plan_preferences(from_toml(text), visitor.person, house, DAYS)
    except InvalidInput as error:
        return await _page(request, visitor, house, text, wrong_of(error))
    changes = [{"path": change["path"], "before": _shown(change["before"]), "after": _shown(change["after"])} for change in made["changes"]]
    return await _page(request, visitor, house, text, plan=made, changes=changes)


async def _text_of(file: UploadFile) -> str:
    data = await file.read(MOST_TEXT + 1)
    if len(data) > MOST_TEXT:
        raise InvalidInput("this file is too large for preferences", "file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput("this file is no text in UTF-8", "file") from None


def _shown(value: object) -> str:
    """A value of a document in a line; long ones are cut."""
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 300 else f"{text[:300]}…"


@router.post("/preferences/import/apply")
async def apply(request: Request, visitor: Visiting, house: House, version: Annotated[RowId, Form()], document: Text = "") -> Response:
    """Replace the document, if it is still the one that the plan was made against."""
    try:
        made = await save_wants(house.store, visitor.person.login, from_toml(document), version, house.site(), house.now())
    except InvalidInput as error:
        return await _page(request, visitor, house, document, wrong_of(error))
    except Conflict:
        return await _page(request, visitor, house, document, Wrong("", "your preferences were changed meanwhile; look at the plan again"))
    house.changed("people")
    return back("", visitor.at("/preferences"), made)
