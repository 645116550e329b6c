"""The site's own templates: list, edit with a preview on real messages, versions, differences, restoring."""

from difflib import unified_diff
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from markupsafe import Markup
from pydantic import TypeAdapter, ValidationError

from angelia.model.errors import AngeliaError, InvalidInput, NotFound
from angelia.model.message import checked_type
from angelia.store import TemplateVersion
from angelia.web.access import House
from angelia.web.context import Context
from angelia.web.forms import PreviewForm, RestoreForm, TemplateForm, TemplateKey
from angelia.web.pages.admin.asked import Asked, done, made, number, text, told
from angelia.web.pages.kit import page
from angelia.web.pages.languages import LANGUAGES
from angelia.web.signin.guard import Administering, Visitor
from angelia.web.templates import delete_template, previewed, put_template, restore, sandboxed

router = APIRouter(include_in_schema=False)
_key: TypeAdapter[str] = TypeAdapter(TemplateKey)
FORMS = ("full", "short", "digest")
_FRAMED = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; report-uri /csp-reports"
)
"""As on every page, and our own frames besides."""


def _checked(key: str) -> str:
    try:
        return _key.validate_python(key)
    except ValidationError:
        raise InvalidInput("a template's key is <type or *>/<agent>/<form>/<language>/<part>", "key") from None


@router.get("/admin/templates")
async def list_templates(request: Request, visitor: Administering, house: House) -> Response:
    """All of them, and a way to a new one."""
    items = [{"key": key, "parts": key.split("/"), "size": len(source)} for key, source in sorted((await house.store.templates()).items())]
    languages = list(dict.fromkeys((*LANGUAGES, "de", "ru")))
    choices: dict[str, Any] = {"agents": list(house.agents), "forms": FORMS, "spoken": languages}
    return page(request, visitor, "admin/templates.html", items=items, **choices)


@router.get("/admin/templates/new")
async def new_template(
    visitor: Administering, type: str = "*", agent: str = "mail", form: str = "full", language: str = "en", part: str = "text"
) -> Response:
    """To the page of the template that was chosen."""
    del visitor
    scope = type.strip().lower() or "*"
    scope = "digest" if form == "digest" else scope if scope == "*" else checked_type(scope)
    return RedirectResponse(f"/admin/templates/edit?key={_checked(f'{scope}/{agent}/{form}/{language}/{part}')}", 303)


async def _values(house: Context, key: str) -> dict[str, Any]:
    scope, _, _ = key.partition("/")
    subtree = "" if scope in ("*", "digest") else scope
    stored = (await house.store.templates()).get(key)
    return {
        "key": key,
        "stored": stored,
        "versions": await house.store.template_versions(key),
        "messages": await house.store.list_messages(person_id=None, subtree=subtree, limit=15),
        "is_digest": scope == "digest",
    }


@router.get("/admin/templates/edit")
async def edit_template(request: Request, visitor: Administering, house: House, key: str, version: int = 0, message: str = "") -> Response:
    """One template: its text, a preview beside it, its versions; with `version` what differs between that one and now."""
    values = await _values(house, _checked(key))
    compared = next((one for one in values["versions"] if one.version == version), None)
    if version and compared is None:
        raise NotFound("there is no such version of this template")
    values |= {"source": values["stored"] or "", "message": message, "compared": compared, "lines": _difference(compared, values["stored"])}
    return _framed(page(request, visitor, "admin/template.html", **values))


def _difference(old: TemplateVersion | None, new: str | None) -> list[tuple[str, str]]:
    if old is None:
        return []
    lines = unified_diff((old.source or "").splitlines(), (new or "").splitlines(), lineterm="", n=3)
    return [({"+": "added", "-": "removed", "@": "place"}.get(line[:1], ""), line) for line in list(lines)[2:]]


def _framed(answer: Response) -> Response:
    answer.headers["Content-Security-Policy"] = _FRAMED
    return answer


@router.post("/admin/templates/edit")
async def save_template(request: Request, asked: Asked, visitor: Administering, house: House) -> Response:
    """Keep the new text; the old one stays as a version."""
    key = _checked(text(asked, "key"))
    source = str(asked.get("source", "")).replace("\r\n", "\n")
    place = f"/admin/templates/edit?key={key}"
    try:
        if text(asked, "what") == "remove":
            await delete_template(visitor.caller, house, key)
            return done(place, "removed")
        await put_template(made(TemplateForm, key=key, source=source), visitor.caller, house)
    except AngeliaError as error:
        values = await _values(house, key) | {"source": source, "message": text(asked, "message"), "compared": None, "lines": []}
        return _framed(told(request, visitor, "admin/template.html", error, **values))
    return done(place, "saved")


@router.post("/admin/templates/restore")
async def restore_template(asked: Asked, visitor: Administering, house: House) -> Response:
    """An old version becomes the newest."""
    form = made(RestoreForm, key=_checked(text(asked, "key")), version=number(asked, "version") or 0)
    await restore(form, visitor.caller, house)
    return done(f"/admin/templates/edit?key={form.key}", "restored")


@router.get("/admin/templates/preview")
async def preview_stored(visitor: Administering, house: House, key: str, message: str = "") -> Response:
    """The letter as it would be now, for a frame."""
    return await _preview(made(PreviewForm, key=_checked(key), message=message), visitor, house)


@router.post("/admin/templates/preview")
async def preview_draft(asked: Asked, visitor: Administering, house: House) -> Response:
    """The letter with the text that stands in the form, for a frame; nothing is kept."""
    source = str(asked.get("source", "")).replace("\r\n", "\n")
    form = made(PreviewForm, key=_checked(text(asked, "key")), message=text(asked, "message"), source=source or None)
    return await _preview(form, visitor, house)


async def _preview(form: PreviewForm, visitor: Visitor, house: Context) -> Response:
    try:
        content = await previewed(form, visitor.person, house)
    except AngeliaError as error:
        return sandboxed(_document(Markup("<p class=fault>{}</p>").format(str(error))))
    shown = Markup("<h1>{}</h1><pre>{}</pre>").format(content.subject, content.text)
    # The HTML part is foreign on purpose: it is what is looked at, in a document that can do nothing.
    return sandboxed(_document(shown + Markup("<hr>") + Markup(content.html)))  # noqa: S704


def _document(body: Markup) -> str:
    return f'<!doctype html><html><head><meta charset="utf-8"><title>Preview</title><style>{_STYLE}</style></head><body>{body}</body></html>'


_STYLE = (
    ":root{color-scheme:light}body{font:14px/1.5 system-ui,sans-serif;margin:12px;color:#1d2529;background:#fff}h1{font-size:16px;margin:0 0 8px}"
    "pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#f4f6f7;padding:10px;border-radius:6px}hr{border:0;border-top:1px solid #d0d5dd}"
    ".fault{color:#b3261e}"
)
