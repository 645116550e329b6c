"""A small disk that fills up, and system calls that fail."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from angelia_testing.peers.process import missing, scratch


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """A folder on a file system of its own, unmounted for sure."""
    if os.geteuid() != 0:
        missing("a disk of our own (mount needs root)")
    folder = scratch("disk")
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "tmpfs", str(folder)], check=False, capture_output=True)
    if made.returncode:
        shutil.rmtree(folder)
        missing("a disk of our own (mount is not allowed)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


def failing(argv: Sequence[str], calls: str, *, error: str, when: int) -> list[str]:
    """The command with its `when`-th (and every later) call of these kinds failing: `failing(argv, "fsync,fdatasync", error="EIO", when=9)`."""
    program = shutil.which("strace")
    if program is None:
        missing("strace")
    assert program is not None
    return [program, "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", "-e", f"inject={calls}:error={error}:when={when}+", *argv]


def killed(argv: Sequence[str], calls: str, *, when: int) -> list[str]:
    """The command killed in its `when`-th call of these kinds."""
    program = shutil.which("strace")
    if program is None:
        missing("strace")
    assert program is not None
    return [program, "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", "-e", f"inject={calls}:signal=KILL:when={when}", *argv]
