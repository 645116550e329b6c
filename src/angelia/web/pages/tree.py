"""The active types as a tree, cut to what is open: pure, so that five hundred of them stay fast."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from angelia.model.message import ancestry

SMALL = 60
"""A tree of at most so many rows is shown whole."""
MOST_FOUND = 200
MOST_OPEN = 20
"""Subtrees open at a time: they stand in the link of every row, so that a view is all in its URL."""


class Seen(NamedTuple):
    """What is known of one type, or of all below it: last seen, and messages in the last week."""

    last_at: datetime | None
    week: int


class Row(NamedTuple):
    """One visible row. `name` is the last word, or the whole key in a flat list; `is_open` is None where nothing is below it."""

    key: str
    name: str
    depth: int
    is_open: bool | None
    seen: Seen
    is_own: bool


class Tree(NamedTuple):
    """What is shown, and how many there are in all."""

    rows: list[Row]
    found: int
    is_cut: bool


def seen_of(last_seen: Mapping[str, datetime], week: Mapping[str, int], others: Collection[str]) -> dict[str, Seen]:
    """All types with all their parents, in order; `others` are scopes she speaks of without ever having got any."""
    last: dict[str, datetime | None] = {key: None for other in others for key in ancestry(other)}
    for key, at in last_seen.items():
        for scope in ancestry(key):
            known = last.get(scope)
            last[scope] = at if known is None or at > known else known
    return {key: Seen(last[key], week.get(key, 0)) for key in sorted(last, key=lambda key: key.split("."))}


def visible(
    seen: Mapping[str, Seen], own: Collection[str], *, text: str = "", opened: Sequence[str] = (), at: str = "", only_own: bool = False
) -> Tree:
    """The rows to show: all that contain a text as a flat list, or the tree as far as it is open; `at` is always shown."""
    if text or only_own:
        keys = [key for key in seen if text in key and (not only_own or key in own)]
        return Tree([Row(key, key, 0, None, seen[key], key in own) for key in keys[:MOST_FOUND]], len(keys), len(keys) > MOST_FOUND)
    parents = {key.rpartition(".")[0] for key in seen}
    is_small = len(seen) <= SMALL
    on_the_way = set(ancestry(at)[1:]) if at else set()
    open_ones = {key for key in parents if key} if is_small and not opened else {*opened[:MOST_OPEN], *on_the_way}
    rows = []
    for key, what in seen.items():
        above = ancestry(key)[1:]
        if all(scope in open_ones for scope in above):
            is_open = key in open_ones if key in parents else None
            rows.append(Row(key, key.rpartition(".")[2], len(above), is_open, what, key in own))
    return Tree(rows, len(seen), False)


def toggled(tree: Sequence[Row], key: str) -> str:
    """The value of `open` with which this subtree is the other way round; `-` where then nothing is open."""
    now = sorted(row.key for row in tree if row.is_open)
    then = [other for other in now if other != key] if key in now else [key, *now]
    return ",".join(then[:MOST_OPEN]) or "-"
