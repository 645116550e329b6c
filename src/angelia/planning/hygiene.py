"""Which rules ever get a say: a final rule that matches ends the search, so what stands below it may never be reached."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from angelia.model.message import Message
from angelia.model.preference import Rule
from angelia.planning.matching import rule_matches


@dataclass(slots=True)
class Reach:
    """Of the messages looked at: how many a rule matches, how many of them it gets to see, and which rules, by id, end the search before it."""

    matched: int = 0
    reached: int = 0
    hidden_by: Counter[str] = field(default_factory=Counter)

    @property
    def is_never_reached(self) -> bool:
        """True where it matches, but others always come first."""
        return self.matched > 0 and self.reached == 0


def stopped_by(rules: Iterable[Rule], rule_id: str, message: Message, roles: frozenset[str]) -> Rule | None:
    """The final rule that ends the search for this message before this rule is asked; None where it is asked, or is not in the list."""
    found: Rule | None = None
    for rule in rules:
        if rule.rule_id == rule_id:
            return found
        if found is None and rule.is_final and rule_matches(rule, message, roles):
            found = rule
    return None


def reach_of(rules: Sequence[Rule], seen: Iterable[tuple[Message, frozenset[str]]]) -> dict[str, Reach]:
    """By rule id, over messages with her roles on their objects."""
    found = {rule.rule_id: Reach() for rule in rules}
    for message, roles in seen:
        end = ""
        for rule in rules:
            if not rule_matches(rule, message, roles):
                continue
            reach = found[rule.rule_id]
            reach.matched += 1
            if end:
                reach.hidden_by[end] += 1
            else:
                reach.reached += 1
                end = rule.rule_id if rule.is_final else ""
    return found
