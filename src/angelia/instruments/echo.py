"""Echo: gives back what it is given, at once and inside the hub; to see that all else works."""

from angelia.instrument import MOST_CONTENTS, Done, Handle, Lent, Outcome, Progress, Work
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
    """One product, the values as JSON. Nothing is begun and nothing kept: what a job makes is made when it is asked for."""

    Settings = None
    declares: Declaration | None = DECLARATION
    most_at_once = 100
    poll_seconds = 1.0
    makes_folders = True

    def __init__(self, declaration: Declaration, settings: None, lent: Lent) -> None:
        self.declaration = declaration

    async def submit(self, work: Work) -> Handle:
        """See Instrument."""
        work.changed()
        return work.key

    async def poll(self, work: Work, handle: Handle) -> Progress | Outcome:
        """See Instrument."""
        out = Output(work.folder, MOST_CONTENTS)
        # What is small is no file, and takes a moment; what is not small is rare here.
        out.json("echo", {"product": work.product, "values": dict(work.values)})
        out.close()
        return Done(contents=out.contents)

    async def cancel(self, work: Work, handle: Handle) -> None:
        """It is over before anybody can."""

    async def find(self, work: Work) -> Handle | None:
        """See Instrument."""
        return None  # to begin it again costs nothing, and makes the same

    async def close(self) -> None:
        """It holds nothing."""
