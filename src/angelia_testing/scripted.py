"""An instrument that does what a test says, for what real ones do only on bad days."""

import asyncio
from collections.abc import Callable
from typing import Any

from angelia.instrument import Done, Handle, Outcome, Progress, Work
from angelia.model.declaration import Declaration, DeclaredProduct, Limits, Parameter, ParameterKind
from angelia.products.output import Output


class ScriptedInstrument:
    """`started` counts the starts of each key. `on_submit`, `on_poll` and `on_find` may raise, wait, or answer in place of it; None lets it do
    its work.
    """

    most_at_once = 10
    poll_seconds = 0.02

    def __init__(self, name: str = "scripted", *, is_repeatable: bool = False, limits: Limits | None = None) -> None:
        self.declaration = Declaration(
            name=name,
            title="Scripted",
            parameters=(Parameter("n", ParameterKind.FLOAT, default=0.0),),
            products=(DeclaredProduct("one"), DeclaredProduct("secret", roles=("insider",))),
            limits=limits or Limits(),
            is_repeatable=is_repeatable,
        )
        self.works: dict[str, Work] = {}
        self.started: dict[str, int] = {}
        self.cancelled: list[str] = []
        self.on_submit: Callable[[Work], Any] | None = None
        self.on_poll: Callable[[Work], Any] | None = None
        self.on_find: Callable[[Work], Any] | None = None
        self.is_done = True

    async def submit(self, work: Work) -> Handle:
        """Count, then as the script says."""
        self.works[work.key] = work
        if self.on_submit is not None and (said := self.on_submit(work)) is not None:
            handle: Handle = await _said(said)
            return handle
        self.start(work)
        return f"h-{work.key}"

    def start(self, work: Work) -> None:
        """As its back end would."""
        self.started[work.key] = self.started.get(work.key, 0) + 1

    async def poll(self, work: Work, handle: Handle) -> Progress | Outcome:
        """As the script says, or done as soon as `is_done`."""
        if self.on_poll is not None and (said := self.on_poll(work)) is not None:
            answer: Progress | Outcome = await _said(said)
            return answer
        if not self.is_done:
            return Progress(0.5, "computing")
        out = Output(work.folder)
        out.text("words", "of the script")
        out.close()
        return Done()

    async def cancel(self, work: Work, handle: Handle) -> None:
        """Note it."""
        self.cancelled.append(work.key)

    async def find(self, work: Work) -> Handle | None:
        """What was started."""
        if self.on_find is not None:
            self.on_find(work)
        return f"h-{work.key}" if work.key in self.started else None

    async def close(self) -> None:
        """Nothing is held."""


async def _said(said: Any) -> Any:
    return await said if asyncio.iscoroutine(said) else said
