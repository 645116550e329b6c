"""Dotted patterns (`*` one word, `#` any number), and the index that finds matching patterns."""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from sys import intern

Condition = tuple[str, str]


def matches(pattern: str, key: str) -> bool:
    """AMQP topic matching (AMQP 0-9-1, 3.1.3.3): `a.*` matches `a.b`; `a.#` matches `a`, `a.b`, `a.b.c`."""
    return _match(tuple(pattern.split(".")), tuple(key.split(".")))


@lru_cache(maxsize=4_096)
def _match(pattern: tuple[str, ...], key: tuple[str, ...]) -> bool:
    reachable = {0}
    for word in pattern:
        if word == "#":
            reachable = set(range(min(reachable), len(key) + 1))
        else:
            reachable = {at + 1 for at in reachable if at < len(key) and word in ("*", key[at])}
        if not reachable:
            return False
    return len(key) in reachable


class _Node:
    """One word of the trie: what follows it, and who ends here, without a condition or by it. What is empty is None: most nodes are leaves."""

    __slots__ = ("children", "conditional", "plain")

    def __init__(self) -> None:
        self.children: dict[str, _Node] | None = None
        self.plain: array[int] | None = None
        self.conditional: dict[Condition, array[int]] | None = None

    def is_empty(self) -> bool:
        """Does nothing follow, and nobody end here?"""
        return self.children is None and self.plain is None and self.conditional is None


class PatternIndex:
    """Finds the subscribers whose pattern and condition match: a trie of words with the subscribers in arrays.

    Cost grows with the matches and the depth of the key, not with the number of patterns (benchmarks/matching.py).
    """

    def __init__(self) -> None:
        self._root = _Node()
        self._conditions: dict[Condition, Condition] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, pattern: str, condition: Condition | None, subscriber: int) -> None:
        """Add one; the same again counts again."""
        node = self._root
        for word in pattern.split("."):
            if node.children is None:
                node.children = {}
            following = node.children.get(word)
            if following is None:
                # Words come again in other branches: one text for all.
                following = node.children[intern(word)] = _Node()
            node = following
        if condition is None:
            if node.plain is None:
                node.plain = array("q", (subscriber,))
            else:
                node.plain.append(subscriber)
        else:
            if node.conditional is None:
                node.conditional = {}
            condition = self._conditions.setdefault(condition, condition)
            node.conditional.setdefault(condition, array("q")).append(subscriber)
        self._size += 1

    def discard(self, pattern: str, condition: Condition | None, subscriber: int) -> None:
        """Remove one, if it is there; branches that hold nobody go with it."""
        path = [self._root]
        words = pattern.split(".")
        for word in words:
            following = (path[-1].children or {}).get(word)
            if following is None:
                return
            path.append(following)
        last = path[-1]
        subscribers = last.plain if condition is None else (last.conditional or {}).get(condition)
        if subscribers is None or subscriber not in subscribers:
            return
        subscribers.remove(subscriber)
        self._size -= 1
        if not subscribers:
            self._forget(last, condition)
        for word, parent, node in zip(reversed(words), reversed(path[:-1]), reversed(path[1:]), strict=True):
            if not node.is_empty() or parent.children is None:
                break
            del parent.children[word]
            parent.children = parent.children or None

    def _forget(self, node: _Node, condition: Condition | None) -> None:
        if condition is None:
            node.plain = None
        elif node.conditional is not None:
            del node.conditional[condition]
            node.conditional = node.conditional or None

    def find(self, key: str, params: Mapping[str, str | Sequence[str]]) -> "array[int]":
        """Subscribers whose pattern matches the key and whose condition holds in the parameters."""
        found: array[int] = array("q")
        wanted = list(_pairs(params))
        for node in _ends(self._root, key.split(".")):
            if node.plain is not None:
                found.extend(node.plain)
            if node.conditional is not None:
                for pair in wanted:
                    subscribers = node.conditional.get(pair)
                    if subscribers is not None:
                        found.extend(subscribers)
        return found


def _pairs(params: Mapping[str, str | Sequence[str]]) -> Iterator[Condition]:
    for name, value in params.items():
        if isinstance(value, str):
            yield name, value
        else:
            for item in value:
                yield name, item


def _ends(root: _Node, words: list[str]) -> list[_Node]:
    """The nodes at which a matching pattern ends: all live branches are walked together, each node at most once a word."""
    live = _with_hashes([root])
    for word in words:
        following: list[_Node] = []
        for node, is_hash in live:
            if is_hash:
                following.append(node)
            if node.children is not None:
                for child in (node.children.get(word), node.children.get("*")):
                    if child is not None:
                        following.append(child)
        if not following:
            return []
        live = _with_hashes(following, {id(node) for node, is_hash in live if is_hash})
    return [node for node, _ in live]


def _with_hashes(nodes: list[_Node], hashes: set[int] | frozenset[int] = frozenset()) -> list[tuple[_Node, bool]]:
    """The nodes with their `#` children, which also match no word at all; a `#` node stays live over further words."""
    seen: dict[int, tuple[_Node, bool]] = {}
    stack = [(node, id(node) in hashes) for node in nodes]
    while stack:
        node, is_hash = stack.pop()
        if id(node) in seen:
            continue
        seen[id(node)] = node, is_hash
        child = node.children.get("#") if node.children is not None else None
        if child is not None:
            stack.append((child, True))
    return list(seen.values())
