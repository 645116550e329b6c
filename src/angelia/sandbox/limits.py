"""Limits that a process lays on itself before foreign code runs in it: processor, memory, file sizes, and no sockets."""

import contextlib
import ctypes
import math
import os
import platform
import resource
import signal
import struct
import time
from collections.abc import Mapping
from typing import Any

from angelia.sandbox.processes import address_space

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 22, 36, 38
_FILTER_MODE = 2
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000 | 13  # the last is EACCES
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_IO_URING_SETUP, _X32 = 425, 0x40000000
# AUDIT_ARCH of the kernel, and the number of socket(2).
_MACHINES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
_OPEN_FILES = 1_024


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _prctl(option: int, value: int, pointer: Any = 0) -> bool:
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        return int(libc.prctl(option, ctypes.c_ulong(value), pointer, 0, 0)) == 0
    except (OSError, AttributeError):
        return False


def adopt_orphans() -> bool:
    """Processes that lose their parent below this one become its children, so that none escapes. Linux only; else False."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> bool:
    """Once the process that has forked this one is gone, however that came, this one is killed. Linux only; else False."""
    return _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def refuse_sockets() -> bool:
    """From now on this process and all that it starts get no socket (socketpair and pipes stay). False where the platform can't."""
    machine = _MACHINES.get(platform.machine())
    if machine is None or not _prctl(_PR_SET_NO_NEW_PRIVS, 1):
        return False
    arch, socket = machine
    steps = (
        (_LOAD, 0, 0, 4),  # the architecture of the call
        (_EQUAL, 1, 0, arch),
        (_RETURN, 0, 0, _KILL),  # another table of calls would get around us
        (_LOAD, 0, 0, 0),  # the number of the call
        (_AT_LEAST, 3, 0, _X32),
        (_EQUAL, 2, 0, socket),
        (_EQUAL, 1, 0, _IO_URING_SETUP),  # it opens sockets, too
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    )
    packed = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = _Program(len(steps), ctypes.cast(packed, ctypes.c_void_p))
    return _prctl(_PR_SET_SECCOMP, _FILTER_MODE, ctypes.byref(program))


def limit(limits: Mapping[str, Any]) -> None:
    """Lay `limits` on this process: seconds, memory_bytes, cpu_seconds, output_bytes, has_network as in `model.declaration.Limits`.
    `cpu_seconds` may be None: then it is a matter of each job.
    """
    if limits["cpu_seconds"] is not None:
        cpu = max(1, int(limits["cpu_seconds"]))
        _set(resource.RLIMIT_CPU, cpu, cpu + 1)
    # What it has already is not counted: libraries that it shares with others are no fault of the code that runs in it.
    _set(resource.RLIMIT_AS, address_space(os.getpid()) + int(limits["memory_bytes"]))
    _set(resource.RLIMIT_FSIZE, int(limits["output_bytes"]))
    _set(resource.RLIMIT_CORE, 0)
    _set(resource.RLIMIT_NOFILE, _OPEN_FILES)
    if not limits["has_network"]:
        refuse_sockets()


def limit_processor(seconds: float) -> None:
    """So much more processor time from now on. The next job gets as much again, so only the limit that can be raised is set."""
    used = time.process_time()
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    _set(resource.RLIMIT_CPU, math.ceil(used + max(1.0, seconds)), most)


def _set(kind: int, soft: int, hard: int | None = None) -> None:
    _, most = resource.getrlimit(kind)
    wanted = soft if hard is None else hard
    if most != resource.RLIM_INFINITY:
        soft, wanted = min(soft, most), min(wanted, most)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(kind, (soft, wanted))
