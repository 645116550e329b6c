"""Experiments and their resources, as a testbed reports them: transitions, the table of legal state changes, bodies, routing keys."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any

from angelia.model.errors import Conflict
from angelia.model.message import TYPE_LENGTH
from angelia.model.moments import public_id, to_text, to_us

EXPERIMENT = "experiment"
"""The name of the one compute of an experiment that watches the others."""
TYPES = "bonfire"
"""The subtree of message types below which transitions are told to people."""
_LONGEST_KEY = 255


class ExperimentState(IntEnum):
    """Where an experiment stands. The numbers are stored; never renumber. UNKNOWN: its resources were heard of, or it was met in mid-life."""

    UNKNOWN = 0
    READY = 1
    RUNNING = 2
    STOPPED = 3
    TERMINATED = 4

    @property
    def label(self) -> str:
        """The name as it stands in JSON and routing keys."""
        return self.name.lower()


STATES: Mapping[str, ExperimentState] = {state.label: state for state in ExperimentState if state}

STEPS: Mapping[ExperimentState, frozenset[ExperimentState]] = {
    # Whoever joins late takes the first word for true.
    ExperimentState.UNKNOWN: frozenset(STATES.values()),
    ExperimentState.READY: frozenset({ExperimentState.RUNNING, ExperimentState.TERMINATED}),
    # Deleting goes straight to terminated, from everywhere, and nothing is stopped before.
    ExperimentState.RUNNING: frozenset({ExperimentState.STOPPED, ExperimentState.TERMINATED}),
    ExperimentState.STOPPED: frozenset({ExperimentState.TERMINATED}),
    ExperimentState.TERMINATED: frozenset(),
}


class IllegalTransition(Conflict):
    """The table has no such step. `field` is where the state stands in what was sent. HTTP 409."""

    def __init__(self, text: str, field: str = "state") -> None:
        super().__init__(text)
        self.field = field


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One thing that happened to one object. `path` is its path in the testbed's API, `source` the module or site that says so; `experiment`
    the path of the experiment it belongs to, "" where that was not said; `reporter` whose token it came with.
    """

    at: datetime
    object_type: str
    event_type: str
    path: str
    source: str = ""
    state: str = ""
    substate: str = ""
    group: str = ""
    user: str = ""
    experiment: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    reporter: str = ""

    @property
    def is_of_experiment(self) -> bool:
        """Is it the experiment itself, not one of its resources?"""
        return self.object_type == EXPERIMENT

    @property
    def full_state(self) -> str:
        """`stopped.done`, `stopped` or ""."""
        return f"{self.state}.{self.substate}" if self.substate else self.state

    @property
    def name(self) -> str:
        """What the object is called, "" where that is not said."""
        name = self.data.get("name", "")
        return name if isinstance(name, str) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What is known of one. `key` is the routing key on its exchange, and the secret of its users. `stopped_at` is T0 of the clean-up."""

    path: str
    experiment_id: int = 0
    key: str = field(default="", repr=False)
    state: ExperimentState = ExperimentState.UNKNOWN
    is_created: bool = False
    name: str = ""
    owner: str = ""
    group: str = ""
    reporter: str = ""
    duration: int | None = None
    started_at: datetime | None = None
    stopped_at: datetime | None = None
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Resource:
    """A compute, a network... of an experiment, and what was last said of it."""

    path: str
    object_type: str
    name: str
    state: str
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class StoredTransition:
    """One that was taken: its number gives the order. `experiment` is the one that it belongs to as it is now, None where it belongs to none."""

    number: int
    transition: Transition
    experiment: Experiment | None = None


@dataclass(frozen=True, slots=True)
class CleanUp:
    """How long after the end of its time an experiment's computes are shut down, and how long after that they are destroyed."""

    shutdown_after: timedelta = timedelta(seconds=300)
    destroy_after: timedelta = timedelta(seconds=300)

    def times(self, stopped_at: datetime) -> tuple[datetime, datetime]:
        """When computes are shut down, when they are destroyed."""
        shutdown_at = stopped_at + self.shutdown_after
        return shutdown_at, shutdown_at + self.destroy_after


def target_of(transition: Transition) -> ExperimentState | None:
    """The state that a transition of an experiment leads to; None where it leads nowhere (an update)."""
    if transition.event_type == "delete":
        return ExperimentState.TERMINATED
    if transition.state:
        return STATES.get(transition.state)
    return ExperimentState.READY if transition.event_type == "create" else None


def after(experiment: Experiment, transition: Transition) -> Experiment:
    """The experiment after one of its own transitions; IllegalTransition where the table has no such step.

    A state that is reported again changes nothing, and a create that comes late fills in what it says and takes no state back: feeds repeat
    themselves, and children overtake their parents.
    """
    target = target_of(transition)
    is_create = transition.event_type == "create"
    if is_create and experiment.is_created:
        raise IllegalTransition(f"{experiment.path} exists already; it is {experiment.state.label}", "eventType")
    is_late = is_create and target is not None and target < experiment.state
    if target is not None and target is not experiment.state and not is_late:
        if target not in STEPS[experiment.state]:
            allowed = ", ".join(state.label for state in sorted(STEPS[experiment.state])) or "nothing"
            raise IllegalTransition(f"{experiment.path} is {experiment.state.label}; what may follow is {allowed}, not {target.label}")
        experiment = _entered(experiment, target, transition.at)
    if is_create or not experiment.is_created:
        experiment = _described(experiment, transition, is_create=is_create)
    return replace(experiment, name=transition.name or experiment.name, changed_at=transition.at)


def _entered(experiment: Experiment, state: ExperimentState, at: datetime) -> Experiment:
    started_at = at if state is ExperimentState.RUNNING else experiment.started_at
    stopped_at = at if state is ExperimentState.STOPPED else experiment.stopped_at
    return replace(experiment, state=state, started_at=started_at, stopped_at=stopped_at)


def _described(experiment: Experiment, transition: Transition, *, is_create: bool) -> Experiment:
    """Whose it is says the create; whoever is named before holds the place until then."""
    said = transition.data.get("duration")
    duration = int(said) if isinstance(said, int | float) and not isinstance(said, bool) and 0 <= said < 1e9 else experiment.duration
    return replace(
        experiment,
        is_created=is_create or experiment.is_created,
        owner=(transition.user or experiment.owner) if is_create else (experiment.owner or transition.user),
        group=(transition.group or experiment.group) if is_create else (experiment.group or transition.group),
        reporter=transition.reporter if is_create else experiment.reporter or transition.reporter,
        duration=duration,
    )


# ---- what is published ----------------------------------------------------------------------------------------------------------


def simple_body(transition: Transition) -> dict[str, Any]:
    """The simple form: when, what kind of thing, its new status, its path. What has no state has the kind of event as its status."""
    status = transition.full_state
    if not status and transition.is_of_experiment and (target := target_of(transition)):
        status = target.label
    return {
        "timestamp": _seconds(transition.at),
        "type": transition.object_type,
        "status": status or transition.event_type,
        "path": transition.path,
    }


def detailed_body(transition: Transition, clean_up: CleanUp | None = None) -> dict[str, Any]:
    """The detailed form, with `state` and `substate` where there are any; that of a stopped experiment says what is cleaned up when."""
    body: dict[str, Any] = {
        "timestamp": _seconds(transition.at),
        "objectType": transition.object_type,
        "eventType": transition.event_type,
        "objectId": transition.path,
        "source": transition.source,
        "groupId": transition.group,
        "userId": transition.user,
        "objectData": dict(transition.data),
    }
    if transition.experiment and not transition.is_of_experiment:
        body["objectData"]["experimentId"] = transition.experiment
    body |= {name: value for name, value in (("state", transition.state), ("substate", transition.substate)) if value}
    if clean_up is not None and is_warning(transition):
        shutdown_at, destroyed_at = clean_up.times(transition.at)
        body["objectData"] |= {"shutdownAt": _seconds(shutdown_at), "destroyAt": _seconds(destroyed_at)}
    return body


def is_warning(transition: Transition) -> bool:
    """Is this the event that users act on: the time of their experiment is over, and its resources will go?"""
    return transition.is_of_experiment and target_of(transition) is ExperimentState.STOPPED


def routing_key(transition: Transition) -> str:
    """`<source>.<objectType>.<eventType>[.<state>[.<substate>]]`; the key of AMQP has 255 bytes at most."""
    parts = [transition.source or "unknown", transition.object_type, transition.event_type]
    parts += [transition.full_state] if transition.state else []
    return ".".join(parts)[:_LONGEST_KEY]


def transition_id(number: int) -> str:
    """How the API and the property `message_id` of its events name a transition that was taken."""
    return public_id("trn", number)


def _seconds(moment: datetime) -> int:
    return to_us(moment) // 1_000_000


# ---- what people are told -------------------------------------------------------------------------------------------------------


def message_type(transition: Transition) -> str:
    """`bonfire.experiment.stopped`, `bonfire.compute.stopped.done`, `bonfire.compute.create`."""
    key = f"{TYPES}.{transition.object_type}.{transition.full_state or transition.event_type}".lower()
    return key[:TYPE_LENGTH].rstrip(".")


def told_text(transition: Transition, clean_up: CleanUp) -> tuple[str, str]:
    """Subject and body of the message that tells of a transition."""
    thing = f"{transition.object_type.capitalize()} {transition.name or transition.path}"
    happened = transition.full_state or {"create": "created", "update": "updated", "delete": "deleted"}.get(
        transition.event_type, transition.event_type
    )
    lines = [f"{thing} ({transition.path}): {happened} at {to_text(transition.at)}, says {transition.source or transition.reporter}."]
    if is_warning(transition):
        shutdown_at, destroyed_at = clean_up.times(transition.at)
        lines += [
            f"Its time is over. Its computes are shut down at {to_text(shutdown_at)}, and its resources are destroyed at {to_text(destroyed_at)}: "
            "save what you need before."
        ]
    return f"{thing}: {happened}"[:255], "\n\n".join(lines)
