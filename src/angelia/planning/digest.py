"""Held deliveries -> one digest: grouped, repeats and superseded states folded, expired ones left out. Pure, and the same for any order of items."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from angelia.model.message import Severity

LINES = 300
MOST_BODY = 2_000
MOST_BODIES = 100_000
"""Characters of one body, and of all bodies of a digest: what comes after has its line, and no body."""
_BROKEN = frozenset({"fail", "failed", "failure", "error", "broken", "down", "unresolvable", "fire", "firing"})
_MENDED = frozenset({"success", "succeeded", "fixed", "ok", "up", "recovered", "resolved"})


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestItem:
    """What is read of a held message. `supersedes` is a key; items with the same one replace each other, newest last."""

    delivery_id: int
    message_id: int
    type: str
    subject: str
    occurred_at: datetime
    object: str = ""
    object_url: str = ""
    collapse_key: str = ""
    supersedes: str = ""
    severity: Severity = Severity.NORMAL
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One line: the newest message of a key, how many there were, and since when. `mended` counts failures that this one made past.

    `body` stands below it, in its `body_format` (see `with_bodies`); `is_cut` where it was longer than MOST_BODY.
    """

    subject: str
    type: str
    severity: Severity
    count: int
    first_at: datetime
    last_at: datetime
    message_id: int
    url: str = ""
    mended: int = 0
    body: str = ""
    body_format: str = "text"
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class DigestGroup:
    """Lines about one object (or, without one, of one type), most pressing first."""

    title: str
    url: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Digest:
    """What a digest says. `messages` counts what it stands for; `more` the lines that no longer fit."""

    groups: tuple[DigestGroup, ...]
    messages: int
    lines: int
    more: int
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Assembled:
    """A digest, or None if nothing is left to say; delivery ids that ended without being in it."""

    digest: Digest | None
    expired: tuple[int, ...]
    superseded: tuple[int, ...]


def assemble(items: Iterable[DigestItem], now: datetime, limit: int = LINES) -> Assembled:
    """Each item is in a line (or behind "and n more"), expired, or superseded: exactly one of these."""
    ordered = sorted(items, key=lambda item: (item.occurred_at, item.message_id, item.delivery_id))
    expired = [item for item in ordered if item.expires_at is not None and item.expires_at <= now]
    gone = {item.delivery_id for item in expired}
    live = [item for item in ordered if item.delivery_id not in gone]
    kept, superseded = _without_superseded(live)
    lines = _lines(kept)
    ends = tuple(item.delivery_id for item in expired), tuple(item.delivery_id for item in superseded)
    if not lines:
        return Assembled(None, *ends)
    shown = sorted(lines, key=lambda titled: _weight(titled[1]))[:limit]
    digest = Digest(
        groups=_groups(shown),
        messages=len(kept),
        lines=len(shown),
        more=len(lines) - len(shown),
        since=min(line.first_at for _, line in lines),
        until=max(line.last_at for _, line in lines),
    )
    return Assembled(digest, *ends)


def with_bodies(digest: Digest, bodies: Mapping[int, tuple[str, str]]) -> Digest:
    """The digest with bodies below its lines: (body, its format) by message id, of those that she wants. The most pressing lines get theirs, until
    all together are too much. Apart from `assemble`, so that of a hundred thousand messages only those with a line need be read whole.
    """
    room, told = MOST_BODIES, dict[Line, Line]()
    for line in sorted((line for group in digest.groups for line in group.lines if line.message_id in bodies), key=_weight):
        body, body_format = bodies[line.message_id]
        head = body[:MOST_BODY].rstrip()
        room -= len(head)
        if room >= 0:
            told[line] = replace(line, body=head, body_format=body_format, is_cut=len(body) > MOST_BODY)
    groups = (replace(group, lines=tuple(told.get(line, line) for line in group.lines)) for group in digest.groups)
    return replace(digest, groups=tuple(groups))


def _without_superseded(items: Sequence[DigestItem]) -> tuple[list[tuple[DigestItem, int]], list[DigestItem]]:
    """The newest of each supersession key with how many broken ones it mended; all others are out of date."""
    newest: dict[str, int] = {}
    for index, item in enumerate(items):
        key = _state_key(item)
        if key and (item.supersedes or _is_mended(item.type)):
            newest[key] = index
    kept: list[tuple[DigestItem, int]] = []
    superseded: list[DigestItem] = []
    mended = dict.fromkeys(newest, 0)
    for index, item in enumerate(items):
        key = _state_key(item)
        if key in newest and index < newest[key]:
            superseded.append(item)
            mended[key] += _is_broken(item.type)
        else:
            kept.append((item, mended[key] if newest.get(key) == index else 0))
    return kept, superseded


def _state_key(item: DigestItem) -> str:
    """The sender's own key, or for pairs such as fail and success: the object and the parent of the type."""
    if item.supersedes:
        return f"={item.supersedes}"
    if item.object and (_is_broken(item.type) or _is_mended(item.type)):
        return f"{item.type.rpartition('.')[0]} {item.object}"
    return ""


def _is_broken(key: str) -> bool:
    return key.rpartition(".")[2] in _BROKEN


def _is_mended(key: str) -> bool:
    return key.rpartition(".")[2] in _MENDED


def _lines(items: Sequence[tuple[DigestItem, int]]) -> list[tuple[str, Line]]:
    """One line a collapse key (per type), with its group's title; the newest item speaks."""
    bundles: dict[tuple[str, str, str], list[tuple[DigestItem, int]]] = {}
    for item, mended in items:
        key = (item.type, item.collapse_key or f"#{item.delivery_id}", item.object)
        bundles.setdefault(key, []).append((item, mended))
    return [(bundle[-1][0].object or bundle[-1][0].type, _line(bundle)) for bundle in bundles.values()]


def _line(bundle: Sequence[tuple[DigestItem, int]]) -> Line:
    first, last = bundle[0][0], bundle[-1][0]
    return Line(
        subject=last.subject,
        type=last.type,
        severity=max(item.severity for item, _ in bundle),
        count=len(bundle),
        first_at=first.occurred_at,
        last_at=last.occurred_at,
        message_id=last.message_id,
        url=last.object_url,
        mended=sum(mended for _, mended in bundle),
    )


def _weight(line: Line) -> tuple[int, float, int]:
    return -line.severity, -line.last_at.timestamp(), line.message_id


def _groups(lines: Sequence[tuple[str, Line]]) -> tuple[DigestGroup, ...]:
    """Groups in the order of their most pressing line; lines by type within a group."""
    groups: dict[str, list[Line]] = {}
    for title, line in lines:
        groups.setdefault(title, []).append(line)
    return tuple(
        DigestGroup(
            title,
            next((line.url for line in members if line.url), ""),
            tuple(sorted(members, key=lambda line: (line.type, -line.severity, -line.last_at.timestamp(), line.message_id))),
        )
        for title, members in groups.items()
    )
