"""Packing: products in one archive, as somebody takes them home; nothing in it tells of the hub's users."""

import gzip
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from angelia.products.source import Kept, Source, opened, size_of

PREFIX = "download-"
LEVEL = 5
_PIECE = 1 << 20
_A_DAY = 86_400


def packed(sources: Sequence[tuple[str, Source]], folder: Path, *, is_one: bool = False) -> Path:
    """A new file in the folder: a tar.gz with each under its name, or with `is_one` the only one of them as .gz. Whoever asked removes it; what
    nobody removed, since he was killed, goes with the next one after a day. It takes long for large ones: call it in a thread.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _forget_old(folder)
    number, made = tempfile.mkstemp(dir=folder, prefix=PREFIX)
    try:
        with open(number, "wb") as target:
            _write(sources, target, is_one=is_one)
    except BaseException:
        Path(made).unlink(missing_ok=True)
        raise
    return Path(made)


def _write(sources: Sequence[tuple[str, Source]], target: BinaryIO, *, is_one: bool) -> None:
    if is_one:
        ((name, source),) = sources
        with gzip.GzipFile(name, "wb", LEVEL, target) as alone, opened(source) as file:
            shutil.copyfileobj(file, alone, _PIECE)
        return
    with tarfile.open(fileobj=target, mode="w:gz", compresslevel=LEVEL) as archive:
        for name, source in sources:
            entry = tarfile.TarInfo(name)
            entry.size = size_of(source)
            entry.mtime = source.at.timestamp() if isinstance(source, Kept) else int(source.stat().st_mtime)
            with opened(source) as file:
                archive.addfile(entry, file)


def _forget_old(folder: Path) -> None:
    for path in folder.glob(f"{PREFIX}*"):
        try:
            if time.time() - path.stat().st_mtime > _A_DAY:
                os.unlink(path)
        except OSError:  # somebody else did
            continue
