"""Foreign text made fit: for one line, for a page of text, for HTML."""

import html
import importlib
import re
import unicodedata
from functools import cache
from typing import Any

import nh3

# Control characters, surrogates, line and paragraph separators, and the marks that turn the writing direction.
_UNFIT_IN_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]+")
_UNFIT_IN_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]")
_LINK = re.compile(r"https://[^\s<>\"'`\\^{|}]+[^\s<>\"'`\\^{|}.,;:!?)\]]")
_TAGS = {"a", "b", "strong", "i", "em", "code", "pre", "p", "br", "ul", "ol", "li", "blockquote", "h1", "h2", "h3", "h4", "hr",
         "table", "thead", "tbody", "tr", "th", "td"}  # fmt: skip


@cache
def _markdown() -> Any:
    """Read with the first text that has this form: no start waits for it."""
    kind = importlib.import_module("markdown_it").MarkdownIt
    return kind("commonmark", {"html": False, "linkify": False}).enable("table").disable("image")


def one_line(text: str, length: int = 255) -> str:
    """Fit for a header or a title: no line breaks or controls, spaces joined, cut at a character with an ellipsis."""
    if len(text) <= length and text.isascii() and text.isprintable():  # nearly always: printable ASCII holds no controls
        return " ".join(text.split())
    line = " ".join(_UNFIT_IN_LINE.sub(" ", text).split())
    if len(line) <= length:
        return line
    cut = line[: length - 1]
    while cut and unicodedata.combining(cut[-1]):
        cut = cut[:-1]
    return f"{cut.rstrip()}…"


def shortened(text: str, most: int, encoding: str = "utf-8") -> str:
    """At most `most` bytes in UTF-8, or code units in UTF-16 (`utf-16-le`); cut between characters, with an ellipsis."""
    unit = 2 if encoding == "utf-16-le" else 1
    if len(text.encode(encoding, "replace")) <= most * unit:
        return text
    room = most * unit - len("…".encode(encoding))
    cut = text.encode(encoding, "replace")[:room].decode(encoding, "ignore")
    while cut and unicodedata.combining(cut[-1]):
        cut = cut[:-1]
    return f"{cut.rstrip()}…"


def plain(text: str) -> str:
    r"""Fit for a page of text: line ends are \\n, controls are gone."""
    return _UNFIT_IN_TEXT.sub("", text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n"))


def as_html(body: str, body_format: str) -> str:
    """A body in its format as safe HTML: no script, style, image, form or remote content; only https links."""
    text = plain(body)
    if body_format == "markdown":
        return _clean(_markdown().render(text))
    if body_format == "html":
        return _clean(text)
    return f'<div style="white-space:pre-wrap">{linked(text)}</div>'


def linked(text: str) -> str:
    """Escaped text in which https addresses are links."""
    parts, last = [], 0
    for found in _LINK.finditer(text):
        url = html.escape(found.group(), quote=True)
        parts += [html.escape(text[last : found.start()]), f'<a href="{url}" rel="noopener noreferrer nofollow">{url}</a>']
        last = found.end()
    return "".join([*parts, html.escape(text[last:])])


def _clean(markup: str) -> str:
    return nh3.clean(markup, tags=_TAGS, attributes={"a": {"href"}}, url_schemes={"https"}, link_rel="noopener noreferrer nofollow")


def as_text(body: str, body_format: str) -> str:
    """A body as readable text: Markdown reads well as it is; HTML loses its tags."""
    if body_format != "html":
        return plain(body)
    spaced = re.sub(r"(?i)<(?:br|/p|/li|/tr|/h[1-4]|/div)[^>]*>", "\n", plain(body))
    return html.unescape(nh3.clean(spaced, tags=set())).strip()
