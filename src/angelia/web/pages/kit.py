"""Rendering a page: templates, languages, times, the built assets, and the headers that every page has."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib.resources import files
from typing import Any

from babel import Locale
from babel.core import UnknownLocaleError
from babel.dates import format_date, format_datetime, format_timedelta
from babel.numbers import format_decimal
from babel.support import NullTranslations, Translations
from babel.units import format_unit
from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from angelia.flow.profiles import zone_of
from angelia.model.moments import public_id
from angelia.rendering.text import as_html, linked, one_line
from angelia.web.object_names import object_name
from angelia.web.pages.faults import said
from angelia.web.pages.languages import LANGUAGES, gettexts, language_of
from angelia.web.pages.moments import words_of
from angelia.web.pages.names import Titles, naming, titles_of
from angelia.web.pages.packing import may_pack, pack
from angelia.web.signin.guard import Visitor

STATIC = files("angelia.web") / "static"


@lru_cache(maxsize=1)
def assets() -> Mapping[str, str]:
    """Plain name -> built name. Empty where nobody has built them: the pages then work without style."""
    manifest = STATIC / "manifest.json"
    return json.loads(manifest.read_text(encoding="utf-8")) if manifest.is_file() else {}


@lru_cache(maxsize=32)
def environment(language: str, titles: Titles = ()) -> Environment:
    """Templates in one language, for agents with these titles; everything that is put in is escaped."""
    made = Environment(
        loader=PackageLoader("angelia.web.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
        auto_reload=False,
    )
    # Texts of several lines are one line to translators.
    made.policies["ext.i18n.trimmed"] = True
    translations: Translations | NullTranslations = gettexts(language)
    made.install_gettext_translations(translations, newstyle=True)  # type: ignore[attr-defined]
    made.globals |= {"asset": lambda name: f"/static/{assets().get(name, name)}", "languages": LANGUAGES}
    made.filters |= {
        "public": public_id,
        "body_html": _body_html,
        "linked": lambda text: Markup(linked(text)),  # noqa: S704
        "one_line": one_line,
        "kinds": _kinds,
        "said": lambda text: said(text, translations),
        "agent_name": naming(translations.gettext, titles),
    }
    return made


@lru_cache(maxsize=1_000)
def _kinds(because: tuple[str, ...]) -> tuple[str, ...]:
    """The kinds of reasons, each once: `role` of `role:maintainer`."""
    return tuple(dict.fromkeys(reason.partition(":")[0] for reason in because))


def _body_html(body: str, body_format: str) -> Markup:
    """A body in its format, cleaned by the same function that cleans it for mail."""
    if body_format in ("markdown", "html"):
        return Markup(as_html(body, body_format))  # noqa: S704 - as_html lets through a closed list of tags only
    return Markup('<div class="prewrap">{}</div>').format(Markup(linked(body)))  # noqa: S704 - linked escapes


_UNITS = tuple((timedelta(**{f"{name}s": 1}), f"duration-{name}") for name in ("day", "hour", "minute", "second"))


def _times(person_zone: str, language: str, now: datetime) -> dict[str, Callable[..., Any]]:
    zone = zone_of(person_zone)
    try:
        locale = Locale.parse(language, sep="-")
    except (UnknownLocaleError, ValueError):
        locale = Locale("en")

    today = now.astimezone(zone).date()

    def when(moment: datetime | None) -> Markup:
        """A time as a <time> element: short for today, with the whole of it as its title."""
        if moment is None:
            return Markup("")
        local = moment.astimezone(zone)
        form = "time" if local.date() == today else "day" if local.year == today.year else "date"
        text, whole = words_of(local, form, locale)
        return Markup('<time datetime="' + moment.astimezone(UTC).isoformat() + '" title="' + whole + '">' + text + "</time>")  # noqa: S704 - escaped

    def ago(moment: datetime | None) -> str:
        """As in 3 hours ago, in the language of the reader."""
        return "" if moment is None else format_timedelta(moment - now, add_direction=True, locale=locale)

    def moment(value: datetime | None) -> str:
        """Date and time in her zone."""
        return "" if value is None else format_datetime(value.astimezone(zone), "medium", locale=locale)

    def day(value: datetime | None) -> str:
        """A date in her zone."""
        return "" if value is None else format_date(value.astimezone(zone).date(), "long", locale=locale)

    def length(value: timedelta) -> str:
        """A length of time, to the second: 90 minutes are no 2 hours."""
        counts, rest = list[str](), value
        for unit, name in _UNITS:
            count, rest = divmod(rest, unit)
            counts += [format_unit(count, name, locale=locale)] if count else []
        return " ".join(counts) or format_unit(0, _UNITS[-1][1], locale=locale)

    return {"when": when, "ago": ago, "moment": moment, "day": day, "length": length, "number": _numbers(locale)}


def _numbers(locale: Locale) -> Callable[[float], str]:
    """Numbers with the marks of a language; a page shows few of them many times."""
    return lru_cache(maxsize=1_000)(lambda value: format_decimal(value, locale=locale))


def page(request: Request, visitor: Visitor | None, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page or a part of one. `is_part` in the template is true where only a part was asked for (htmx)."""
    house = request.app.state.context
    language = language_of(request, visitor)
    zone = visitor.reader.time_zone if visitor is not None else "UTC"
    shared = _times(zone, language, house.now()) | {
        "visitor": visitor,
        "person": None if visitor is None else visitor.person,
        "reader": None if visitor is None else visitor.reader,
        "home": "" if visitor is None else visitor.home,
        "language": language,
        "title": house.title,
        "path": request.url.path,
        "query": request.query_params,
        "has_instruments": bool(house.dispatcher.instruments),
        "object_name": lambda message: object_name(message, house.dispatcher.instruments),
        "is_part": "hx-request" in request.headers,
        "now": house.now(),
    }
    text = environment(language, titles_of(house.agents)).get_template(template).render(shared | values)
    headers = {"Cache-Control": "private, no-store", "Vary": "HX-Request, Accept-Language, Accept-Encoding, Sec-Fetch-Site"}
    if may_pack(request):
        return HTMLResponse(pack(text), status, headers=headers | {"Content-Encoding": "gzip"})
    return HTMLResponse(text, status, headers=headers)


def notice(request: Request, visitor: Visitor | None, text: str, *, kind: str = "success", status: int = 200, undo: str = "") -> Response:
    """A notice in the corner, for htmx; `undo` is where the change is taken back."""
    answer = page(request, visitor, "parts/notice.html", status, text=text, kind=kind, undo=undo)
    answer.headers["HX-Retarget"] = "#toasts"
    answer.headers["HX-Reswap"] = "beforeend"
    return answer
