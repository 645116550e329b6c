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


def failing(argv: Sequence[str], calls: str, *, error: str, when: int, is_lasting: bool = True) -> list[str]:
    """The command with the `when`-th call of these kinds failing in each thread: `failing(argv, "fsync,fdatasync", error="EIO", when=9)`.

    `is_lasting` lets every later one fail, too.
    """
    return _traced(argv, calls, f"error={error}:when={when}{'+' if is_lasting else ''}")


def killed(argv: Sequence[str], calls: str, *, when: int) -> list[str]:
    """The command killed in the `when`-th call of these kinds that one of its threads makes."""
    return _traced(argv, calls, f"signal=KILL:when={when}")


def _traced(argv: Sequence[str], calls: str, fault: str) -> list[str]:
    program = shutil.which("strace")
    if program is None:
        missing("strace")
    assert program is not None
    # With a filter in the kernel only these calls stop for the tracer.
    return [program, "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", "-e", f"inject={calls}:{fault}", *argv]
