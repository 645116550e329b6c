"""What goes on until somebody answers: which message, along which chain, and what is next. Pure."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

from angelia.model.message import HOUSE, Message, Severity, ancestry
from angelia.model.preference import ANY_TYPE, Escalation, Site, Until, Wants

PREFIX = "escalate:"
"""`decided_by` of what came this way: with the number of the step, from 1."""


def chain_for(message: Message, wants: Wants, site: Site) -> Escalation | None:
    """How this message goes on for her: the nearest scope speaks, hers before the site's; None where it does not."""
    if message.source == HOUSE or message.is_test or not (wants.escalate or site.escalate):
        return None
    for said in (wants.escalate, site.escalate):
        for scope in (*ancestry(message.type), ANY_TYPE):
            if scope in said:
                chain = said[scope]
                return chain if chain.to and message.severity >= chain.min_severity else None
    return None


def first_step_at(message: Message, chain: Escalation, now: datetime) -> datetime:
    """Nobody can answer before the poster lets it out; what waits in a digest or for the end of quiet hours waits by her own wish, and goes on."""
    return (now if message.not_before is None else max(now, message.not_before)) + chain.after


def plan_text(chain: Escalation) -> str:
    """A chain as it is stored with the message that goes along it: what is changed later is for later messages."""
    values = {"after": chain.after.total_seconds(), "to": list(chain.to), "severity": chain.min_severity.label}
    return json.dumps(values | {"until": chain.until.value, "by_anybody": chain.by_anybody}, separators=(",", ":"), ensure_ascii=False)


def plan_from(text: str) -> Escalation:
    """The chain of a stored text."""
    said = json.loads(text)
    after, severity = timedelta(seconds=said["after"]), Severity.named(said["severity"])
    return Escalation(after, tuple(said["to"]), severity, Until(said["until"]), said["by_anybody"])


def target_of(step: str) -> tuple[str, str]:
    """What a step of a chain names: ("person", login), ("group", name) or ("agent", name)."""
    kind, colon, name = step.partition(":")
    return (kind, name) if colon else ("agent", step)


def remaining(chain: Escalation, step: int) -> Sequence[tuple[int, str]]:
    """The steps from this one on, with their places."""
    return list(enumerate(chain.to))[step:]
