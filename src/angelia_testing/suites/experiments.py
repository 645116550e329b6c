"""What every store promises of experiments and their transitions, as tests: subclass, give a fixture `store` (opened, empty)."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from angelia.model.experiment import ExperimentState, IllegalTransition, Transition
from angelia.store import Chore, Store

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
LEASE = timedelta(seconds=60)
RETENTION = timedelta(days=90)
PATH, NODE = "/experiments/1", "/computes/1"


def of_experiment(state: str = "", path: str = PATH, at: datetime = NOW, **more: Any) -> Transition:
    """A transition of an experiment; without a state its create."""
    kind = "state" if state else "create"
    return Transition(at=at, object_type="experiment", event_type=kind, path=path, experiment=path, state=state, **more)


def of_compute(state: str = "", experiment: str = "", path: str = NODE, at: datetime = NOW, **more: Any) -> Transition:
    """A transition of a compute; without a state its create."""
    return Transition(at=at, object_type="compute", event_type="state" if state else "create", path=path, experiment=experiment, state=state, **more)


async def published(store: Store, at: datetime = NOW) -> list[int]:
    """Do the chore of publishing until nothing is left; the numbers in order."""
    numbers: list[int] = []
    while found := await store.claim_transitions(Chore.PUBLISH, 3, LEASE, at):
        numbers += [stored.number for stored in found]
        await store.settle_transitions(Chore.PUBLISH, [stored.number for stored in found])
    return numbers


class ExperimentSuite:
    """Promises of ExperimentStore."""

    async def test_the_experiment_of_a_resource_is_remembered(self, store: Store) -> None:
        taken = await store.add_transitions([of_experiment(user="alice"), of_compute(experiment=PATH, data={"name": "a"})], NOW)
        (later,) = await store.add_transitions([of_compute("stopped", at=NOW + LEASE)], NOW)
        assert later.experiment is not None
        assert later.experiment.path == PATH
        assert later.experiment.key == (taken[0].experiment and taken[0].experiment.key)
        history = await store.transitions_of(later.experiment.experiment_id)
        assert [stored.number for stored in history] == [later.number, taken[1].number, taken[0].number]
        assert history[0].transition.experiment == PATH
        (resource,) = await store.resources_of(later.experiment.experiment_id)
        assert (resource.path, resource.name, resource.state, resource.changed_at) == (NODE, "a", "stopped", NOW + LEASE)

    async def test_what_belongs_to_none_is_kept_all_the_same(self, store: Store) -> None:
        (taken,) = await store.add_transitions([of_compute("stopped")], NOW)
        assert taken.experiment is None
        (stored,) = await store.claim_transitions(Chore.PUBLISH, 10, LEASE, NOW)
        assert (stored.transition, stored.experiment) == (of_compute("stopped"), None)

    async def test_values_come_back_as_they_were(self, store: Store) -> None:
        told = of_experiment(
            "running", source="res-mng", group="g", user="alice", reporter="ci", substate="x", data={"name": "ü", "list": [1, {"a": None}], "f": 1.5}
        )
        await store.add_transitions([told], NOW)
        (stored,) = await store.claim_transitions(Chore.TELL, 10, LEASE, NOW)
        assert stored.transition == told
        assert stored.experiment is not None
        assert (stored.experiment.state, stored.experiment.started_at, stored.experiment.owner) == (ExperimentState.RUNNING, NOW, "alice")
        assert await store.experiment(stored.experiment.experiment_id) == stored.experiment

    async def test_a_repeat_has_its_first_number(self, store: Store) -> None:
        first = (await store.add_transitions([of_experiment(reporter="ci")], NOW))[0]
        again, other = await store.add_transitions([of_experiment(reporter="ci"), of_experiment("running", reporter="ci")], NOW)
        assert (again.number, again.is_new, again.experiment) == (first.number, False, first.experiment)
        assert other.is_new
        assert len(await published(store)) == 2

    async def test_an_illegal_step_changes_nothing(self, store: Store) -> None:
        with pytest.raises(IllegalTransition) as told:
            await store.add_transitions([of_experiment(), of_compute(experiment=PATH), of_experiment("stopped")], NOW)
        assert told.value.field == "2.state"
        assert await store.list_experiments() == []
        assert await published(store) == []

    async def test_keys_are_secrets_of_their_own(self, store: Store) -> None:
        taken = await store.add_transitions([of_experiment(path=f"/experiments/{number}") for number in range(20)], NOW)
        keys = {one.experiment.key for one in taken if one.experiment}
        assert len(keys) == 20
        assert all(len(key) == 20 and int(key, 16) >= 0 for key in keys)

    async def test_one_worker_at_a_time_holds_a_chore(self, store: Store) -> None:
        await store.add_transitions([of_experiment(), of_experiment("running")], NOW)
        held = await store.claim_transitions(Chore.PUBLISH, 1, LEASE, NOW)
        assert len(held) == 1
        assert await store.claim_transitions(Chore.PUBLISH, 1, LEASE, NOW + LEASE / 2) == []
        assert len(await store.claim_transitions(Chore.TELL, 10, LEASE, NOW)) == 2
        # Its lease is over: another one begins where the first one did.
        assert await store.claim_transitions(Chore.PUBLISH, 1, LEASE, NOW + LEASE) == held
        await store.settle_transitions(Chore.PUBLISH, [])
        assert await store.claim_transitions(Chore.PUBLISH, 1, LEASE, NOW + LEASE) == held

    async def test_a_clock_that_went_back_holds_no_chore_for_long(self, store: Store) -> None:
        await store.add_transitions([of_experiment()], NOW)
        assert await store.claim_transitions(Chore.PUBLISH, 1, LEASE, NOW + timedelta(days=3))
        assert await store.claim_transitions(Chore.PUBLISH, 1, LEASE, NOW)

    async def test_the_only_worker_needs_not_wait(self, store: Store) -> None:
        await store.add_transitions([of_experiment()], NOW)
        assert await store.claim_transitions(Chore.PUBLISH, 1, LEASE, NOW)
        await store.release_leases()
        assert await store.claim_transitions(Chore.PUBLISH, 1, LEASE, NOW)

    async def test_numbers_keep_the_order_under_many_reporters(self, store: Store) -> None:
        async def reports(number: int) -> list[int]:
            path = f"/experiments/{number}"
            life = [of_experiment(path=path), of_experiment("running", path), of_experiment("stopped", path), of_experiment("terminated", path)]
            return [(await store.add_transitions([step], NOW))[0].number for step in life]

        lives = await asyncio.gather(*(reports(number) for number in range(8)))
        assert all(life == sorted(life) for life in lives)
        numbers = await published(store)
        assert numbers == sorted(numbers)
        assert len(numbers) == 32

    async def test_views(self, store: Store) -> None:
        await store.add_transitions([of_experiment(user="alice", group="qa", reporter="ci"), of_experiment("running")], NOW)
        await store.add_transitions([of_experiment(path="/experiments/2", user="bob", reporter="other")], NOW)
        for query, paths in (
            ({}, ["/experiments/2", PATH]),
            ({"login": "alice"}, [PATH]),
            ({"login": "carol"}, []),
            ({"login": "carol", "groups": {"qa"}}, [PATH]),
            ({"reporter": "other"}, ["/experiments/2"]),
            ({"state": ExperimentState.RUNNING}, [PATH]),
            ({"path": "/experiments/2"}, ["/experiments/2"]),
            ({"limit": 1}, ["/experiments/2"]),
        ):
            found = await store.list_experiments(**query)
            assert [one.path for one in found] == paths, query
        newest, oldest = await store.list_experiments()
        assert await store.list_experiments(before_id=newest.experiment_id) == [oldest]

    async def test_what_is_over_is_forgotten_and_what_waits_is_not(self, store: Store) -> None:
        later = NOW + RETENTION + timedelta(days=1)
        await store.add_transitions([of_experiment(), of_compute(experiment=PATH), of_experiment("terminated")], NOW)
        await store.add_transitions([of_experiment(path="/experiments/2"), of_compute("stopped", path="/computes/9")], NOW)
        assert await store.forget_experiments(later, RETENTION, 100) == 0
        await published(store)
        numbers = [stored.number for stored in await store.claim_transitions(Chore.TELL, 100, LEASE, NOW)]
        await store.settle_transitions(Chore.TELL, numbers)
        assert await store.forget_experiments(NOW + RETENTION / 2, RETENTION, 100) == 0
        assert await store.forget_experiments(later, RETENTION, 100) == 1
        assert [one.path for one in await store.list_experiments()] == ["/experiments/2"]
        # One that never said its end is kept longer, and then it goes, too.
        assert await store.forget_experiments(NOW + 5 * RETENTION, RETENTION, 100) == 1
        assert await store.list_experiments() == []
        (taken,) = await store.add_transitions([of_compute("stopped", at=later)], later)
        assert taken.experiment is None
