"""The promises of a directory. Subclass `DirectorySuite` in a test module and give it a fixture `world`."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from angelia.directory import Directory, Failed, Members

ANSWERS_WITHIN = 20.0  # seconds


class World(Protocol):
    """What a suite needs: a directory, and what lies behind it.

    `ids` are the person ids of alice, bob and carol; bob and carol are in the group qa; nobody has the login `nobody`. `tell` settles the roles
    on an object; `fail` and `mend` break and repair the source. `forget` lets what the directory keeps in memory grow old.
    """

    directory: Directory
    ids: Mapping[str, int]

    async def tell(self, ref: str, roles: Mapping[str, Sequence[str]]) -> None: ...

    async def fail(self) -> None: ...

    async def mend(self) -> None: ...

    def forget(self) -> None: ...


class DirectorySuite:
    """Async tests; run them with pytest-asyncio in auto mode."""

    async def test_members(self, world: World) -> None:
        await world.tell("KDE/okular", {"maintainer": ["alice"], "reviewer": ["group:qa", "alice"]})
        answer = await world.directory.relations("KDE/okular")
        alice, bob, carol = (world.ids[login] for login in ("alice", "bob", "carol"))
        assert answer == Members({"maintainer": frozenset({alice}), "reviewer": frozenset({alice, bob, carol})})

    async def test_surely_nobody(self, world: World) -> None:
        assert await world.directory.relations("KDE/unheard-of") == Members({})

    async def test_names_that_nobody_has_hide_no_others(self, world: World) -> None:
        await world.tell("o", {"maintainer": ["nobody", "group:none", "bob"], "watcher": ["nobody"]})
        assert await world.directory.relations("o") == Members({"maintainer": frozenset({world.ids["bob"]})})

    async def test_objects_with_any_name(self, world: World) -> None:
        ref = "a b/ä?x=1&y=%2F#z"
        await world.tell(ref, {"maintainer": ["carol"]})
        assert await world.directory.relations(ref) == Members({"maintainer": frozenset({world.ids["carol"]})})

    async def test_what_changed_is_seen(self, world: World) -> None:
        await world.tell("o", {"maintainer": ["alice"]})
        await world.directory.relations("o")
        await world.tell("o", {"maintainer": ["bob"]})
        await _until(world, "o", Members({"maintainer": frozenset({world.ids["bob"]})}))

    async def test_a_source_that_is_down_is_failed_soon_and_never_nobody(self, world: World) -> None:  # case B9
        await world.tell("o", {"maintainer": ["alice"]})
        await world.fail()
        started = time.monotonic()
        answers = await asyncio.gather(*(world.directory.relations(ref) for ref in ["o", *(f"other/{n}" for n in range(200))]))
        assert all(isinstance(answer, Failed) and answer.why for answer in answers)
        assert time.monotonic() - started < ANSWERS_WITHIN
        await world.mend()
        await _until(world, "o", Members({"maintainer": frozenset({world.ids["alice"]})}))

    async def test_many_at_once_get_the_same_answer(self, world: World) -> None:
        await world.tell("o", {"maintainer": ["alice"]})
        answers = await asyncio.gather(*(world.directory.relations("o") for _ in range(100)))
        assert answers == [Members({"maintainer": frozenset({world.ids["alice"]})})] * 100


async def _until(world: World, ref: str, wanted: Members) -> None:
    """The truth comes soon; until then what is old may be said, or that nothing can be said, but never anything else."""
    deadline = time.monotonic() + ANSWERS_WITHIN
    while (answer := await world.directory.relations(ref)) != wanted:
        assert isinstance(answer, Failed) or any(answer.by_role.values()), "a failure was taken for nobody"
        assert time.monotonic() < deadline
        world.forget()
        await asyncio.sleep(0.02)
