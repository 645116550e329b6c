"""The smallest agent, to copy and start from: each letter is a line of JSON in a file of the person's own. No site has it unless it adds it."""

import asyncio
import json
import re
from dataclasses import dataclass
from pathlib import Path

from angelia.agent import Letter, Surroundings
from angelia.model.delivery import Later, Outcome, Refused, Sent
from angelia.model.errors import BadSettings
from angelia.model.moments import public_id
from angelia.model.person import Address
from angelia.rendering.render import render_digest, render_message

_ADDRESS = re.compile(r"[a-z0-9_-]{1,60}")


@dataclass(frozen=True, slots=True)
class SkeletonSettings:
    """`folder` is where the files are; it must be there. Each field stands in the table `[agents.skeleton]`."""

    folder: str = ""

    def __post_init__(self) -> None:
        """Say at the start what would fail at night."""
        if not self.folder:
            raise BadSettings("agents.skeleton.folder is where the files of people are")


class SkeletonAgent:
    """Appends to files. `Agent` in angelia/agent.py says what each of these promises."""

    name = "skeleton"
    is_pull = False
    is_interruptive = False
    is_opt_in = True
    concurrency = 4
    address_example = "alice"
    Settings = SkeletonSettings

    def __init__(self, settings: SkeletonSettings, house: Surroundings | None = None) -> None:
        self._folder, self._templates = Path(settings.folder), (house or Surroundings()).templates

    def check_address(self, value: str) -> str | None:
        """The name of a file, without its ending: nothing that could be a path."""
        return value if _ADDRESS.fullmatch(value) else None

    def note(self, address: Address) -> str:
        """Which file it is."""
        return f"{address.value}.jsonl"

    def destination(self, letter: Letter) -> str:
        """All files are in one folder: if one can't be written, the others rest too."""
        del letter
        return "folder"

    async def deliver(self, letter: Letter) -> Outcome:
        """One try: what may pass is Later, what never will is Refused. What you did not foresee needs no `except`: the hub counts it as Later."""
        if letter.address is None or self.check_address(letter.address.value) is None:
            return Refused("this is no name of a file", is_address_bad=True)
        if letter.message is not None:
            content = render_message(letter, self.name, letter.delivery.form, self._templates)
        else:
            content = render_digest(letter, self.name, self._templates)
        # The delivery's id goes with it, so that who reads knows a repeat.
        line = json.dumps({"id": public_id("dlv", letter.delivery.delivery_id), "subject": content.subject, "text": content.text})
        try:
            await asyncio.to_thread(_append, self._folder / f"{letter.address.value}.jsonl", line)
        except OSError as error:
            return Later(f"the file can't be written: {error.strerror}")
        return Sent()

    async def close(self) -> None:
        """Nothing stays open."""


def _append(path: Path, line: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
