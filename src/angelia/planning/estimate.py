"""About how many a week: a person's own last days, counted by type and reason, against a scope or a rule."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from angelia.model.message import Message, Severity
from angelia.model.preference import ANY_TYPE, NOW, Rule, Site, Treatment, Wants
from angelia.planning.decision import Profile, Standing
from angelia.planning.resolve import resolve
from angelia.planning.topic import matches


class Count(NamedTuple):
    """So many messages of one type concerned her for the same reasons."""

    type: str
    because: tuple[str, ...]
    messages: int


def roles_in(because: Iterable[str]) -> frozenset[str]:
    """The roles among the reasons of a candidacy."""
    return frozenset(reason[5:] for reason in because if reason.startswith("role:"))


def by_subtree(counts: Iterable[Count]) -> dict[str, int]:
    """Messages by type, each also counted for all of its parents, and for `*`."""
    found: dict[str, int] = {}
    for count in counts:
        key = count.type
        while key:
            found[key] = found.get(key, 0) + count.messages
            key = key.rpartition(".")[0]
        found[ANY_TYPE] = found.get(ANY_TYPE, 0) + count.messages
    return found


def is_countable(rule: Rule) -> bool:
    """Does it test nothing but type and role? Then counts are enough, else it needs the messages."""
    return not rule.when and rule.min_severity is Severity.LOW


def matched_counts(rule: Rule, counts: Iterable[Count]) -> int:
    """How many of them a countable rule matches."""
    return sum(count.messages for count in counts if _is_of(rule.type, count.type) and (not rule.role or rule.role in roles_in(count.because)))


@lru_cache(maxsize=20_000)
def _is_of(pattern: str, key: str) -> bool:
    """Asked for each preset and each of her types; the types of a site are the same for many."""
    if set(pattern) & {"*", "#"} and pattern != ANY_TYPE:
        return matches(pattern, key)
    return pattern in (ANY_TYPE, key) or key.startswith(f"{pattern}.")


def matched_messages(rule: Rule, profile: Profile, history: Iterable[tuple[Message, tuple[str, ...]]]) -> int:
    """How many of her messages (each with its reasons) a rule matches, by the same code that decides."""
    alone: Mapping[str, tuple[Treatment, ...]] = {"web": (Treatment(NOW),)}
    lone = Rule(rule_id="it", type=rule.type, when=rule.when, role=rule.role, min_severity=rule.min_severity, statements=alone)
    bare = Profile(profile.person, Wants(rules=(lone,)), profile.zone, frozenset({"web"}), profile.groups)
    found = 0
    for message, because in history:
        resolution = resolve(message, bare, Standing(roles_in(because)), Site(), message.received_at)
        found += resolution is not None and "rule:it" in resolution.because
    return found
