"""Echo: gives back what it is given, at once and inside the hub; to see that all else works."""

import asyncio

from angelia.instrument import MANIFEST, Done, Gone, Handle, Lent, Outcome, Progress, Work
from angelia.model.declaration import Declaration, DeclaredProduct, Limits, Parameter, ParameterKind, ProductKind
from angelia.products.output import Output

DECLARATION = Declaration(
    name="echo",
    title="Echo",
    help="Gives back what it is given.",
    parameters=(
        Parameter("text", ParameterKind.STRING, default="", label="Text"),
        Parameter("number", ParameterKind.FLOAT, default=0.0, label="Number"),
    ),
    products=(DeclaredProduct("echo", "What was given", kind=ProductKind.JSON),),
    adapter="echo",
    limits=Limits(seconds=60.0, output_bytes=1 << 20, files=2),
    is_repeatable=True,
)


class EchoInstrument:
    """One product, the values as JSON. A job is over when its submit is; that it was is known by its list of products."""

    Settings = None
    declares: Declaration | None = DECLARATION
    most_at_once = 100
    poll_seconds = 1.0

    def __init__(self, declaration: Declaration, settings: None, lent: Lent) -> None:
        self.declaration = declaration

    async def submit(self, work: Work) -> Handle:
        """See Instrument."""
        await asyncio.to_thread(_write, work)
        work.changed()
        return work.key

    async def poll(self, work: Work, handle: Handle) -> Progress | Outcome:
        """See Instrument."""
        return Done() if (work.folder / MANIFEST).is_file() else Gone("it left nothing")

    async def cancel(self, work: Work, handle: Handle) -> None:
        """It is over before anybody can."""

    async def find(self, work: Work) -> Handle | None:
        """See Instrument."""
        return work.key if (work.folder / MANIFEST).is_file() else None

    async def close(self) -> None:
        """It holds nothing."""


def _write(work: Work) -> None:
    out = Output(work.folder)
    out.json("echo", {"product": work.product, "values": dict(work.values)})
    out.close()
