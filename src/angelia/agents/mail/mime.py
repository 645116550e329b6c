"""Letters -> RFC 5322 bytes, by hand: what is equal is built once, and no foreign text can add a header.

`email.message.EmailMessage` would take 1.5 ms a mail, and in Python 3.11 lets an encoded word in a subject become a header of its own
(CVE-2024-6923). Here each header value is either printable ASCII without "=?", or encoded by us; at the end the names of all
header lines are compared with those that were meant.
"""

import base64
import binascii
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from hashlib import blake2b
from types import MappingProxyType
from urllib.parse import quote

from angelia.agent import Letter
from angelia.model.message import Attachment
from angelia.model.moments import public_id
from angelia.model.return_path import Verb
from angelia.rendering.render import Content, Footer
from angelia.rendering.text import one_line

MOST_VALUE = 900  # bytes of one header value after encoding; RFC 5322 allows a line of 998
MOST_TAGS = 20
_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,40}\Z")
_NO_FILE_NAME = re.compile(r"[^A-Za-z0-9._-]+")

_CHANGED_ON_THE_WAY = re.compile(rb"(?m)^(\.|F)(?=$|\r|rom )")
_PLAIN, _HTML = (
    f"Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n".encode() for kind in ("plain", "html")
)
_NO_ANSWERS: Mapping[Verb, str] = MappingProxyType({})

Headers = list[tuple[str, str]]


class UnsafeMail(Exception):
    """The headers are not those that were meant: a bug here, and never sent."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A built mail."""

    recipient: str
    raw: bytes


def build(
    letter: Letter, content: Content, footer: Footer, *, sender: str, sender_name: str, domain: str, answers: Mapping[Verb, str] = _NO_ANSWERS
) -> Envelope:
    """The mail of a letter. The same letter gives the same bytes: Date, Message-ID and boundary come from what it is about."""
    assert letter.address is not None
    headers = _headers(letter, content, sender, sender_name, domain, answers)
    offered = _offered(footer, answers)
    boundary = f"=_{public_id('b', letter.delivery.delivery_id)}"
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers]).encode("ascii")
    _verify(lines, [name for name, _ in headers])
    part = f"--{boundary}\r\n".encode()
    text = _quoted(_ended(content.text) + _text_footer(letter, footer, offered))
    markup = _quoted(_ended(content.html) + _html_footer(letter, footer, offered))
    whole = b"".join((
        f'Content-Type: multipart/alternative; boundary="{boundary}"\r\n\r\n'.encode(),
        part, _PLAIN, text, b"\r\n", part, _HTML, _shared(_FRAME_HEAD), markup, _shared(_FRAME_TAIL), b"\r\n", part[:-2], b"--\r\n",
    ))  # fmt: skip
    if letter.message is not None and letter.message.attachment is not None:
        whole = _with_file(whole, letter.message.attachment, f"{boundary}.file")
    return Envelope(letter.address.value, b"".join((lines, b"MIME-Version: 1.0\r\n", whole)))


def _with_file(letter: bytes, attachment: Attachment, boundary: str) -> bytes:
    """Base64: a line of code may be longer than a line of a mail."""
    name = _NO_FILE_NAME.sub("_", attachment.name)[:64] or "attachment"
    kind = f"Content-Type: text/plain; charset=utf-8; name={name}\r\nContent-Disposition: attachment; filename={name}\r\n"
    content = base64.encodebytes(attachment.text.encode("utf-8", "replace")).replace(b"\n", b"\r\n")
    head = f'Content-Type: multipart/mixed; boundary="{boundary}"\r\n\r\n--{boundary}\r\n'
    file = f"\r\n--{boundary}\r\n{kind}Content-Transfer-Encoding: base64\r\n\r\n"
    return head.encode() + letter + file.encode() + content + f"--{boundary}--\r\n".encode()


def _headers(letter: Letter, content: Content, sender: str, sender_name: str, domain: str, answers: Mapping[Verb, str]) -> Headers:
    delivery, message = letter.delivery, letter.message
    assert letter.address is not None
    headers: Headers = [
        ("From", _mailbox(sender_name, sender)),
        ("To", letter.address.value),
        ("Subject", encoded(content.subject)),
        ("Date", _date(message.occurred_at if message is not None else letter.slot_at)),
        ("Message-ID", f"<{public_id('dlv', delivery.delivery_id)}@{domain}>"),
    ]
    if Verb.ACKNOWLEDGE in answers:
        headers.append(("Reply-To", answers[Verb.ACKNOWLEDGE]))
    if message is not None:
        thread = message.thread or message.object
        if thread:
            root = f"<{_digest_of(message.source, thread)}@{domain}>"
            headers += [("In-Reply-To", root), ("References", root)]
        headers.append(("List-Id", f"<{message.type.replace(':', '-').replace('_', '-')}.{domain}>"))
    else:
        headers.append(("List-Id", f"<{_label(delivery.schedule)}digest.{domain}>"))
    headers += [("Auto-Submitted", "auto-generated"), ("Precedence", "bulk")]
    if letter.unsubscribe_url and len(letter.unsubscribe_url) < MOST_VALUE:
        ways = [f"<{letter.unsubscribe_url}>", *(f"<mailto:{answers[verb]}>" for verb in (Verb.UNSUBSCRIBE,) if verb in answers)]
        headers += [("List-Unsubscribe", ",\r\n ".join(ways)), ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")]
    return headers + _own_headers(letter)


def _label(schedule: str) -> str:
    """The name of a schedule as a label of a List-Id, where it can be one."""
    return f"{schedule.replace('_', '-')}." if _TOKEN.match(schedule) else ""


def _own_headers(letter: Letter) -> Headers:
    message = letter.message
    if message is None:
        return [("X-Angelia-Digest", encoded(letter.delivery.schedule)), ("X-Angelia-Rule", encoded(letter.decided_by))]
    headers: Headers = [("X-Angelia-Type", message.type), ("X-Angelia-Severity", message.severity.label)]
    fields = (("Source", message.source), ("Object", message.object), ("Rule", letter.decided_by), ("Reason", ", ".join(letter.because)))
    headers += [(f"X-Angelia-{name}", encoded(value)) for name, value in fields if value]
    tags = [(name, value) for name, value in message.tags if _TOKEN.match(name)]
    headers += [(f"X-Hermes-Tag-{name.title()}", encoded(value)) for name, value in tags[:MOST_TAGS]]
    return headers


def encoded(text: str) -> str:
    """A header value: as it is where plain, else encoded words (RFC 2047) on folded lines. "=?" never survives unencoded."""
    line = one_line(text, MOST_VALUE)
    if line.isascii() and "=?" not in line and len(line) <= 76:
        return line
    if line.isascii() and "=?" not in line and " " in line and max(map(len, line.split(" "))) <= 70:
        return _folded(line.split(" "))
    words, rest = [], line[:220]
    while rest:
        size = 15
        piece = rest[:size]
        while size < len(rest) and len(rest[: size + 1].encode()) <= 42:
            size += 1
            piece = rest[:size]
        while len(piece.encode()) > 42:
            piece = piece[:-1]
        words.append(f"=?utf-8?b?{base64.b64encode(piece.encode()).decode()}?=")
        rest = rest[len(piece) :]
    return "\r\n ".join(words)


def _folded(words: Sequence[str]) -> str:
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + len(word) > 70:
            lines.append(word)
        else:
            lines[-1] += f" {word}"
    return "\r\n ".join(lines)


def _mailbox(name: str, address: str) -> str:
    plain = one_line(name, 64)
    if plain.isascii() and "=?" not in plain:
        escaped = plain.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}" <{address}>'
    return f"{encoded(plain)} <{address}>"


def _date(moment: datetime | None) -> str:
    assert moment is not None
    return _second(moment.replace(microsecond=0))


@lru_cache(maxsize=1_000)
def _second(moment: datetime) -> str:
    return format_datetime(moment.astimezone(UTC))


@lru_cache(maxsize=1_000)
def _digest_of(*parts: str) -> str:
    return "thread." + blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def _verify(lines: bytes, meant: Sequence[str]) -> None:
    found = b":".join([line.partition(b":")[0] for line in lines.split(b"\r\n")[:-1] if line[:1] not in (b" ", b"\t")]).decode("utf-8", "replace")
    if found != ":".join(meant) or b"\0" in lines or not lines.count(b"\r\n") == lines.count(b"\n") == lines.count(b"\r"):
        raise UnsafeMail(f"headers {found} instead of {':'.join(meant)}")


def _ended(text: str) -> str:
    return text if text.endswith("\n") else f"{text}\n"


def _quoted(text: str) -> bytes:
    """Quoted-printable with CRLF, for whole lines of text."""
    quoted = binascii.b2a_qp(text.encode("utf-8", "replace"), istext=True).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    if b"\n." not in quoted and b"\nFrom " not in quoted and not quoted.startswith((b".", b"From ")):
        return quoted
    # RFC 2049 and old relays: a line that is "." or begins "From " is no end and no new mail when its first letter is encoded.
    return _CHANGED_ON_THE_WAY.sub(lambda found: b"=%02X" % found.group(1)[0], quoted)


@lru_cache(maxsize=8)
def _shared(text: str) -> bytes:
    return _quoted(text)


def _offered(footer: Footer, answers: Mapping[Verb, str]) -> list[tuple[str, str]]:
    """Answers that stand in the letter itself, as (words, link); to unsubscribe there is a page, which can take it back."""
    texts = {Verb.ACKNOWLEDGE: footer.acknowledge, Verb.SEEN: footer.seen, Verb.MUTE: footer.mute}
    return [(text, f"mailto:{answers[verb]}?subject={quote(text)}") for verb, text in texts.items() if verb in answers]


def _text_footer(letter: Letter, footer: Footer, offered: Sequence[tuple[str, str]]) -> str:
    lines = ["", "-- ", footer.why, footer.decided]
    if letter.web_url:
        lines.append(f"{footer.open}: {letter.web_url}")
    if letter.unsubscribe_url:
        lines.append(f"{footer.unsubscribe}: {letter.unsubscribe_url}")
    lines += [f"{text}: {link}" for text, link in offered]
    return "\n".join(line for index, line in enumerate(lines) if line or index == 0) + "\n"


def _html_footer(letter: Letter, footer: Footer, offered: Sequence[tuple[str, str]]) -> str:
    lines = [html.escape(line) for line in (footer.why, footer.decided) if line]
    for text, url in ((footer.open, letter.web_url), (footer.unsubscribe, letter.unsubscribe_url), *offered):
        if url:
            lines.append(f'<a href="{html.escape(url, quote=True)}" style="color:#475467">{html.escape(text)}</a>')
    joined = "<br>\n".join(lines)
    return f'<hr style="border:0;border-top:1px solid #d0d5dd;margin:20px 0 8px">\n<p style="font-size:12px;color:#667085;margin:0">{joined}</p>\n'


_FRAME_HEAD = """<!doctype html>
<html><head><meta charset="utf-8"><meta name="color-scheme" content="light dark">
<meta name="viewport" content="width=device-width"></head>
<body style="margin:0;padding:16px">
<div style="max-width:640px;margin:0 auto;font-family:system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;font-size:14px;line-height:1.5">
"""
_FRAME_TAIL = """</div></body></html>
"""
