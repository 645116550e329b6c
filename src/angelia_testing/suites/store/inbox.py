"""The inbox: filtered, grouped, searched, marked."""

from typing import Any

import pytest

from angelia.model.delivery import State
from angelia.model.errors import InvalidInput
from angelia.model.message import Recipient, Severity
from angelia.store import InboxQuery, Store
from angelia_testing.suites.store.making import MINUTE, NOW, delivery, planned


class InboxSuite:
    """The promises of `angelia.store.InboxStore`."""

    async def test_the_inbox_filters_counts_and_marks(self, store: Store) -> None:
        web: dict[str, Any] = {"agent": "web", "state": State.DELIVERED, "ended_at": NOW}
        await planned(store, 1, [delivery(11, 1, **web)], subject="okular failed", object="KDE/okular", tags=(("arch", "s390x"),))
        await planned(store, 2, [delivery(12, 2, **web)], kind="wiki.change", body="a page")
        await planned(store, 3, [delivery(13, 3, **web)], kind="obs_build", subject="not below obs")

        async def ids(**filters: Any) -> list[int]:
            return [item.delivery_id for item in await store.inbox(1, InboxQuery(**filters))]

        assert await ids() == [13, 12, 11]
        assert await ids(subtree="obs") == [11]
        assert await ids(text="OKULAR") == [11]
        assert await ids(tag="arch=s390x") == [11]
        assert await ids(object_ref="KDE/okular", state="unread") == [11]
        assert await ids(limit=1, before_id=13) == [12]
        assert await ids(is_newest_first=False, after_id=11) == [12, 13]
        assert await store.inbox_counts(1, InboxQuery()) == {"total": 3, "unread": 3}
        assert await store.inbox_counts(1, InboxQuery(), "type") == {"obs.build.fail": 1, "wiki.change": 1, "obs_build": 1}
        assert await store.mark(1, InboxQuery(subtree="obs"), None, "read", NOW) == 1
        assert await store.mark(1, InboxQuery(subtree="obs"), [12], "archive", NOW) == 0
        assert await store.mark(1, InboxQuery(), [12], "archive", NOW) == 1
        assert await store.mark(2, InboxQuery(), [13], "archive", NOW) == 0
        assert await ids() == [13, 11]
        assert await ids(state="archived") == [12]
        assert (await store.inbox_counts(1, InboxQuery()))["unread"] == 1

    async def test_the_inbox_groups_and_pages(self, store: Store) -> None:
        web: dict[str, Any] = {"agent": "web", "state": State.DELIVERED, "ended_at": NOW}
        for number, about in enumerate(("a", "b", "a", "", "a", ""), 1):
            await planned(store, number, [delivery(10 + number, number, **web)], object=about, kind=f"x.{about or 'none'}")

        async def page(group_by: str = "object", shown: int = 2, **filters: Any) -> tuple[list[tuple[str, list[int]]], bool, bool]:
            found = await store.inbox_page(1, InboxQuery(**filters), group_by, shown)
            return [(group.key, [item.delivery_id for item in group.items]) for group in found.groups], found.has_more, found.has_fewer

        assert await page() == ([("", [16]), ("a", [15, 13]), ("", [14]), ("b", [12])], False, False)
        assert await page(limit=2) == ([("", [16]), ("a", [15, 13])], True, False)
        assert await page(limit=1, before_id=15) == ([("", [14])], True, True)
        assert await page(limit=2, after_id=12) == ([("a", [15, 13]), ("", [14])], True, True)
        assert await page(limit=2, is_newest_first=False, after_id=12) == ([("", [14]), ("", [16])], False, True)
        assert await page("", limit=2, before_id=14) == ([("", [13]), ("", [12])], True, True)
        found = await store.inbox_page(1, InboxQuery(subtree="x.a", min_severity=2))
        assert (found.total, found.unread, found.facets["type"]) == (3, 3, {"x.a": 3, "x.b": 1, "x.none": 2})
        assert found.facets["reason"] == {"to": 3, "role": 3} and found.facets["severity"] == {"normal": 3}
        assert await store.inbox_counts(1, InboxQuery(reason="role:maintainer"), "object") == {"a": 3, "b": 1, "": 2}
        assert (await store.inbox_counts(1, InboxQuery(reason="role:main")))["total"] == 0

    async def test_the_last_page_knows_that_it_is_the_last(self, store: Store) -> None:
        web: dict[str, Any] = {"agent": "web", "state": State.DELIVERED, "ended_at": NOW}
        for number in range(1, 5):
            await planned(store, number, [delivery(10 + number, number, **web)], kind=f"x.k{number % 2}")

        async def part(**filters: Any) -> tuple[list[int], int | None]:
            found = await store.inbox_part(1, InboxQuery(**filters))
            return [item.delivery_id for item in found.items], found.next_id

        assert await part(limit=3) == ([14, 13, 12], 12) and await part(limit=4) == ([14, 13, 12, 11], None)
        assert await part(limit=2, subtree="x.k1") == ([13, 11], None) and await part(limit=1, subtree="x.k1") == ([13], 13)
        assert await part(limit=3, before_id=12) == ([11], None) and await part(before_id=11) == ([], None)
        assert await part(limit=4, is_by_severity=True) == ([14, 13, 12, 11], None)
        found = await store.inbox_page(1, InboxQuery(after_id=14), "object")  # above the newest there is nothing
        assert (found.groups, found.next_id) == ((), None)

    async def test_what_is_taken_back_has_its_old_times(self, store: Store) -> None:
        web: dict[str, Any] = {"agent": "web", "state": State.DELIVERED, "ended_at": NOW}
        for number in (1, 2):
            await planned(store, number, [delivery(10 + number, number, **web)])

        async def read() -> dict[int, Any]:
            return {item.delivery_id: item.read_at for item in await store.inbox(1, InboxQuery(state="all"))}

        await store.mark(1, InboxQuery(), [11], "read", NOW)
        await store.mark(1, InboxQuery(), [12], "read", NOW + MINUTE)
        before = await read()
        assert await store.mark(1, InboxQuery(), None, "unread", NOW + 2 * MINUTE) == 2 and set((await read()).values()) == {None}
        assert await store.undo_mark(1, NOW + 2 * MINUTE, NOW + 3 * MINUTE) == 2
        assert await read() == before == {11: NOW, 12: NOW + MINUTE}

    async def test_the_inbox_is_grouped_by_a_tag(self, store: Store) -> None:  # requirement H-35
        web: dict[str, Any] = {"agent": "web", "state": State.DELIVERED, "ended_at": NOW}
        tags = [(("priority", "4"),), (("priority", "1"), ("priority", "4")), (("other", "4"),), (("priority", "4"), ("arch", "x"))]
        for number, some in enumerate(tags, 1):
            await planned(store, number, [delivery(10 + number, number, **web)], tags=some)
        found = await store.inbox_page(1, InboxQuery(), "tag:priority")
        groups = [(group.key, group.total, [item.delivery_id for item in group.items]) for group in found.groups]
        assert groups == [("4", 2, [14, 11]), ("", 1, [13]), ("1", 1, [12])]

    async def test_the_inbox_is_ordered_by_severity_too(self, store: Store) -> None:
        web: dict[str, Any] = {"agent": "web", "state": State.DELIVERED, "ended_at": NOW}
        for number, severity in enumerate((Severity.HIGH, Severity.LOW, Severity.URGENT, Severity.HIGH, Severity.NORMAL), 1):
            await planned(store, number, [delivery(10 + number, number, **web)], severity=severity, object="a" if number < 4 else "")

        async def page(group_by: str = "", **filters: Any) -> tuple[list[int], bool, bool]:
            found = await store.inbox_page(1, InboxQuery(is_by_severity=True, **filters), group_by)
            return [item.delivery_id for group in found.groups for item in group.items], found.has_more, found.has_fewer

        async def ids(**filters: Any) -> list[int]:
            return [item.delivery_id for item in await store.inbox(1, InboxQuery(is_by_severity=True, **filters))]

        falling = [13, 14, 11, 15, 12]
        for is_newest_first, order, onward, back in ((True, falling, "before_id", "after_id"), (False, falling[::-1], "after_id", "before_id")):
            look: dict[str, Any] = {"is_newest_first": is_newest_first, "limit": 2}
            assert await ids(**look) == order[:2] and await ids(**(look | {onward: order[1]})) == order[2:4]
            assert await page(**look) == (order[:2], True, False)
            assert await page(**(look | {onward: order[1]})) == (order[2:4], True, True)
            assert await page(**(look | {onward: order[3]})) == (order[4:], False, True)
            assert await page(**(look | {back: order[4]})) == (order[2:4], True, True)
        one: dict[str, Any] = {"limit": 1}
        assert await page("object", **one) == ([13, 11, 12], True, False)
        assert await page("object", before_id=13) == ([14, 15], False, True)
        assert await ids(min_severity=Severity.HIGH, state="unread") == [13, 14, 11]
        assert await store.mark(1, InboxQuery(is_by_severity=True, before_id=14), None, "read", NOW) == 3
        assert await ids(state="unread", before_id=11) == []  # a cursor that left the view still has its place
        assert (await store.inbox_counts(1, InboxQuery(is_by_severity=True, after_id=14)))["total"] == 1
        for cursor in (99, 0):
            with pytest.raises(InvalidInput):
                await ids(before_id=cursor)

    async def test_the_inbox_finds_texts_as_readers_mean_them(self, store: Store) -> None:
        web: dict[str, Any] = {"agent": "web", "state": State.DELIVERED, "ended_at": NOW}
        texts = ('say "hi" \\ there', "Stra\u00dfe", "line one\nline two", "\u041f\u0440\u0438\u0432\u0435\u0442", "plain")
        for number, text in enumerate(texts, 1):
            await planned(store, number, [delivery(10 + number, number, **web)], body=text, params={"k": "only-in-data"})

        async def ids(text: str) -> list[int]:
            return [item.delivery_id for item in await store.inbox(1, InboxQuery(text=text))]

        for text, expected in {
            '"HI" \\': [11], "STRASSE": [12], "stra\u00dfe": [12], "one\nLINE": [13], "\u043f\u0440\u0438": [14], "Plain": [15],
            "only-in-data": [], "%": [],
        }.items():  # fmt: skip
            assert await ids(text) == expected, text
            assert await ids(text) == expected, text  # as remembered

    async def test_the_inbox_shows_restricted_ones_to_their_readers(self, store: Store) -> None:
        web: dict[str, Any] = {"agent": "web", "state": State.DELIVERED, "ended_at": NOW}
        await planned(store, 1, [delivery(11, 1, **web)], is_restricted=True, access=("group:qa",))
        await planned(store, 2, [delivery(12, 2, **web)], is_restricted=True, recipients=(Recipient("alice"),))
        await planned(store, 3, [delivery(13, 3, **web)])
        for principals, expected in ((None, [13, 12, 11]), ({"alice"}, [13, 12]), ({"bob", "group:qa"}, [13, 11]), (set[str](), [13])):
            seen_by = None if principals is None else frozenset(principals)
            assert [item.delivery_id for item in await store.inbox(1, InboxQuery(seen_by=seen_by))] == expected
            assert [(await store.inbox_entry(1, number, seen_by)) is not None for number in (13, 12, 11)] == [n in expected for n in (13, 12, 11)]
        assert await store.inbox_entry(2, 13) is None

    async def test_entries_are_snoozed_and_come_back_unread(self, store: Store) -> None:
        web: dict[str, Any] = {"agent": "web", "state": State.DELIVERED, "ended_at": NOW}
        for number in (1, 2, 3):
            await planned(store, number, [delivery(10 + number, number, **web)])

        async def ids(state: str = "") -> list[int]:
            return [item.delivery_id for item in await store.inbox(1, InboxQuery(state=state))]

        await store.mark(1, InboxQuery(), [11], "read", NOW)
        assert await store.mark(1, InboxQuery(), [11, 12], "snooze", NOW, until=NOW + MINUTE) == 2
        assert await store.mark(2, InboxQuery(), [13], "snooze", NOW, until=NOW + MINUTE) == 0
        assert (await ids(), await ids("unread"), await ids("snoozed"), await ids("all")) == ([13], [13], [12, 11], [13, 12, 11])
        assert await store.mark(1, InboxQuery(state="snoozed"), [12], "snooze", NOW, until=NOW + 2 * MINUTE) == 1
        assert [item.snoozed_until for item in await store.inbox(1, InboxQuery(state="snoozed"))] == [NOW + 2 * MINUTE, NOW + MINUTE]
        assert await store.wake_snoozed(NOW) == frozenset()
        assert await store.wake_snoozed(NOW + MINUTE) == {1} and await store.wake_snoozed(NOW + MINUTE) == frozenset()
        assert (await ids(), await ids("unread"), await ids("back")) == ([13, 11], [13, 11], [11])
        assert (await store.inbox_page(1, InboxQuery())).back == 1
        await store.mark(1, InboxQuery(), [11], "read", NOW)
        assert (await ids("back"), (await store.inbox_page(1, InboxQuery())).back) == ([], 0)
        await store.mark(1, InboxQuery(state="all"), [12], "archive", NOW)
        assert await store.wake_snoozed(NOW + 3 * MINUTE) == frozenset() and await ids("archived") == [12]

    async def test_marks_are_taken_back_as_a_whole_and_only_the_last(self, store: Store) -> None:
        web: dict[str, Any] = {"agent": "web", "state": State.DELIVERED, "ended_at": NOW}
        for number in (1, 2, 3):
            await planned(store, number, [delivery(10 + number, number, **web)])
        stamps = {await store.inbox_stamp(1)}

        async def read() -> list[int]:
            return [item.delivery_id for item in await store.inbox(1, InboxQuery(state="read"))]

        assert await store.mark(1, InboxQuery(), [11], "read", NOW) == 1
        stamps.add(await store.inbox_stamp(1))
        assert await store.mark(1, InboxQuery(), None, "read", NOW + MINUTE) == 2
        assert await store.undo_mark(1, NOW, NOW) is None and await store.undo_mark(2, NOW + MINUTE, NOW) is None
        assert await store.mark(1, InboxQuery(), [11], "archive", NOW + 2 * MINUTE, is_undoable=False) == 1
        assert await store.undo_mark(1, NOW + MINUTE, NOW) == 2 and await read() == []
        assert await store.undo_mark(1, NOW + MINUTE, NOW) is None
        stamps.add(await store.inbox_stamp(1))
        assert len(stamps) == 3
        assert [item.delivery_id for item in await store.inbox(1, InboxQuery(state="all"))] == [13, 12, 11]
        with pytest.raises(ValueError, match="odd"):
            await store.mark(1, InboxQuery(), None, "odd", NOW)
