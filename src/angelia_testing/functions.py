"""What a function instrument may be given: one that computes, and all that misbehave (fault F41)."""

import ctypes
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from angelia.products.output import Output


def run(values: Mapping[str, Any], out: Output) -> None:
    """Do what `what` says; `beside` is a file that the test reads."""
    _DEEDS[str(values["what"])](values, out)


def _compute(values: Mapping[str, Any], out: Output) -> None:
    with Path(str(values["beside"])).open("a", encoding="utf-8") as file:
        file.write("computed\n")
    out.progress(0.5, "half way")
    time.sleep(float(values["seconds"]))
    out.json("square", {"square": float(values["n"]) ** 2})
    out.text("words", "as computed")


def _wait(values: Mapping[str, Any], out: Output) -> None:
    """Until somebody makes the file `beside`.go."""
    with Path(str(values["beside"])).open("a", encoding="utf-8") as file:
        file.write("computed\n")
    out.progress(0.5, "half way")
    while not Path(f"{values['beside']}.go").exists():
        time.sleep(0.05)
    out.text("words", "waited for")


def _raise(values: Mapping[str, Any], out: Output) -> None:
    raise ValueError("no such star")


def _exit(values: Mapping[str, Any], out: Output) -> None:
    sys.exit(3)


def _vanish(values: Mapping[str, Any], out: Output) -> None:
    os._exit(0)


def _segfault(values: Mapping[str, Any], out: Output) -> None:
    ctypes.string_at(0)


def _hog(values: Mapping[str, Any], out: Output) -> None:
    while True:
        pass


def _hang(values: Mapping[str, Any], out: Output) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)


def _fork(values: Mapping[str, Any], out: Output) -> None:
    """Children that leave the group, ignore signals, and outlive their parent."""
    pids = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(600)
            os._exit(0)
        pids.append(child)
    Path(str(values["beside"])).write_text(" ".join(map(str, pids)), encoding="utf-8")
    out.text("pids", "left behind")


def _write(values: Mapping[str, Any], out: Output) -> None:
    with Path("much").open("wb") as file:
        while True:
            file.write(bytes(1 << 20))
            file.flush()


def _litter(values: Mapping[str, Any], out: Output) -> None:
    number = 0
    while True:
        number += 1
        Path(f"litter{number}").touch()


def _eat(values: Mapping[str, Any], out: Output) -> None:
    eaten = [bytearray(64 << 20) for _ in range(1_000)]
    out.text("eaten", str(len(eaten)))


def _call(values: Mapping[str, Any], out: Output) -> None:
    with socket.create_connection(("127.0.0.1", int(values["n"])), timeout=5):
        out.text("called", "it answered")


def _see(values: Mapping[str, Any], out: Output) -> None:
    out.json("environment", dict(os.environ))


_MARKS: list[str] = []


def _leave(values: Mapping[str, Any], out: Output) -> None:
    """All kinds of marks that the next job should not find."""
    _MARKS.append("seen")
    os.environ["MARK"] = "seen"
    os.umask(0)
    random.seed(1)
    sys.path.append("/mark")
    signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.alarm(1)
    Path("mark").write_text("seen", encoding="utf-8")
    os.chdir("/")
    out.json("left", os.getpid())


def _thread(values: Mapping[str, Any], out: Output) -> None:
    """It goes on when its job has ended."""
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    out.json("left", os.getpid())


def _look(values: Mapping[str, Any], out: Output) -> None:
    """What there is of such marks."""
    found = {
        "globals": bool(_MARKS), "environment": "MARK" in os.environ, "umask": os.umask(0o077) == 0, "path": "/mark" in sys.path,
        "signal": signal.getsignal(signal.SIGUSR1) is not signal.SIG_DFL, "alarm": signal.alarm(0) > 0, "files": bool(os.listdir()),
        "random": random.random() == random.Random(1).random(), "threads": threading.active_count() > 1,
    }  # fmt: skip
    out.json("found", sorted(name for name, is_there in found.items() if is_there))
    out.json("process", os.getpid())


def _dwell(values: Mapping[str, Any], out: Output) -> None:
    """For as long as it is let."""
    Path(str(values["beside"])).write_text(str(os.getpid()), encoding="utf-8")
    time.sleep(600)


def _toil(values: Mapping[str, Any], out: Output) -> None:
    """Nearly half a second of processor time."""
    ends_at = time.process_time() + 0.45
    while time.process_time() < ends_at:
        pass
    out.json("toiled", os.getpid())


def _read(values: Mapping[str, Any], out: Output) -> None:
    """What is in a file that somebody has given."""
    out.text("read", Path(str(values["file"])).read_text(encoding="utf-8"))


def _publish(values: Mapping[str, Any], out: Output) -> None:
    """A part, and the rest when somebody has made the file `beside`.go; `n` below 0 fails then."""
    out.text("first", "half of it")
    out.publish()
    out.progress(0.5, "half way")
    while not Path(f"{values['beside']}.go").exists():
        time.sleep(0.02)
    if float(values["n"]) < 0:
        raise ValueError("no such star")
    out.text("second", "the rest")


def _large(values: Mapping[str, Any], out: Output) -> None:
    out.text("small", "few")
    out.text("large", "x" * 100_000)


_DEEDS = {
    "compute": _compute,
    "wait": _wait,
    "raise": _raise,
    "exit": _exit,
    "vanish": _vanish,
    "segfault": _segfault,
    "hog": _hog,
    "hang": _hang,
    "fork": _fork,
    "write": _write,
    "litter": _litter,
    "eat": _eat,
    "call": _call,
    "see": _see,
    "leave": _leave,
    "thread": _thread,
    "look": _look,
    "toil": _toil,
    "dwell": _dwell,
    "large": _large,
    "publish": _publish,
    "read": _read,
}


def square(values: Mapping[str, Any], out: Output) -> None:
    """The smallest job that computes something."""
    out.json("square", float(values["n"]) ** 2)
