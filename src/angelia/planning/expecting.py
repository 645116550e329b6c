"""What is due of an expectation, what a sign makes of it, which messages are signs, and what is told. Pure."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from angelia.model.cron import next_time, parse_cron
from angelia.model.errors import IllegalStep
from angelia.model.expectation import IN_TROUBLE, STEPS, Expectation, ExpectationState, Listening, Moment, Sign, SignKind
from angelia.model.message import HOUSE, Message, Recipient, Sender, Severity
from angelia.model.moments import to_text

_State = ExpectationState
_GOOD = frozenset({SignKind.SUCCESS, SignKind.MESSAGE})
MOST_SAID = 2_000
"""Letters of a ping's text that go into a message."""


def due_at(one: Expectation) -> datetime:
    """When the next sign is expected."""
    if one.every is not None:
        return one.since + one.every
    return next_time(parse_cron(one.cron), one.since, _zone(one.zone))


def awaited_at(one: Expectation) -> datetime | None:
    """The same, None where nothing is waited for."""
    return None if one.is_paused or one.state in IN_TROUBLE else due_at(one)


def alarm_at(one: Expectation) -> datetime | None:
    """When its silence will be told; None where nothing is waited for."""
    due = awaited_at(one)
    if due is None:
        return None
    return (due if one.started_at is None else min(due, one.started_at)) + one.grace


def shown_state(one: Expectation, now: datetime) -> str:
    """As people read it: `paused`; `late` within its grace; else the state."""
    if one.is_paused:
        return "paused"
    return "late" if one.state not in IN_TROUBLE and due_at(one) < now else one.state.label


def after_sign(one: Expectation, sign: Sign) -> Expectation:
    """What it is once the sign was heard. One that came before what is known already changes nothing."""
    if sign.at < (one.seen_at or one.since):
        return one
    heard = replace(one, seen_at=sign.at)
    if sign.kind is SignKind.START:
        return replace(heard, started_at=sign.at)
    if sign.kind in _GOOD:
        heard = replace(heard, since=sign.at)
    if sign.kind is not SignKind.MESSAGE:  # a message says nothing of a run
        heard = replace(heard, started_at=None)
    return heard if one.is_paused else _entered(heard, _State.WELL if sign.kind in _GOOD else _State.FAILED)


def fallen_silent(one: Expectation) -> Expectation:
    """Its time is over."""
    return _entered(replace(one, started_at=None), _State.SILENT)


def begun_anew(one: Expectation, now: datetime) -> Expectation:
    """As if it were made now; what was seen stays known."""
    return replace(_entered(one, _State.WAITING), since=now, started_at=None, is_paused=False)


def _entered(one: Expectation, state: ExpectationState) -> Expectation:
    if state is one.state:
        return one
    if state not in STEPS[one.state]:
        raise IllegalStep(f"an expectation does not go from {one.state.label} to {state.label}")
    return replace(one, state=state)


def is_news(before: ExpectationState, after: ExpectationState) -> bool:
    """Is that change told? The beginning of trouble is, what it becomes, and its end."""
    return before is not after and (after in IN_TROUBLE or (before in IN_TROUBLE and after is _State.WELL))


class Listeners:
    """Finds the expectations that a message is a sign for. By source or by object most are left out without a look at them."""

    def __init__(self, listening: Iterable[Listening] = ()) -> None:
        self._by_source: dict[str, list[Listening]] = {}
        self._by_object: dict[str, list[Listening]] = {}
        self._others: list[Listening] = []
        self._is_empty = True
        for one in listening:
            self._is_empty = False
            if one.source:
                self._by_source.setdefault(one.source, []).append(one)
            elif one.object:
                self._by_object.setdefault(one.object, []).append(one)
            else:
                self._others.append(one)

    def hearing(self, message: Message) -> Collection[int]:
        """Ids. A restricted message is a sign for those alone who may see it: else they would learn that there was one."""
        if self._is_empty or message.source == HOUSE:
            return ()
        near = (*self._by_source.get(message.source, ()), *self._by_object.get(message.object, ()), *self._others)
        return [one.expectation_id for one in near if _is_for(one, message)]


def _is_for(one: Listening, message: Message) -> bool:
    if one.object and one.object != message.object:
        return False
    if one.type and one.type != message.type and not message.type.startswith(f"{one.type}."):
        return False
    return message.readers is None or not one.readers.isdisjoint(message.readers)


def news_of(one: Expectation, moment: Moment, owner: str, base_url: str) -> Message:
    """What those concerned are told. It is theirs alone: a follower of the object has no part in it."""
    recipients = [Recipient(owner, reason="you expect it"), *(Recipient(to, reason="told of an expectation") for to in one.to if to != owner)]
    subject, body = _words(one, moment)
    is_trouble = moment.after in IN_TROUBLE
    return Message(
        message_id=0,
        source=HOUSE,
        type=f"{HOUSE}.expectation.{moment.after.label}",
        received_at=moment.at,
        occurred_at=moment.at,
        sender=Sender(HOUSE, "Angelia"),
        recipients=tuple(recipients),
        severity=one.severity if is_trouble else Severity.NORMAL,
        has_own_severity=True,
        subject=subject[:255],
        body=body,
        object=one.object or f"expectation/{one.expectation_id}",
        object_url=f"{base_url}/expectations/{one.expectation_id}",
        thread=f"expectation {one.expectation_id}",
        supersedes=f"expectation {one.expectation_id}",
        params={"expectation": str(one.expectation_id), "state": moment.after.label},
        is_restricted=True,
    )


def _words(one: Expectation, moment: Moment) -> tuple[str, str]:
    expected = f"It is expected {rhythm_text(one)}, and may be {exact_text(one.grace)} late."
    if moment.after is _State.SILENT:
        lasts = length_text(moment.at - moment.since)
        if one.seen_at is None:
            return f"{one.title} has not spoken yet, for {lasts}", f"Nothing was heard since {to_text(moment.since)}. {expected}"
        subject = f"{one.title} has been silent for {lasts}"
        last = "" if one.seen_at == moment.since else f" The last sign of any kind came at {to_text(one.seen_at)}."
        return subject, f"The last good sign came at {to_text(moment.since)}.{last} {expected}"
    said = f"\n\n{moment.text[-MOST_SAID:]}" if moment.text else ""
    took = f" It took {length_text(moment.took)}." if moment.took is not None else ""
    if moment.after is _State.FAILED:
        code = f" with exit code {moment.exit_code}" if moment.exit_code is not None else ""
        return f"{one.title} failed", f"It said so itself{code}, at {to_text(moment.at)}.{took} {expected}{said}"
    was = "silent" if moment.before is _State.SILENT else "failing"
    since = f"Before that it was last well at {to_text(moment.since)}."
    return f"{one.title} is well again", f"It spoke at {to_text(moment.at)}, after it had been {was}.{took} {since}{said}"


def rhythm_text(one: Expectation) -> str:
    """`every 24 hours`, or `at 0 3 * * * (Europe/Berlin)`."""
    return f"every {exact_text(one.every)}" if one.every is not None else f"at {one.cron} ({one.zone})"


_DAY, _HOUR, _MINUTE, _SECOND = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
_UNITS = ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute"), (_SECOND, "second"))


def length_text(length: timedelta) -> str:
    """In the largest unit of which there are two at least: `26 hours`, `3 days 4 hours`, `1 minute`, `45 seconds`."""
    unit, name = next(((unit, name) for unit, name in _UNITS if length >= 2 * unit or length == unit < _DAY), _UNITS[-1])
    count, rest = divmod(length, unit)
    hours = f" {_counted(rest // _HOUR, 'hour')}" if unit == _DAY and rest >= _HOUR else ""
    return _counted(count, name) + hours


def exact_text(length: timedelta) -> str:
    """In the largest unit that divides it, and of which there are two at least: `26 hours`, `90 minutes`, `150 minutes`."""
    fit = (pair for pair in _UNITS if not length % pair[0] and (length >= 2 * pair[0] or length == pair[0] < _DAY))
    unit, name = next(fit, _UNITS[-1])
    return _counted(length // unit, name)


def _counted(count: int, name: str) -> str:
    return f"{count} {name}" if count == 1 else f"{count} {name}s"


def length_code(length: timedelta) -> str:
    """As it is written in documents: `1d`, `26h`, `90m`."""
    unit, name = next((unit, name) for unit, name in _UNITS if not length % unit)
    return f"{length // unit}{name[0]}"


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # a machine that no longer knows it
        return ZoneInfo("UTC")
