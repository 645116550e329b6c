"""The inbox: what was delivered to be read here."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from angelia.model.message import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxQuery:
    """A view of one inbox. Empty fields do not filter. `tag` is `name=value`. `reason` is `role`, `rule`, `follow`, `to`, `cc` or `group`, or one
    of them with its value (`role:maintainer`). `state`: unread, read, archived, snoozed (put off), back (was put off, and she has not looked since),
    all, or "" for all but archived and snoozed. `seen_by`: the principals of
    the reader as they are now (her login, `group:<name>`): restricted messages for others are left out (promise P14); None looks at no rights.
    `is_by_severity`: what presses most comes first, and of equals the newest; where `is_newest_first` is False it is the other way round. Only
    the newest 20,000 entries are ordered so. In each order `before_id` asks for what stands below that entry, `after_id` for what stands above.
    """

    state: str = ""
    subtree: str = ""
    source: str = ""
    tag: str = ""
    reason: str = ""
    object_ref: str = ""
    thread: str = ""
    min_severity: int = 1
    text: str = ""
    agent: str = "web"
    is_newest_first: bool = True
    is_by_severity: bool = False
    before_id: int | None = None
    after_id: int | None = None
    limit: int = 50
    seen_by: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class InboxItem:
    """One entry: the message as delivered to her, and what she did with it."""

    delivery_id: int
    message: Message
    because: tuple[str, ...]
    delivered_at: datetime
    read_at: datetime | None = None
    archived_at: datetime | None = None
    snoozed_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class InboxPart:
    """A page of a view. `next_id` is the cursor of the page after it, None where there is none. Where few entries fit, a look ends before the page is
    full: then the next one goes on from what was looked at last.
    """

    items: list[InboxItem]
    next_id: int | None = None


@dataclass(frozen=True, slots=True)
class InboxGroup:
    """Entries of a view that share an object, a thread or the value of a tag; `items` are the first of them, `first_id` is where it stands in the
    order of the view.
    """

    key: str
    first_id: int
    total: int
    unread: int
    items: tuple[InboxItem, ...]


@dataclass(frozen=True, slots=True)
class InboxPage:
    """One page of a view with its numbers. `facets`: by `type`, `source`, `severity` and `reason`, how many there would be with that filter
    instead of the view's own of that name. `has_more` and `has_fewer`: is there a page after and before it in the order of the view? `back` is how
    many of all her entries were put off and have come back. `next_id` is the cursor of the page after it, as of an InboxPart.
    """

    groups: tuple[InboxGroup, ...]
    total: int
    unread: int
    facets: Mapping[str, Mapping[str, int]]
    has_more: bool = False
    has_fewer: bool = False
    back: int = 0
    next_id: int | None = None


class InboxStore(Protocol):
    """What was delivered to the pull media, as the person sees it."""

    async def inbox(self, person_id: int, query: InboxQuery) -> list[InboxItem]:
        """A page of the view; InvalidInput where it is ordered by severity and its cursor is no entry of hers."""

    async def inbox_part(self, person_id: int, query: InboxQuery) -> InboxPart:
        """The same, and where the next page begins."""

    async def inbox_page(self, person_id: int, query: InboxQuery, group_by: str = "", shown: int = 3) -> InboxPage:
        """A page with its numbers, of one look: `limit` entries, each a group by itself, or with `group_by` (object, thread, `tag:<name>`) `limit`
        groups with at most `shown` entries each. A message without such a thing is a group by itself; of several tags of a name the first counts.
        The page is the one nearest to its cursor, which is the `first_id` of a group.
        """

    async def inbox_entry(self, person_id: int, delivery_id: int, seen_by: frozenset[str] | None = None) -> InboxItem | None:
        """One entry, if it is hers and she may see it."""

    async def inbox_counts(self, person_id: int, query: InboxQuery, group_by: str = "") -> dict[str, int]:
        """Counts of the view: by type, source, object, thread, severity, reason or `tag:<name>`; "" gives {"unread", "total"}. They are of the first
        20,000 entries in its state; where there are more of them, `is_at_least` is True beside them.
        """

    async def inbox_stamp(self, person_id: int) -> str:
        """Another text once something newer is in her web inbox, or she marked something; cheap to ask."""

    async def newest_in_inbox(self, person_id: int) -> tuple[int, int]:
        """The ids of the newest delivery that ever was in her web inbox, whoever may see it, and of the newest that `purge` removed; 0 for none."""

    async def mark(
        self,
        person_id: int,
        query: InboxQuery,
        delivery_ids: Collection[int] | None,
        change: str,
        now: datetime,
        *,
        is_undoable: bool = True,
        until: datetime | None = None,
    ) -> int:
        """Bulk `read`, `unread`, `archive`, `unarchive`, `snooze` (needs `until`), `unsnooze` of the listed ids that fall in the view, or of the
        whole view, however many they are, part by part; how many changed. The last one that `is_undoable` can be taken back, by its time;
        `unsnooze` can't.
        """

    async def wake_snoozed(self, now: datetime) -> frozenset[int]:
        """What was put off until now or earlier is unread and in the inbox again; whose it is."""

    async def undo_mark(self, person_id: int, marked_at: datetime, now: datetime) -> int | None:
        """Take back her change of that time; how many entries changed, None where it is not the last one. What was marked as unread, or as not
        archived, is read or archived since when it was before.
        """
