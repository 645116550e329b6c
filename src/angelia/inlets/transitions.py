"""Transitions from exchanges: stored as those that are posted, so that they are published and told in the same way."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from angelia import telemetry
from angelia.inlet import Accept
from angelia.inlets.receiving import Outcome, Receiver, Result, check_form
from angelia.model.errors import InvalidInput
from angelia.model.event import Event
from angelia.model.experiment import IllegalTransition, Transition
from angelia.store import ExperimentStore
from angelia.wire.transition_feed import Remark, transition_of

_LATEST = 7_258_118_400  # 2200, as elsewhere


class TransitionReceiver:
    """Takes the transitions among the events of an inlet; what is none goes to `rest`, or is passed over. `source` is their reporter."""

    def __init__(
        self, name: str, source: str, rest: Receiver | None, store: ExperimentStore, now: Callable[[], datetime], wake: Callable[[], None]
    ) -> None:
        self.name = name
        self.now = now
        self._source = source
        self._rest = rest
        self._store = store
        self._wake = wake

    async def take(self, events: Sequence[Event], accept: Accept) -> list[Outcome]:
        """See Receiver: one outcome an event, in order; when it returns, what was taken is durable."""
        outcomes = [Outcome(Result.NOTHING)] * len(events)
        reported: list[tuple[int, Transition]] = []
        others: list[int] = []
        for index, event in enumerate(events):
            said = self._read(event)
            if isinstance(said, Outcome):
                outcomes[index] = said
            elif isinstance(said, Transition):
                reported.append((index, replace(said, reporter=self._source)))
            else:
                others.append(index)
        await self._store_all(reported, outcomes)
        if self._rest is not None and others:
            found = await self._rest.take([events[index] for index in others], accept)
            for index, outcome in zip(others, found, strict=True):
                outcomes[index] = outcome
        own = set(range(len(events))) - (set(others) if self._rest is not None else set())
        for result, count in Counter(outcomes[index].result for index in own).items():
            telemetry.inlet_events.labels(self.name, result.value).inc(count)
        return outcomes

    def _read(self, event: Event) -> Transition | Remark | Outcome | None:
        """An outcome where it can't be read."""
        try:
            check_form(event)
            return transition_of(event.routing_key, event.body, self._said_at(event))
        except InvalidInput as error:
            return Outcome(Result.POISON, f"{error.field}: {error}" if error.field else str(error))
        except Exception as error:  # noqa: BLE001 - one event that breaks the reader must not stop those behind it
            telemetry.log.exception("event_not_read", inlet=self.name, key=event.routing_key)
            return Outcome(Result.POISON, f"it breaks the reader: {type(error).__name__}")

    def _said_at(self, event: Event) -> datetime:
        """For a body without a time the broker's: it is the same when the event comes again, so that a repeat is known."""
        seconds = event.properties.get("timestamp")
        if isinstance(seconds, int) and not isinstance(seconds, bool) and 0 < seconds < _LATEST:
            return datetime.fromtimestamp(seconds, UTC)
        return self.now()

    async def _store_all(self, reported: list[tuple[int, Transition]], outcomes: list[Outcome]) -> None:
        """All at once; one that has no place in the life of its experiment is put aside, and the others are tried again without it."""
        while reported:
            try:
                taken = await self._store.add_transitions([transition for _, transition in reported], self.now())
            except IllegalTransition as error:
                place, _, field = error.field.partition(".")
                index, _ = reported.pop(int(place))
                outcomes[index] = Outcome(Result.POISON, f"{field}: {error}")
            else:
                for (index, _), receipt in zip(reported, taken, strict=True):
                    outcomes[index] = Outcome(Result.TAKEN if receipt.is_new else Result.REPEAT)
                self._wake()
                return
