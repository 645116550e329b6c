"""Is a step of a job told by one channel? The decision tables for submissions and ends, and how a message links to the results. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlencode

from angelia.model.claims import NewsWish
from angelia.model.delivery import Reason
from angelia.model.job import Job
from angelia.model.message import HOUSE, Message


class Step(StrEnum):
    """What has become of a job. `OTHER` is all that is never told for itself: waiting, products being made."""

    SUBMITTED = "submitted"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class NewsDefaults:
    """What the site says where a person says nothing; lengths in seconds."""

    on_submit: bool = True
    interval: float = 60.0
    is_end_timed: bool = True
    threshold: float = 1800.0


@dataclass(frozen=True, slots=True)
class Fact:
    """One step of one job for one person by one channel; lengths in seconds.

    `elapsed` runs from the first request, None where that is not known. `since_told` is how long ago the last word on a submission of the
    same job by her left by this channel, whatever the session; one that did not leave is none. Where that follows from what she wants,
    `asked_before` are the times of her earlier requests, the first one first. `is_repeat`: the same end was told.
    `before` is what `elapsed` was at the last word on progress that the house had, `is_edited`: the channel changes what it sent in place.
    """

    step: Step
    elapsed: float | None = None
    since_told: float | None = None
    asked_before: tuple[float, ...] = ()
    is_repeat: bool = False
    before: float = 0.0
    is_edited: bool = False
    is_person_known: bool = True
    has_channel: bool = True


def news(fact: Fact, wish: NewsWish, defaults: NewsDefaults) -> Reason:
    """CHOSEN where it is told; every other Reason says why it is not."""
    if not fact.is_person_known:
        return Reason.NOT_STATED
    if not fact.has_channel:
        return Reason.NO_VERIFIED_ADDRESS
    match fact.step:
        case Step.SUBMITTED:
            return _submitted(fact, wish, defaults)
        case Step.RUNNING:
            return _running(fact, wish, defaults)
        case Step.DONE:
            return _done(fact, wish, defaults)
        case Step.FAILED:
            return _failed(fact, wish)
        case Step.OTHER:
            return Reason.JOB_STEP


def _submitted(fact: Fact, wish: NewsWish, defaults: NewsDefaults) -> Reason:
    if not _said(wish.on_submit, defaults.on_submit):
        return Reason.OFF
    interval = defaults.interval if wish.interval is None else wish.interval
    since_told = _since_told(fact, interval)
    if since_told is not None and since_told <= interval and interval > 0:
        return Reason.JOB_TOLD
    return Reason.CHOSEN


def _since_told(fact: Fact, interval: float) -> float | None:
    """Of her earlier requests the first was told, and then each that came later than an interval after the last that was."""
    told = fact.since_told
    for before in fact.asked_before:
        if told is None or told - before > interval:
            told = before
    return told


def _running(fact: Fact, wish: NewsWish, defaults: NewsDefaults) -> Reason:
    """Where it changes the word that is there, as usual; a word of its own only where she wants that.

    Her interval is counted from the first request, and a word is told when one has begun since the word before: nobody has to write down
    what was told to whom.
    """
    if not _said(wish.on_progress, fact.is_edited and _said(wish.on_submit, defaults.on_submit)):
        return Reason.JOB_STEP if wish.on_progress is None else Reason.OFF
    interval = defaults.interval if wish.interval is None else wish.interval
    if interval > 0 and fact.elapsed is not None and fact.elapsed // interval <= fact.before // interval:
        return Reason.JOB_TOLD
    return Reason.CHOSEN


def _done(fact: Fact, wish: NewsWish, defaults: NewsDefaults) -> Reason:
    if fact.elapsed is None:
        return Reason.JOB_TIME_UNKNOWN
    if fact.is_repeat:
        return Reason.JOB_TOLD
    if not _said(wish.on_done, is_default=True) or not _said(wish.is_end_timed, defaults.is_end_timed):
        return Reason.OFF
    threshold = defaults.threshold if wish.threshold is None else wish.threshold
    return Reason.CHOSEN if fact.elapsed > threshold else Reason.JOB_SHORT


def _failed(fact: Fact, wish: NewsWish) -> Reason:
    """Whatever it took: a failure is for her to act on. But the same failure is told once."""
    if not _said(wish.on_failure, is_default=True):
        return Reason.OFF
    return Reason.JOB_TOLD if fact.is_repeat else Reason.CHOSEN


def _said(said: bool | None, is_default: bool) -> bool:
    return is_default if said is None else said


def is_progress(message: Message) -> bool:
    """Is it the house's own word on a job that goes on? Others say `running` of jobs of theirs, and are told as they wish."""
    return message.source == HOUSE and message.params.get("state") == "running" and message.type.startswith("job.")


def fact_of(message: Message) -> Fact | None:
    """What a message of the dispatcher says; None for all other messages. A second start counts from the first word."""
    state = message.params.get("state")
    if not message.type.startswith("job.") or not isinstance(state, str):
        return None
    if is_progress(message):
        return Fact(Step.RUNNING, _number(message.params.get("seconds")), before=_number(message.params.get("before")) or 0.0)
    if state not in _STEPS:
        return None
    seconds = _number(message.params.get("seconds"))
    begun = _number(message.params.get("submitted_at"))
    asked_before = message.params.get("asked_before", "")
    if isinstance(asked_before, str) and asked_before:
        return Fact(_STEPS[state], elapsed=seconds, asked_before=tuple(float(text) for text in asked_before.split() if _number(text) is not None))
    since = None
    if begun is not None and message.params.get("attempt", "1") != "1" and message.occurred_at is not None:
        since = message.occurred_at.timestamp() - begun
    return Fact(_STEPS[state], elapsed=seconds, since_told=since)


_STEPS = {"queued": Step.SUBMITTED, "done": Step.DONE, "failed": Step.FAILED, "lost": Step.FAILED, "cancelled": Step.FAILED}


def _number(text: object) -> float | None:
    try:
        return float(text) if isinstance(text, str) else None
    except ValueError:
        return None


class Link(StrEnum):
    """How a message leads to the results."""

    WHOLE = "whole"
    """The address with all parameters; it lasts."""
    SHORT = "short"
    """An address that names the job; it lasts as long as the job is kept."""
    NONE = "none"
    """Too long for any mail program: the text says how to ask again."""


LONGEST_WHOLE = 600
LONGEST_SHORT = 2000


_WINDOWS = "scw_list"
_UNSET = "\0"


def request_address(job: Job, given: Mapping[str, Any], products_url: str) -> str:
    """With all parameters, sorted: it asks for the same again. `given` are the values as a caller gives them; None is told as unset."""
    said = {name: _UNSET if value is None else _spelt(name, value) for name, value in given.items()}
    said |= {"instrument": job.instrument, "product_type": job.product, "query_status": "new", "query_type": "Real"}
    said |= {"use_scws": "form_list" if said.get(_WINDOWS) else "no"}
    return f"{products_url}?{urlencode(sorted(said.items()))}"


def _spelt(name: str, value: Any) -> str:
    """As its readers take it apart again: JSON for what is no plain value, a list of science windows with commas."""
    if name == _WINDOWS and isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return json.dumps(value) if isinstance(value, list | tuple | Mapping) else str(value)


def link_line(job: Job, given: Mapping[str, Any], products_url: str, page: str) -> str:
    """How the text of a message leads back to what was asked; "" where the site has no place for requests."""
    if not products_url:
        return ""
    address = request_address(job, given, products_url)
    match link_for(len(address)):
        case Link.WHOLE:
            return f"The same request, for good: {address}"
        case Link.SHORT:
            return f"The request and what came of it, as long as the job is kept: {page}"
        case Link.NONE:
            return "The request is too long for a link: its page shows the parameters, to ask again with."


def link_for(length: int) -> Link:
    """By the number of characters that the address with all parameters has."""
    if length <= LONGEST_WHOLE:
        return Link.WHOLE
    return Link.SHORT if length <= LONGEST_SHORT else Link.NONE
