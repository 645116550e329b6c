"""A digest -> what its templates are given: groups of lines with their links, times and bodies."""

from typing import Any

from markupsafe import Markup

from angelia.agent import Letter
from angelia.model.message import Severity
from angelia.model.moments import public_id
from angelia.planning.digest import Digest, DigestGroup, Line
from angelia.rendering.text import as_html, as_text, one_line
from angelia.rendering.times import moment_text, short_moment
from angelia.rendering.words import filled, words


def digest_values(digest: Digest, letter: Letter) -> dict[str, Any]:
    """`subject`, `lead`, `groups` (each with `title`, `url`, `lines`) and `more`, in her language and zone. A line has `subject`, `url` (of its
    object), `page` (ours, of its newest message), `note`, and in the full form `body` (text lines) and `body_html`.
    """
    reader, schedule = letter.person, letter.delivery.schedule
    said = words(reader.language)
    first = digest.groups[0].lines[0] if digest.groups else None
    called = said.get(f"digest_{schedule}") or filled(said["digest_named"], schedule=schedule)
    told = first.subject if digest.messages == 1 and first is not None else filled(said["digest_messages"], messages=digest.messages)
    since, until = (moment_text(moment, reader.language, reader.time_zone) for moment in (digest.since, digest.until))
    lead = "digest_lead" if digest.messages > 1 else "digest_lead_one"
    return {
        "subject": one_line(f"{called}: {told}"),
        "lead": filled(said[lead], messages=digest.messages, since=since, until=until),
        "groups": [_group(group, letter) for group in digest.groups],
        "more": filled(said["more"], more=digest.more) if digest.more else "",
    }


def _group(group: DigestGroup, letter: Letter) -> dict[str, Any]:
    return {"title": one_line(group.title), "url": _https(group.url), "lines": [_line(line, letter) for line in group.lines]}


def _line(line: Line, letter: Letter) -> dict[str, Any]:
    said = words(letter.person.language)
    last = short_moment(line.last_at, letter.person.language, letter.person.time_zone)
    notes = [said[line.severity.label]] if line.severity >= Severity.HIGH else []
    notes.append(last if line.count == 1 else filled(said["times"], count=line.count, last=last))
    if line.mended:
        notes.append(said["mended"])
    return {
        "subject": one_line(line.subject) or line.type,
        "url": _https(line.url),
        "page": f"{letter.web_url}/{public_id('msg', line.message_id)}" if letter.web_url else "",
        "note": ", ".join(notes),
    } | _body(line)


def _body(line: Line) -> dict[str, Any]:
    """What stands below a line in the full form, as text lines and as HTML; both empty in the short form. A cut is shown by an ellipsis."""
    more = "…" if line.is_cut else ""
    text = as_text(line.body, line.body_format).strip()
    is_markup = line.body_format == "html"  # a cut may fall into a tag, which would swallow what follows
    markup = as_html(line.body if is_markup else line.body + more, line.body_format) + (more if is_markup else "") if line.body else ""
    return {"body": [*(text + more).split("\n")] if text else [], "body_html": Markup(markup)}  # noqa: S704 - cleaned


def _https(url: str) -> str:
    return url if url.startswith("https://") else ""
