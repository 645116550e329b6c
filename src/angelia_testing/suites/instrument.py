"""What every instrument promises, as tests: subclass `InstrumentSuite` and give the fixture `bed`."""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from angelia.flow.job_files import collect, taken
from angelia.instrument import CantTell, Done, Failed, Gone, Instrument, Outcome, Progress, Work
from angelia.model.job import Product


@dataclass
class Bed:
    """An instrument and what it is given: `good` values that end well and soon, `slow` ones that take at least ten seconds, `bad` ones
    that fail. `again` makes the instrument that a restarted hub would have. What an instrument can't do is None. `is_pure`: it may be begun
    twice, and a restarted hub begins anew what has just ended.
    """

    instrument: Instrument
    again: Callable[[], Instrument]
    folder: Path
    good: Mapping[str, Any]
    slow: Mapping[str, Any] | None = None
    bad: Mapping[str, Any] | None = None
    is_pure: bool = False
    made: list[Instrument] = field(default_factory=list)
    count: int = 0
    token: str = field(default_factory=lambda: secrets.token_hex(4))

    def work(self, values: Mapping[str, Any]) -> Work:
        """One attempt of a job, with an empty folder."""
        self.count += 1
        folder = self.folder / f"job{self.count}" / "1"
        folder.mkdir(parents=True)
        declaration = self.instrument.declaration
        if getattr(self.instrument, "makes_folders", False):
            folder.rmdir()
        return Work(
            job_id=f"job_{self.count}", key=f"job-{self.token}-{self.count}-1", instrument=declaration.name, product=declaration.products[0].name,
            values=values, folder=folder, limits=declaration.limits,
        )  # fmt: skip

    def restarted(self) -> Instrument:
        """As a hub finds it that was killed and started again."""
        self.made.append(self.again())
        return self.made[-1]

    async def close(self) -> None:
        """All of them."""
        for one in (self.instrument, *self.made):
            await one.close()


async def outcome_of(instrument: Instrument, work: Work, handle: str, seconds: float = 20.0) -> Outcome:
    """What came of it, asked until it has ended."""
    async with asyncio.timeout(seconds):
        while isinstance(said := await instrument.poll(work, handle), Progress):
            await asyncio.sleep(0.02)
    return said


def products_of(work: Work, outcome: Outcome) -> list[Product]:
    """What it made, as the hub takes it."""
    assert isinstance(outcome, Done), outcome
    return collect(work.folder, work.limits) if outcome.contents is None else taken(outcome.contents, work.limits)


def bytes_of(work: Work, product: Product) -> bytes:
    """Of one product."""
    return (work.folder / product.path).read_bytes() if product.content is None else product.content


class InstrumentSuite:
    """The promises of `angelia.instrument.Instrument`."""

    async def test_a_job_ends_with_its_products_listed(self, bed: Bed) -> None:
        work = bed.work(bed.good)
        handle = await bed.instrument.submit(work)
        assert 0 < len(handle) <= 500
        products = products_of(work, await outcome_of(bed.instrument, work, handle))
        assert products
        assert all(product.size and len(product.sha256) == 64 for product in products)

    async def test_an_outcome_is_said_again_also_after_a_restart(self, bed: Bed) -> None:
        work = bed.work(bed.good)
        handle = await bed.instrument.submit(work)
        first = await outcome_of(bed.instrument, work, handle)
        assert await bed.instrument.poll(work, handle) == first
        again = bed.restarted()
        if bed.is_pure:
            await again.submit(work)
        assert products_of(work, await outcome_of(again, work, handle)) == products_of(work, first)

    async def test_a_submit_whose_answer_was_lost_is_found(self, bed: Bed) -> None:
        work = bed.work(bed.good)
        handle = await bed.instrument.submit(work)
        await outcome_of(bed.instrument, work, handle)
        again = bed.restarted()
        found = await again.find(work)
        if found is None and bed.is_pure:
            found = await again.submit(work)
        assert found == handle

    async def test_what_never_started_is_not_found(self, bed: Bed) -> None:
        try:
            assert await bed.restarted().find(bed.work(bed.good)) is None
        except CantTell as error:
            assert error.is_for_good

    async def test_submit_does_not_wait_and_jobs_run_beside_each_other(self, bed: Bed) -> None:
        if bed.slow is None:
            pytest.skip("it has no slow jobs")
        slow, quick = bed.work(bed.slow), bed.work(bed.good)
        async with asyncio.timeout(60):
            handle = await bed.instrument.submit(slow)
            other = await bed.instrument.submit(quick)
            assert isinstance(await outcome_of(bed.instrument, quick, other), Done)
        assert isinstance(await bed.instrument.poll(slow, handle), Progress)
        await bed.instrument.cancel(slow, handle)

    async def test_cancel_ends_it(self, bed: Bed) -> None:
        if bed.slow is None:
            pytest.skip("it has no slow jobs")
        work = bed.work(bed.slow)
        handle = await bed.instrument.submit(work)
        await bed.instrument.cancel(work, handle)
        assert isinstance(await outcome_of(bed.instrument, work, handle), Failed | Gone)
        await bed.instrument.cancel(work, handle)

    async def test_cancel_of_what_nobody_knows_is_no_error(self, bed: Bed) -> None:
        await bed.instrument.cancel(bed.work(bed.good), "")

    async def test_what_fails_fails_alone_and_says_why(self, bed: Bed) -> None:
        if bed.bad is None:
            pytest.skip("its jobs do not fail")
        bad, good = bed.work(bed.bad), bed.work(bed.good)
        handle = await bed.instrument.submit(bad)
        other = await bed.instrument.submit(good)
        failed = await outcome_of(bed.instrument, bad, handle)
        assert isinstance(failed, Failed)
        assert failed.why
        assert isinstance(await outcome_of(bed.instrument, good, other), Done)

    async def test_close_may_come_twice(self, bed: Bed) -> None:
        work = bed.work(bed.good)
        await outcome_of(bed.instrument, work, await bed.instrument.submit(work))
        await bed.instrument.close()
        await bed.instrument.close()
