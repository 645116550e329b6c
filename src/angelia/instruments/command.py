"""Command: a program with an argument list, never a shell, in a folder of its own with a clean environment."""

import asyncio
import json
import mimetypes
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from angelia.instrument import MANIFEST, Done, Handle, Lent, Outcome, Progress, Rejected, Work
from angelia.model.declaration import Declaration, ProductKind
from angelia.model.errors import BadSettings
from angelia.model.setting import say
from angelia.products.output import PROGRESS, write_manifest
from angelia.sandbox.keeper import SPOKEN
from angelia.sandbox.runs import RunInstrument, Runs, run_folder

VALUES = "parameters.json"
"""All values, as a file in the program's folder, for what an argument can't hold."""
_KINDS = {
    ".txt": ProductKind.TEXT, ".log": ProductKind.TEXT, ".md": ProductKind.TEXT, ".json": ProductKind.JSON, ".png": ProductKind.IMAGE,
    ".jpg": ProductKind.IMAGE, ".svg": ProductKind.IMAGE, ".csv": ProductKind.TABLE, ".ecsv": ProductKind.TABLE,
}  # fmt: skip
_PLACE = re.compile(r"\{([A-Za-z_]\w*)\}")


@dataclass(frozen=True, slots=True)
class CommandSettings:
    """What is run."""

    argv: Sequence[str] = say((), "the program and its arguments; {name} in an argument is the value of that parameter")
    most_at_once: int = say(2, "how many jobs compute at once")

    def __post_init__(self) -> None:
        """Say at the start what would fail with each job."""
        if not self.argv or not all(isinstance(word, str) for word in self.argv) or _PLACE.search(self.argv[0]):
            raise BadSettings("a command instrument needs argv: a program that no parameter names, and its arguments")
        if shutil.which(self.argv[0]) is None:
            raise BadSettings(f"there is no program {self.argv[0]!r} that may be run")
        if self.most_at_once < 1:
            raise BadSettings("most_at_once is 1 or more")


class CommandInstrument(RunInstrument):
    """A value is one argument, or a part of one, whatever is in it. What the program writes into its folder are the products."""

    Settings = CommandSettings
    declares: Declaration | None = None

    def __init__(self, declaration: Declaration, settings: CommandSettings, lent: Lent) -> None:
        self.declaration = declaration
        self.most_at_once = settings.most_at_once
        self._argv = tuple(settings.argv)
        super().__init__(Runs())

    async def submit(self, work: Work) -> Handle:
        """See Instrument."""
        argv = arguments(self._argv, work.values)
        (work.folder / VALUES).write_text(json.dumps(dict(work.values)), encoding="utf-8")
        return await self._runs.start(work, {"argv": argv, "environment": {"ANGELIA_JOB": work.key, "ANGELIA_PRODUCT": work.product}})

    async def poll(self, work: Work, handle: Handle) -> Progress | Outcome:
        """See Instrument."""
        outcome = await super().poll(work, handle)
        if isinstance(outcome, Done) and not (work.folder / MANIFEST).is_file():
            await asyncio.to_thread(list_products, work)
        return outcome


def arguments(argv: tuple[str, ...], values: Mapping[str, Any]) -> list[str]:
    """The argument list of one job. Rejected where an argument asks for a value that is not there, or can't be an argument."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise Rejected(f"the command asks for {match[1]}, which has no value")
        found = values[match[1]]
        return found if isinstance(found, str) else json.dumps(found)

    words = [_PLACE.sub(value, word) for word in argv]
    for given, word in zip(argv, words, strict=True):
        # What begins as a value must not become an option.
        if _PLACE.match(given) and word.startswith("-") and not _is_number(word):
            raise Rejected("a value that stands alone as an argument can't begin with '-'")
        if "\0" in word:
            raise Rejected("a value holds a NUL character, which no argument can")
    return words


def list_products(work: Work) -> None:
    """All plain files that the program left, and what it said, are products. A program that writes a list of its own is believed instead."""
    said = run_folder(work) / SPOKEN
    if said.is_file() and said.stat().st_size:
        shutil.copyfile(said, work.folder / "output.txt")
    entries: list[dict[str, Any]] = []
    for path in sorted(work.folder.rglob("*")):
        name = path.relative_to(work.folder).as_posix()
        if path.is_symlink() or not path.is_file() or name in (VALUES, PROGRESS, MANIFEST) or path.name.startswith("."):
            continue
        kind = _KINDS.get(path.suffix.lower(), ProductKind.FILE)
        content_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        entries.append({"name": name, "kind": kind.value, "title": name, "content_type": content_type, "path": name, "meta": {}})
    write_manifest(work.folder, entries)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
