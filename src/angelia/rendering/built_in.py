"""What a message says where the site has no template: so plain, and in so many letters, that a template would take longer than the rest."""

import html
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

Values = Mapping[str, Any]


def _short_text(values: Values) -> str:
    return f"{values['subject']}\n{values['url']}"


def _message_text(values: Values) -> str:
    facts = "\n".join([f"{name}: {value}" for name, value in values["facts"]])
    return f"{values['body']}\n\n{facts}" if values["body"] else facts


def _short_html(values: Values) -> str:
    subject, url = _escaped([values["subject"], values["url"]])
    return f'<p style="margin:0"><a href="{url}">{subject}</a></p>' if url else f'<p style="margin:0">{subject}</p>'


def _message_html(values: Values) -> str:
    """The body is safe HTML already (`text.as_html`), all else is escaped here."""
    facts, body = values["facts"], values["body_html"]
    subject, *words = _escaped([values["subject"], *[word for fact in facts for word in fact]])
    pieces = [f'<h1 style="font-size:18px;line-height:1.35;margin:0 0 12px">{subject}</h1>\n']
    if body:
        assert isinstance(body, Markup)
        pieces.append(f'<div style="margin:0 0 16px">{body}</div>')
    if facts:
        pieces.append('<table role="presentation" cellpadding="0" cellspacing="0" style="border-collapse:collapse;font-size:13px">\n')
        pieces += [_ROW % pair for pair in zip(words[::2], words[1::2], strict=True)]
        pieces.append("</table>")
    return "".join(pieces)


_ROW = '<tr><td style="padding:2px 12px 2px 0;color:#667085;vertical-align:top">%s</td><td style="padding:2px 0">%s</td></tr>\n'


def _escaped(words: Sequence[str]) -> list[str]:
    """All in one go: lines of a letter hold no NUL (`text.one_line`); where one does, each by itself."""
    escaped = html.escape("\0".join(words)).split("\0")
    return escaped if len(escaped) == len(words) else [html.escape(word) for word in words]


TEXTS: Mapping[str, Callable[[Values], str]] = {"short": _short_text, "message": _message_text}
"""By kind of letter."""
HTMLS: Mapping[str, Callable[[Values], str]] = {"short": _short_html, "message": _message_html}
