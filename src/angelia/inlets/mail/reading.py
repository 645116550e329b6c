"""A mail as bytes -> what it is: a report of failure, an answer of a machine, to which addresses it came. Pure, and never surprised."""

import re
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message as Mail
from email.utils import getaddresses
from itertools import islice

from angelia.planning.bounces import Bounce
from angelia.rendering.text import one_line

MOST_ADDRESSES = 50
_CAME_TO = ("Delivered-To", "X-Original-To", "X-Envelope-To", "Envelope-To", "To", "Cc")
_AUTOMATIC = ("X-Autoreply", "X-Autorespond", "X-Autoresponder", "X-Auto-Response", "X-Loop", "List-Id", "X-Angelia-Type", "X-Angelia-Digest")
_BULK = frozenset({"bulk", "junk", "list", "auto_reply", "auto-reply"})
_MACHINES = frozenset({"mailer-daemon", "postmaster", "noreply", "no-reply", "donotreply", "root"})
_AWAY = (
    "automatic reply",
    "auto:",
    "autoreply",
    "auto-reply",
    "out of office",
    "automatische antwort",
    "abwesen",
    "автоответ",
    "автоматический ответ",
)
MOST_QUOTED = 100_000  # bytes of one part
_SIGNED = re.compile(r"[A-Za-z0-9._-]{1,24}\+[A-Za-z0-9]{1,30}-[A-Za-z2-7]{16}@[A-Za-z0-9.-]{1,255}")
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")


def parsed(raw: bytes) -> Mail:
    """The mail; what is broken in it is left as it is."""
    return message_from_bytes(raw)


def has_report(mail: Mail) -> bool:
    """Does a part of it report as RFC 3464 has it, whatever it says?"""
    return mail.get_content_type() == "multipart/report" and any(part.get_content_type() == "message/delivery-status" for part in _parts(mail))


def bounce_in(mail: Mail) -> Bounce | None:
    """That a mail failed for good, as its report (RFC 3464) says; None if this is no such report. Delays and relays are none."""
    if mail.get_content_type() != "multipart/report":
        return None
    for part in _parts(mail):
        if part.get_content_type() != "message/delivery-status":
            continue
        for block in _parts(part):
            if text_of(block, "Action").lower() == "failed":
                return _bounce(block)
    return None


def _bounce(block: Mail) -> Bounce | None:
    found = _STATUS.match(text_of(block, "Status"))
    if found is None or found.group().startswith("2"):
        return None
    why = text_of(block, "Diagnostic-Code") or found.group()
    return Bounce(found.group(), one_line(why, 200))


def is_automatic(mail: Mail, sender: str | None) -> bool:
    """Was it sent by a machine, so that nobody meant it (RFC 3834)? `sender` is that of the envelope, None where it is not known."""
    if sender == "" or text_of(mail, "Return-Path") == "<>":
        return True
    if text_of(mail, "Auto-Submitted").lower().partition(";")[0].strip() not in ("", "no"):
        return True
    if text_of(mail, "Precedence").lower() in _BULK or any(name in mail for name in _AUTOMATIC):
        return True
    if mail.get_content_type() in ("multipart/report", "message/disposition-notification"):
        return True
    authors = [address for _, address in _addresses(mail, ("From",))]
    if not authors or any(author.rpartition("@")[0].lower() in _MACHINES for author in authors):
        return True
    # Words are the last resort: old programs say by nothing else that they answer by themselves.
    return decoded_subject(mail).lower().startswith(_AWAY)


def is_away(mail: Mail) -> bool:
    """Does a program answer in the place of somebody who is away?"""
    if text_of(mail, "Auto-Submitted").lower().partition(";")[0].strip() == "auto-replied" or any(name in mail for name in _AUTOMATIC):
        return True
    return text_of(mail, "Precedence").lower() in _BULK or decoded_subject(mail).lower().startswith(_AWAY)


def decoded_subject(mail: Mail) -> str:
    """As people read it."""
    return _decoded(text_of(mail, "Subject"))


def came_to(mail: Mail) -> list[str]:
    """The addresses of its head that it may have come by, those of the mail server first; at most MOST_ADDRESSES."""
    found = [address for _, address in _addresses(mail, _CAME_TO) if "@" in address]
    return list(dict.fromkeys(found))[:MOST_ADDRESSES]


def quoted_in(mail: Mail) -> list[str]:
    """What may be addresses of ours in the texts and in the copy of a mail that a report carries, in order; at most MOST_ADDRESSES."""
    texts: list[str] = []
    for part in islice(mail.walk(), 50):
        texts += [str(value)[:10_000] for value in part.values()] if part is not mail else []
        raw = None if part.is_multipart() else part.get_payload(decode=True)
        texts += [raw[:MOST_QUOTED].decode("latin-1")] if isinstance(raw, bytes) else []
    return list(dict.fromkeys(found for text in texts for found in _SIGNED.findall(text)))[:MOST_ADDRESSES]


def _addresses(mail: Mail, names: tuple[str, ...]) -> list[tuple[str, str]]:
    texts = [str(value)[:10_000] for name in names for value in mail.get_all(name, [])[:MOST_ADDRESSES]]
    return [pair for text in texts for pair in _pairs(text)]


def _pairs(text: str) -> list[tuple[str, str]]:
    """Of one header by itself: a broken one spoils no other."""
    try:
        return getaddresses([text])
    except RecursionError:  # thousands of brackets
        return []


def _parts(mail: Mail) -> list[Mail]:
    payload = mail.get_payload()
    return [part for part in payload if isinstance(part, Mail)] if isinstance(payload, list) else []


def _decoded(text: str) -> str:
    try:
        return str(make_header(decode_header(text[:1_000])))
    except (HeaderParseError, LookupError, ValueError):
        return text


def text_of(mail: Mail, name: str) -> str:
    """A header, "" where there is none."""
    return str(mail.get(name, "")).strip()
