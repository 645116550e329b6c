"""A rule taken apart into the parts of one sentence, in the order in which they are said; whoever shows them says them in the reader's language."""

from dataclasses import dataclass
from enum import StrEnum

from angelia.model.message import Severity
from angelia.model.preference import ANY_TYPE, NOW, OFF, Rule, Treatment


class Said(StrEnum):
    """What a part says. The first ones open the sentence, the four of conditions bear their names."""

    ANYTHING = "anything"
    TYPE = "type"
    PATTERN = "pattern"
    ROLE = "role"
    ONEOF = "oneof"
    NOT = "not"
    CONTAINS = "contains"
    REGEXP = "regexp"
    SEVERITY = "severity"
    OWN = "own"
    NOW = "now"
    OFF = "off"
    DIGEST = "digest"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Part:
    """One part. `name` is a parameter (`project`, `tag.arch`, `message.source`) or an agent; `values` what it is compared with, or a schedule."""

    said: Said
    name: str = ""
    values: tuple[str, ...] = ()
    address: str = ""
    form: str = ""


@dataclass(frozen=True, slots=True)
class Sentence:
    """When all of `whens` is so, all of `does` is done; then she `stops` here, or the next rules are asked too."""

    whens: tuple[Part, ...]
    does: tuple[Part, ...]
    stops: bool


def sentence_of(rule: Rule) -> Sentence:
    """The rule as a sentence. Whether it is switched on is not part of it."""
    whens = [_kind(rule.type)]
    if rule.role:
        whens.append(Part(Said.ROLE, rule.role))
    whens += [Part(Said(condition.kind.value), condition.name, condition.values) for condition in rule.when]
    if rule.min_severity > Severity.LOW:
        whens.append(Part(Said.SEVERITY, values=(rule.min_severity.label,)))
    if rule.includes_own:
        whens.append(Part(Said.OWN))
    does = [_deed(agent, treatment) for agent, treatments in rule.statements.items() for treatment in treatments]
    return Sentence(tuple(whens), tuple(does or [Part(Said.NOTHING)]), rule.is_final)


def _kind(pattern: str) -> Part:
    if pattern in (ANY_TYPE, "#"):
        return Part(Said.ANYTHING)
    return Part(Said.PATTERN if set(pattern) & {"*", "#"} else Said.TYPE, values=(pattern,))


def _deed(agent: str, treatment: Treatment) -> Part:
    if treatment.when == OFF:
        return Part(Said.OFF, agent, address=treatment.address)
    if treatment.when == NOW:
        return Part(Said.NOW, agent, address=treatment.address, form=treatment.form)
    return Part(Said.DIGEST, agent, (treatment.when,), treatment.address, treatment.form)
