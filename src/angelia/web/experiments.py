"""Experiments as their owners see them: state, resources, history, and the key that opens their events."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from angelia.model.errors import Forbidden, InvalidInput, NotFound
from angelia.model.experiment import STATES, CleanUp, Experiment, ExperimentState, StoredTransition, detailed_body, transition_id
from angelia.model.moments import public_id, to_text
from angelia.web.access import House, Known
from angelia.web.context import Context
from angelia.web.forms import Limit, number
from angelia.web.paging import PagedRoute, page_of
from angelia.wire.callers import Caller

router = APIRouter(prefix="/api/v1/experiments", tags=["experiments"], route_class=PagedRoute)
Body = dict[str, Any]


@router.get("")
async def list_experiments(
    caller: Known,
    house: House,
    state: str = "",
    path: Annotated[str, Query(max_length=255)] = "",
    after: str = "",
    limit: Limit = 100,
) -> Body:
    """Newest first: hers and those of her groups for a person, those that it reported for a source, all for an administrator."""
    if state and state not in STATES:
        raise InvalidInput(f"a state is one of {', '.join(STATES)}", "state")
    login, groups, reporter = await _whose(caller, house)
    found = await house.store.list_experiments(
        login=login,
        groups=groups,
        reporter=reporter,
        state=STATES.get(state),
        path=path,
        before_id=number("exp", after, "after") if after else None,
        limit=limit + 1,
    )
    items, following = page_of(found, limit, lambda experiment: public_id("exp", experiment.experiment_id))
    return {"items": [_out(experiment, house.clean_up) for experiment in items], "next": following}


@router.get("/{experiment_id}")
async def experiment(experiment_id: str, caller: Known, house: House, after: str = "", limit: Limit = 100) -> Body:
    """One, with its resources and its history, last first. Its key is shown to its owner, to the source that made it, and to administrators."""
    found = await house.store.experiment(number("exp", experiment_id))
    login, groups, reporter = await _whose(caller, house)
    if found is None or not _is_visible(found, login, groups, reporter):
        raise NotFound("there is no such experiment")
    resources = await house.store.resources_of(found.experiment_id)
    stored = await house.store.transitions_of(found.experiment_id, number("trn", after, "after") if after else None, limit + 1)
    history, following = page_of(stored, limit, lambda one: transition_id(one.number))
    shown = _out(found, house.clean_up)
    if caller.is_admin or reporter == found.reporter or (login is not None and login == found.owner):
        shown["key"] = found.key
    return shown | {
        "resources": [
            {"path": item.path, "type": item.object_type, "name": item.name, "state": item.state, "changed_at": to_text(item.changed_at)}
            for item in resources
        ],
        "history": [_entry(one) for one in history],
        "next": following,
    }


async def _whose(caller: Caller, house: Context) -> tuple[str | None, frozenset[str], str | None]:
    """Login, groups and reporter that the caller's view is narrowed to; None does not narrow."""
    if caller.is_admin:
        return None, frozenset(), None
    if caller.source is not None:
        return None, frozenset(), caller.name
    if caller.person is None or not caller.scopes & {"read", "write"}:
        raise Forbidden("this token may not read")
    named = await house.store.names_of(caller.person.person_id)
    return caller.person.login, frozenset(name[6:] for name in named if name.startswith("group:")), None


def _is_visible(found: Experiment, login: str | None, groups: frozenset[str], reporter: str | None) -> bool:
    if reporter is not None:
        return found.reporter == reporter
    return login is None or found.owner == login or found.group in groups


def _out(found: Experiment, clean_up: CleanUp) -> Body:
    shown = {
        "id": public_id("exp", found.experiment_id),
        "path": found.path,
        "name": found.name,
        "state": found.state.label,
        "owner": found.owner,
        "group": found.group,
        "duration": found.duration,
        "started_at": to_text(found.started_at) if found.started_at else None,
        "stopped_at": to_text(found.stopped_at) if found.stopped_at else None,
        "changed_at": to_text(found.changed_at),
    }
    if found.state is ExperimentState.STOPPED and found.stopped_at is not None:
        shutdown_at, destroyed_at = clean_up.times(found.stopped_at)
        shown |= {"shutdown_at": to_text(shutdown_at), "destroy_at": to_text(destroyed_at)}
    return shown


def _entry(stored: StoredTransition) -> Body:
    return {"id": transition_id(stored.number), "at": to_text(stored.transition.at)} | detailed_body(stored.transition)
