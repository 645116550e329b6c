"""What the kernel says of the processes of a job, and how they are ended: Linux's /proc; elsewhere nothing is known of them."""

import contextlib
import os
import signal
import time
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def children_of(pid: int) -> list[int]:
    """The children that its main thread has, those included that have ended and were not waited for; none where that can't be seen."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    except (OSError, ValueError):
        return []


def processor_seconds(pid: int) -> float:
    """Processor time that it and its ended children have had; 0 where that can't be seen."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(") ")[2].split()
        return sum(map(int, fields[11:15])) / _TICK
    except (OSError, ValueError, IndexError):
        return 0.0


def address_space(pid: int) -> int:
    """Bytes of address space that it has; 0 where that can't be seen."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[0]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def kill_group(leader: int) -> None:
    """A process that leads a group, and all of the group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(leader, signal.SIGKILL)


def kill_below() -> None:
    """Kill all children, and those that become ours when their parents die, until there are none."""
    ends_at = time.monotonic() + 5
    while time.monotonic() < ends_at:
        children = children_of(os.getpid())
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            if os.waitpid(-1, 0 if children else os.WNOHANG) == (0, 0):
                time.sleep(0.01)
        except ChildProcessError:
            return
