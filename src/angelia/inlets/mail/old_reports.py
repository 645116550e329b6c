"""Reports of failure in words only (qmail, Exim, old sendmail, Exchange), from before RFC 3464 or in spite of it. Pure, and never surprised.

They come to a return path that we signed for one delivery, so it is known which mail failed; what is read here is whether it failed for good.
"""

import html
import re
from email.message import Message as Mail

from angelia.inlets.mail.reading import decoded_subject, is_away, text_of
from angelia.planning.bounces import Bounce
from angelia.rendering.text import one_line

MOST_READ = 20_000  # characters: what failed stands before the copy of the mail
_DAEMONS = ("mailer-daemon", "postmaster", "mailerdaemon", "mdaemon", "microsoftexchange")
_COPY = re.compile(
    r"^-+ ?(?:below this line is a copy|this is a copy of (?:the|your) message|(?:original|unsent|returned) message (?:follows|below)|"
    r"original message|message header follows|исходное сообщение)",
    re.IGNORECASE | re.MULTILINE,
)
_WAITS = re.compile(
    r"transient non-fatal errors|warning message only|do not need to resend|(?:will|to) (?:be retried|keep trying|continue to try)|"
    r"has not yet been delivered|has been delayed|noch nicht zugestellt|пока не доставлено",
    re.IGNORECASE,
)
_DELAY = re.compile(r"\bdelay(?:ed)?\b|^warning: could not send|verzögert|задерж", re.IGNORECASE)
_STATUS = re.compile(r"(?<![\d.])([45]\.\d{1,3}\.\d{1,3})(?![\d.]*\d)")
_CODE = re.compile(r"(?<![\d.:-])([45][0-7]\d)(?=[ -])")
_UNKNOWN = re.compile(
    r"(?:user|recipient|mailbox|address|account)(?: is| was)?(?: not|n.t be)? (?:unknown|found|recogni[sz]ed|listed)|(?:unknown|invalid|no such|no) "
    r"(?:local )?(?:user|recipient|mailbox|account|address)|does(?: not|n.t) exist|no mailbox here|name is not recogni[sz]ed|"
    r"(?:couldn.t|wasn.t|could not be|was not) (?:be )?found|unbekannter? (?:benutzer|empfänger)|не (?:найден|существует)",
    re.IGNORECASE,
)
_FULL = re.compile(r"quota|mailbox (?:is )?full|over(?: |-)?(?:quota|storage)|too many messages|переполнен", re.IGNORECASE)
_POLICY = re.compile(r"spam|block(?:ed|list)|blacklist|policy|reputation|denied|not (?:permitted|allowed|authori[sz]ed)", re.IGNORECASE)
_TAG = re.compile(r"<[a-z/!][^<>]{0,300}>", re.IGNORECASE)
_LINE_ENDS = re.compile(r"<(?:br|/p|/div|/tr|/li|/h\d)\b[^<>]{0,100}>", re.IGNORECASE)


def old_report_in(mail: Mail, sender: str | None) -> Bounce | None:
    """That a mail failed, as far as the words tell; None for delays, receipts, absence notes, and what nobody's mail server sent.

    `sender` is that of the envelope, None where it is not known. What names no reason that we know counts as passing: an address ends only
    after failures on several days.
    """
    is_of_another_kind = mail.get_content_type() == "multipart/report" and mail.get_param("report-type", "delivery-status") != "delivery-status"
    if is_of_another_kind or not _is_from_a_server(mail, sender) or _DELAY.search(decoded_subject(mail)):
        return None
    text = _words(mail)
    if _WAITS.search(text):
        return None
    status, at = _status(text)
    return Bounce(status, one_line(_line_at(text, at), 200) or status)


def _is_from_a_server(mail: Mail, sender: str | None) -> bool:
    """A report has the null sender; so have absence notes, which say so, or come from somebody."""
    has_null_sender = sender == "" or text_of(mail, "Return-Path") == "<>"
    if not has_null_sender and sender is not None:
        return False
    return is_from_a_daemon(mail) or (has_null_sender and not is_away(mail))


def is_from_a_daemon(mail: Mail) -> bool:
    """Does its head say that a mail server wrote it?"""
    author = re.sub(r"[^a-z@-]", "", text_of(mail, "From").lower())
    return "X-Failed-Recipients" in mail or any(name in author for name in _DAEMONS)


def _status(text: str) -> tuple[str, int]:
    """A status as RFC 3463 writes it, and where in the text its reason stands: a failure for good counts before the tries that led there."""
    found = sorted(_STATUS.finditer(text), key=lambda one: one.group()[0] == "4")
    if found:
        return found[0].group(1), found[0].start()
    for pattern, status in ((_FULL, "5.2.2"), (_UNKNOWN, "5.1.1")):
        if (said := pattern.search(text)) is not None:
            return status, said.start()
    codes = sorted(_CODE.finditer(text), key=lambda one: one.group()[0] == "4")
    if not codes:
        return "4.0.0", 0
    code, at = codes[0].group(1), codes[0].start()
    if code in ("550", "551", "553"):
        return "5.7.1" if _POLICY.search(text) else "5.1.0", at
    return {"552": "5.2.2"}.get(code, "5.7.0" if code[0] == "5" else "4.0.0"), at


def _line_at(text: str, at: int) -> str:
    return text[text.rfind("\n", 0, at) + 1 :].partition("\n")[0].strip()


def _words(mail: Mail) -> str:
    """What the server says: the first text, up to the copy of the mail that failed."""
    for part in _leaves(mail):
        if part.get_content_type() not in ("text/plain", "text/html"):
            continue
        raw = part.get_payload(decode=True)
        text = _as_text(raw if isinstance(raw, bytes) else b"", str(part.get_content_charset("utf-8")))
        if part.get_content_type() == "text/html":
            text = html.unescape(_TAG.sub("", _LINE_ENDS.sub("\n", text)))
        if text.strip():
            copy = _COPY.search(text)
            return (text[: copy.start()] if copy is not None else text)[:MOST_READ]
    return ""


def _leaves(mail: Mail) -> list[Mail]:
    """The parts that hold no others, not those of a mail that is enclosed."""
    if mail.get_content_type() == "message/rfc822":
        return []
    payload = mail.get_payload()
    if not isinstance(payload, list):
        return [mail]
    return [part for part in payload[:20] if isinstance(part, Mail) and not part.is_multipart()]


def _as_text(raw: bytes, charset: str) -> str:
    try:
        return raw[: 4 * MOST_READ].decode(charset, "replace").replace("\r\n", "\n")
    except LookupError:
        return raw[: 4 * MOST_READ].decode("latin-1").replace("\r\n", "\n")
