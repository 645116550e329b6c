"""Letters -> content: subject, text and HTML in the reader's language and zone, with a template for each type or one that shows everything well."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import BaseLoader, FileSystemLoader, Template, TemplateError, nodes, pass_eval_context
from jinja2.exceptions import SecurityError
from jinja2.filters import sync_do_join
from jinja2.nodes import EvalContext
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from angelia import telemetry
from angelia.agent import Letter, Templates
from angelia.model.message import Message, ancestry
from angelia.rendering.built_in import HTMLS, TEXTS
from angelia.rendering.digests import digest_values
from angelia.rendering.text import as_html, as_text, one_line, plain
from angelia.rendering.times import moment_text
from angelia.rendering.words import decided_text, reasons_text, words

MOST_OUTPUT = 1_000_000  # characters of one part; a template that makes more is not used
MOST_TEMPLATE = 64_000
MOST_MARKS = 500


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
    acknowledge: str = ""
    seen: str = ""
    mute: str = ""


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox keeps templates from reaching out; this one also keeps them small."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Never: 'x' * 10**9 is as long as it says, and so is '%999999999d' % 1."""
        raise SecurityError("a template must not multiply")

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Not the methods of a text that make a long one of a short one."""
        return super().is_safe_attribute(obj, attr, value) and not (isinstance(obj, str) and attr in _GROWING)

    def wrap_str_format(self, value: Any) -> Any:
        """No str.format at all."""
        del value


_GROWING = frozenset({"center", "expandtabs", "format", "format_map", "join", "ljust", "replace", "rjust", "translate", "zfill"})
# In a loop or one after the other these double what they hold; in one template of 64,000 characters often enough for any memory.
_DOUBLING = (nodes.AssignBlock, nodes.CallBlock, nodes.FilterBlock, nodes.Macro, nodes.Import, nodes.FromImport, nodes.Include, nodes.Extends)


def _fault(tree: nodes.Template) -> str:
    """What could blow a template up, or ""."""
    if any(True for _ in tree.find_all(_DOUBLING)):
        return "a template has no macros, blocks of text as values, and other files"
    if any(True for kept in tree.find_all((nodes.Assign, nodes.With)) for _ in kept.find_all((nodes.Concat, nodes.Add))):
        return "a template must not put texts together in a variable"
    if any(True for outer in tree.find_all(nodes.For) for inner in outer.find_all(nodes.For) for _ in inner.find_all(nodes.For)):
        return "loops are nested at most two deep"
    return ""


def _environment(loader: BaseLoader | None, *, is_html: bool) -> ImmutableSandboxedEnvironment:
    # Our own templates change with the version only: no look at the files for each mail.
    environment = _Sandbox(loader=loader, autoescape=is_html, trim_blocks=True, lstrip_blocks=True, auto_reload=False)
    # No loop that a template makes by itself can run long; it goes over what the message brings, whose size has limits.
    environment.globals = {"range": lambda *_: ()}
    for name in ("format", "center", "ljust", "rjust", "indent", "wordwrap", "xmlattr", "pprint", "batch", "slice", "replace", "tojson"):
        environment.filters.pop(name, None)
    environment.filters["join"] = _join
    return environment


@pass_eval_context
def _join(context: EvalContext, value: Iterable[Any], d: str = "", attribute: str | int | None = None) -> str:
    """Jinja's own, with a short text between: a body joined by a body is four billion characters."""
    if len(d) > 100:
        raise SecurityError("join takes at most 100 characters")
    joined: str = sync_do_join(context, value, d, attribute)
    return joined


_files = FileSystemLoader(Path(__file__).parent / "templates")
_built_in = {False: _environment(_files, is_html=False), True: _environment(_files, is_html=True)}
_site = {False: _environment(None, is_html=False), True: _environment(None, is_html=True)}


@lru_cache(maxsize=1_000)
def _compiled(source: str, is_html: bool) -> Template:
    # To compile takes a millisecond a mark, with everybody else waiting.
    is_long = len(source) > MOST_TEMPLATE or source.count("{{") + source.count("{%") > MOST_MARKS
    fault = f"a template has at most {MOST_TEMPLATE} characters and {MOST_MARKS} marks" if is_long else _fault(_site[is_html].parse(source))
    if fault:
        raise TemplateError(fault)
    return _site[is_html].from_string(source)


def _made(template: Template, values: Mapping[str, Any]) -> str:
    """What it makes, or TemplateError as soon as that is too much."""
    pieces, size = [], 0
    for piece in template.generate(values):
        pieces.append(piece)
        size += len(piece)
        if size > MOST_OUTPUT:
            raise TemplateError(f"it makes more than {MOST_OUTPUT} characters")
    return "".join(pieces)


def check_template(source: str, *, is_html: bool = False) -> str:
    """What is wrong with a site template, or "": its syntax, its size, arithmetic that could blow it up."""
    try:
        _made(_compiled(source, is_html), _sample())
    except (TemplateError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        return f"the template can't be used: {one_line(str(error))}"
    return ""


def _sample() -> dict[str, object]:
    return {"subject": "", "body": "", "body_html": "", "facts": (), "url": "", "params": {}, "tags": (), "object": "", "type": "",
            "severity": "normal", "sender": "", "time": "", "person": "", "groups": (), "lead": "", "more": ""}  # fmt: skip


def plain_content(letter: Letter, agent: str, templates: Templates) -> Content:
    """Subject and text of a letter, for a medium that shows no HTML: none is made, since that takes as long as all the rest."""
    if letter.message is not None:
        return render_message(letter, agent, letter.delivery.form, templates, has_html=False)
    return render_digest(letter, agent, templates, has_html=False)


def render_message(letter: Letter, agent: str, form: str, templates: Templates, *, has_html: bool = True) -> Content:
    """The content of a letter with a message."""
    message, language, zone, known = letter.message, letter.person.language, letter.person.time_zone, templates()
    assert message is not None
    if not known:
        return _built_in_content(_Same(message), form == "short", language, zone, has_html)
    return _content(message, agent, form, language, zone, known, has_html=has_html)


class _Same:
    """A message that is equal to itself only, for a cache: to compare all that it says would take longer."""

    __slots__ = ("it",)

    def __init__(self, it: Message) -> None:
        self.it = it

    def __hash__(self) -> int:
        return id(self.it)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.it is other.it


@lru_cache(maxsize=50)
def _built_in_content(message: _Same, is_short: bool, language: str, zone: str, has_html: bool) -> Content:
    """Kept for a moment: what goes to many at once says the same to all who read one language in one zone. There is nothing of hers in it."""
    return _content(message.it, "", "short" if is_short else "full", language, zone, {}, has_html=has_html)


def _content(message: Message, agent: str, form: str, language: str, zone: str, templates: Mapping[str, str], *, has_html: bool) -> Content:
    # A template of the site's may show the HTML of a body in any part.
    values = _message_values(message, language, zone, has_html=has_html or bool(templates))
    kind = "short" if form == "short" else "message"
    parts = _parts(message.type, agent, form, language, templates, values)
    subject = one_line(parts.get("subject", "")) or str(values["subject"])
    text = parts.get("text") or TEXTS[kind](values)
    markup = (parts.get("html") or HTMLS[kind](values)) if has_html else ""
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
                made = _made(_compiled(templates[name], part == "html"), values)
            except (TemplateError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
                telemetry.log.error("template_failed", template=name, error=str(error))
                continue
            if made.strip():
                parts[part] = made
                break
    return parts


def _message_values(message: Message, language: str, zone: str, *, has_html: bool) -> dict[str, Any]:
    said = words(language)
    subject = one_line(message.subject) or _made_up_subject(message)
    time = moment_text(message.occurred_at, language, zone)
    sender = one_line(message.sender.name or message.sender.sender_id or message.source, 400)
    facts = [
        (said["object"], _kept_line(message.object, 400)), (said["sender"], sender), (said["time"], _kept_line(time)),
        (said["severity"], said[message.severity.label]), (said["type"], message.type),
    ]  # fmt: skip
    facts += [
        (_kept_line(name, 64), _kept_line(value if isinstance(value, str) else ", ".join(value), 400)) for name, value in message.params.items()
    ]
    if message.tags:
        facts.append((said["tags"], one_line(", ".join(f"{name}={value}" for name, value in message.tags), 400)))
    return {
        "subject": subject,
        "body": as_text(message.body, message.body_format).strip(),
        "body_html": Markup(as_html(message.body, message.body_format)) if message.body and has_html else "",  # noqa: S704 - cleaned
        "facts": [(name, value) for name, value in facts if value],
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


def render_digest(letter: Letter, agent: str, templates: Templates, *, has_html: bool = True) -> Content:
    """The content of a letter with a digest."""
    digest = letter.digest
    assert digest is not None
    values = digest_values(digest, letter)
    parts = _parts("digest", agent, "digest", letter.person.language, templates(), values)
    text = parts.get("text") or _built_in[False].get_template("digest.text.j2").render(values)
    markup = (parts.get("html") or _built_in[True].get_template("digest.html.j2").render(values)) if has_html else ""
    return Content(one_line(parts.get("subject", "")) or values["subject"], text.strip() + "\n", markup)


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
        said["acknowledge"],
        said["seen"],
        said["mute"],
    )


def _kept_line(text: str, length: int = 255) -> str:
    """As `one_line`; the short ones are kept, since names and values of parameters, objects and times are the same in many messages."""
    return _short_line(text, length) if len(text) <= 100 else one_line(text, length)


_short_line = lru_cache(maxsize=5_000)(one_line)
