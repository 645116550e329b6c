"""Letters -> content: subject, text and HTML in the reader's language and zone, with a template for each type or one that shows everything well."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_datetime
from jinja2 import BaseLoader, FileSystemLoader, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from angelia import telemetry
from angelia.agent import Letter
from angelia.model.message import Message, ancestry
from angelia.planning.digest import Digest, Line
from angelia.rendering.text import as_html, as_text, one_line, plain
from angelia.rendering.words import decided_text, filled, reasons_text, words

MOST_OUTPUT = 1_000_000  # characters of one part; a template that makes more is not used
MOST_TEMPLATE = 64_000


@dataclass(frozen=True, slots=True)
class Content:
    """What a letter says. `html` is a safe fragment without frame and footer."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True, slots=True)
class Footer:
    """Why she gets it and how to end it, line by line."""

    why: str
    decided: str
    unsubscribe: str
    open: str


Templates = Callable[[], Mapping[str, str]]
"""The site's own templates: `<type or *>/<agent>/<form>/<language>/<part>` -> source; part is subject, text or html."""


def _environment(loader: BaseLoader | None, *, is_html: bool) -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(loader=loader, autoescape=is_html, trim_blocks=True, lstrip_blocks=True)
    # No loop that a template makes by itself can run long; it goes over what the message brings, whose size has limits.
    environment.globals = {"range": lambda *_: ()}
    for name in ("format", "center", "ljust", "rjust", "indent", "wordwrap", "xmlattr", "pprint"):
        environment.filters.pop(name, None)
    return environment


_files = FileSystemLoader(Path(__file__).parent / "templates")
_built_in = {False: _environment(_files, is_html=False), True: _environment(_files, is_html=True)}
_site = {False: _environment(None, is_html=False), True: _environment(None, is_html=True)}


@lru_cache(maxsize=1_000)
def _compiled(source: str, is_html: bool) -> Template:
    return _site[is_html].from_string(source)


def check_template(source: str, *, is_html: bool = False) -> str:
    """What is wrong with a site template, or "": its syntax, its size, arithmetic that could blow it up."""
    if len(source) > MOST_TEMPLATE:
        return f"a template has at most {MOST_TEMPLATE} characters"
    if any(sign in source.replace("**", "*") for sign in (" * ", "*1", "*'", '*"', ")*", "'*", '"*')):
        return "a template must not multiply"
    try:
        _compiled(source, is_html).render(_sample())
    except (TemplateError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        return f"the template can't be used: {one_line(str(error))}"
    return ""


def _sample() -> dict[str, object]:
    return {"subject": "", "body": "", "body_html": "", "facts": (), "url": "", "params": {}, "tags": (), "object": "", "type": "",
            "severity": "normal", "sender": "", "time": "", "person": "", "groups": (), "lead": "", "more": ""}  # fmt: skip


def render_message(letter: Letter, agent: str, form: str, templates: Templates) -> Content:
    """The content of a letter with a message."""
    message = letter.message
    assert message is not None
    language = letter.person.language
    values = _message_values(message, language, letter.person.time_zone)
    kind = "short" if form == "short" else "message"
    parts = _parts(message.type, agent, form, language, templates(), values)
    subject = one_line(parts.get("subject", "")) or str(values["subject"])
    text = parts.get("text") or _built_in[False].get_template(f"{kind}.text.j2").render(values)
    markup = parts.get("html") or _built_in[True].get_template(f"{kind}.html.j2").render(values)
    return Content(subject, text.strip() + "\n", markup)


def _parts(key: str, agent: str, form: str, language: str, templates: Mapping[str, str], values: dict[str, Any]) -> dict[str, str]:
    """What the site's templates make: the nearest type first, then the nearest language. A broken one is told, and falls back."""
    parts: dict[str, str] = {}
    if not templates:
        return parts
    languages = dict.fromkeys((language, language.partition("-")[0], "en"))
    for part in ("subject", "text", "html"):
        for name in (f"{scope}/{agent}/{form}/{spoken}/{part}" for scope in (*ancestry(key), "*") for spoken in languages):
            if name not in templates:
                continue
            try:
                made = _compiled(templates[name], part == "html").render(values)
            except (TemplateError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
                telemetry.log.error("template_failed", template=name, error=str(error))
                continue
            if made.strip() and len(made) <= MOST_OUTPUT:
                parts[part] = made
                break
    return parts


def _message_values(message: Message, language: str, zone: str) -> dict[str, Any]:
    said = words(language)
    subject = one_line(message.subject) or _made_up_subject(message)
    time = moment_text(message.occurred_at, language, zone)
    facts = [(said["object"], message.object), (said["sender"], message.sender.name or message.sender.sender_id or message.source)]
    facts += [(said["time"], time), (said["severity"], message.severity.label), (said["type"], message.type)]
    facts += [(one_line(name, 64), one_line(value if isinstance(value, str) else ", ".join(value), 400)) for name, value in message.params.items()]
    if message.tags:
        facts.append((said["tags"], one_line(", ".join(f"{name}={value}" for name, value in message.tags), 400)))
    return {
        "subject": subject,
        "body": as_text(message.body, message.body_format).strip(),
        "body_html": Markup(as_html(message.body, message.body_format)) if message.body else "",  # noqa: S704 - cleaned
        "facts": [(name, one_line(value, 400)) for name, value in facts if value],
        "url": message.object_url if message.object_url.startswith("https://") else "",
        "params": dict(message.params),
        "tags": message.tags,
        "object": message.object,
        "type": message.type,
        "severity": message.severity.label,
        "sender": message.sender.name,
        "time": time,
    }


def _made_up_subject(message: Message) -> str:
    first = one_line(plain(message.body).strip().split("\n", 1)[0], 120)
    return first or one_line(f"{message.type}: {message.object}" if message.object else message.type)


def render_digest(letter: Letter, agent: str, templates: Templates) -> Content:
    """The content of a letter with a digest."""
    digest = letter.digest
    assert digest is not None
    language, zone = letter.person.language, letter.person.time_zone
    values = _digest_values(digest, letter.delivery.schedule, language, zone)
    parts = _parts("digest", agent, "digest", language, templates(), values)
    text = parts.get("text") or _built_in[False].get_template("digest.text.j2").render(values)
    markup = parts.get("html") or _built_in[True].get_template("digest.html.j2").render(values)
    return Content(one_line(parts.get("subject", "")) or values["subject"], text.strip() + "\n", markup)


def _digest_values(digest: Digest, schedule: str, language: str, zone: str) -> dict[str, Any]:
    said = words(language)
    first = digest.groups[0].lines[0] if digest.groups else None
    if digest.messages == 1 and first is not None:
        subject = filled(said["digest_subject_one"], schedule=schedule, subject=first.subject)
    else:
        subject = filled(said["digest_subject"], schedule=schedule, messages=digest.messages)
    since, until = (moment_text(moment, language, zone) for moment in (digest.since, digest.until))
    return {
        "subject": one_line(subject),
        "lead": filled(said["digest_lead"], messages=digest.messages, since=since, until=until),
        "groups": [
            {"title": one_line(group.title), "url": _https(group.url), "lines": [_line(line, language, zone) for line in group.lines]}
            for group in digest.groups
        ],
        "more": filled(said["more"], more=digest.more) if digest.more else "",
    }


def _line(line: Line, language: str, zone: str) -> dict[str, Any]:
    said = words(language)
    notes = []
    if line.count > 1:
        notes.append(filled(said["times"], count=line.count, last=moment_text(line.last_at, language, zone)))
    if line.mended:
        notes.append(said["mended"])
    return {"subject": one_line(line.subject) or line.type, "url": _https(line.url), "note": ", ".join(notes)} | _body(line)


def _body(line: Line) -> dict[str, Any]:
    """What stands below a line in the full form, as text lines and as HTML; both empty in the short form. A cut is shown by an ellipsis."""
    more = "…" if line.is_cut else ""
    text = as_text(line.body, line.body_format).strip()
    is_markup = line.body_format == "html"  # a cut may fall into a tag, which would swallow what follows
    markup = as_html(line.body if is_markup else line.body + more, line.body_format) + (more if is_markup else "") if line.body else ""
    return {"body": [*(text + more).split("\n")] if text else [], "body_html": Markup(markup)}  # noqa: S704 - cleaned


def _https(url: str) -> str:
    return url if url.startswith("https://") else ""


def footer_of(letter: Letter) -> Footer:
    """The reasons, the rule or scope that decided, and what ends it."""
    language = letter.person.language
    said = words(language)
    ref = letter.message.object if letter.message is not None else ""
    return Footer(
        one_line(reasons_text(letter.because, ref, language), 2_000),
        one_line(decided_text(letter.decided_by, language), 500),
        said["unsubscribe"],
        said["open"],
    )


def moment_text(moment: datetime, language: str, zone: str) -> str:
    """A time as her language writes it, in her zone, with the zone's name."""
    return format_datetime(moment.astimezone(_zone(zone)), "d MMM yyyy HH:mm z", locale=_locale(language))


@lru_cache(maxsize=256)
def _locale(language: str) -> Locale:
    try:
        return Locale.parse(language, sep="-")
    except (UnknownLocaleError, ValueError):
        return Locale("en")


@lru_cache(maxsize=600)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
