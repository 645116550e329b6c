"""Contract: what a job runs on (submit, poll, cancel, find)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from angelia.model.declaration import Declaration, Limits
from angelia.model.errors import AngeliaError
from angelia.outbound import Answer, NoAnswer, Outbound, retry_after_of

Handle = str
"""What an instrument calls a job: an opaque text of at most 500 characters, enough to ask for it after a restart."""
MANIFEST = "products.json"
"""The file in a job's folder that lists its products; written last, and whole or not at all."""
MOST_CONTENTS = 65_536
"""Bytes of a job's products that may go without files."""


class NotStarted(AngeliaError):
    """It is certain that the job was not started, and it may work later: the back end is down or full. Seconds until then, if known."""

    def __init__(self, text: str, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class Rejected(AngeliaError):
    """The back end refuses the job for good: another try would be refused as well."""


class CantTell(AngeliaError):
    """The instrument can't say whether the job was ever started, or can't be asked now. `is_for_good`: asking later is of no use."""

    def __init__(self, text: str, *, is_for_good: bool = False) -> None:
        super().__init__(text)
        self.is_for_good = is_for_good


LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers of a back end over HTTP after which the same question may be answered otherwise."""


def submitted(answer: Answer | NoAnswer, who: str) -> Answer:
    """The answer of a back end that took a job; raises what any other answer to a submit means. `who` is what texts call it."""
    if isinstance(answer, NoAnswer):
        if answer.is_forbidden:
            raise Rejected(answer.why)
        # It may have come through: only the back end knows.
        raise CantTell(answer.why)
    if answer.status in (429, 503):
        wait = retry_after_of(answer.headers.get("retry-after", ""))
        raise NotStarted(f"{who} answered {answer.status}", wait.total_seconds() if wait is not None else None)
    if answer.status in LATER:
        raise CantTell(f"{who} answered {answer.status}")
    if not 200 <= answer.status < 300:
        text = answer.body[:200].decode(errors="replace")
        said = "".join(letter if letter.isprintable() else " " for letter in text).strip()
        raise Rejected(f"{who} answered {answer.status}{f': {said}' if said else ''}")
    return answer


@dataclass(frozen=True, slots=True)
class Progress:
    """Not ended. `fraction` is 0 to 1, None where it says nothing; `is_running`: it computes, and does not only wait."""

    fraction: float | None = None
    message: str = ""
    is_running: bool = True


@dataclass(frozen=True, slots=True)
class Done:
    """It ended well, and its products and their manifest are in the folder; or they are `contents`, where they are small: for each what a
    manifest would say of it (`path` is a name without folders), and its bytes, MOST_CONTENTS in all. Then no file need be there.
    """

    message: str = ""
    contents: "Sequence[tuple[Mapping[str, Any], bytes]] | None" = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Failed:
    """It ended without a result. `is_limit`: it went over a limit; `is_crash`: the code broke."""

    why: str
    is_limit: bool = False
    is_crash: bool = False


@dataclass(frozen=True, slots=True)
class Gone:
    """The instrument had it, and knows nothing of it any more."""

    why: str


Outcome = Done | Failed | Gone


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What an instrument is given for one attempt of a job.

    `key` is unique to the attempt and says the same after a restart. `folder` exists and is empty at the submit; products go there. Where
    the instrument makes it by itself, it is not there.
    `callback_url` and `callback_secret` are for this attempt alone. `changed` may be called from the event loop, any number of times: it
    asks for a poll now. It is never a person's token that is handed on.
    """

    job_id: str
    key: str
    instrument: str
    product: str
    values: Mapping[str, Any]
    folder: Path
    limits: Limits
    callback_url: str = ""
    callback_secret: str = field(default="", repr=False)
    owner: str = ""
    attempt: int = 1
    changed: Callable[[], None] = field(default=lambda: None, compare=False)


@dataclass(frozen=True, slots=True)
class Lent:
    """What the house lends to an instrument beside its declaration: the one way out for HTTP requests, and a folder of its own."""

    outbound: Outbound = field(default_factory=Outbound)
    folder: Path = Path()


class Instrument(Protocol):
    """Computes.

    Promises, each a test in `angelia_testing.suites.instrument`:
    - `submit` starts the job once and returns at once. NotStarted: certainly not started, try later. Rejected: never. Anything else that
      it raises leaves open whether the job started.
    - `find` answers by the key what became of a submit whose answer was lost: its handle, or None where it certainly never started.
      CantTell where that can't be known.
    - `poll` says how it stands, as often as it is asked, also after a restart of the hub. An outcome, once said, is said again.
      It raises for nothing but a back end that can't be reached.
    - Before `Done`, the folder holds the products and their manifest, whole.
    - `cancel` ends the job as far as it can; a job that has ended, or that nobody knows, is no error.
    - What a job does (crash, hang, garbage) ends only that job.
    - `most_at_once` is how many jobs it takes at once; `poll_seconds` how often it should be asked without a hint.
    - Where it has an attribute `makes_folders` that is true, it makes the folder of a job itself, where one is needed.
    - Where it has an attribute `is_far` that is true, it does not see the hub's folders: of a file that was uploaded it gets an address that the
      secret of the job opens, and not a path.
    - Where it has a method `settle(work)`, that is called when the end of a job is written down: nobody asks for it any more.
    """

    declaration: Declaration
    most_at_once: int
    poll_seconds: float

    async def submit(self, work: Work) -> Handle:
        """Start it."""

    async def poll(self, work: Work, handle: Handle) -> Progress | Outcome:
        """How it stands."""

    async def cancel(self, work: Work, handle: Handle) -> None:
        """End it; `handle` is "" where none is known."""

    async def find(self, work: Work) -> Handle | None:
        """What became of a submit whose answer was lost."""

    async def close(self) -> None:
        """Give back what it holds; jobs that can go on without the hub go on. A second call does nothing."""
