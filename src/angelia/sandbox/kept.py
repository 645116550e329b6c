"""The keeper of a worker: hands it one job after the other, watches the limits of each, and puts a new one in its place when one is spent.

What ends soon is told to the hub and is no file. A job that must not be begun twice, or that takes longer than a moment, has the folder of a
run (see keeper.py): so a hub that was killed finds out what became of it. Without a hub a keeper ends as soon as it has nothing in hand.
"""

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from angelia.products.output import MANIFEST
from angelia.sandbox import keeper
from angelia.sandbox.frames import CANCEL, ENDED, PROGRESS, RUN, BadFrame, Frames, frame, parts, received
from angelia.sandbox.keeper import CANCELLED, LOOK_EVERY, begin, over_limit, sync_folder, told, write_whole
from angelia.sandbox.limits import adopt_orphans
from angelia.sandbox.processes import address_space, children_of, kill_below, kill_group, processor_seconds
from angelia.sandbox.worker import work

LONG = 1.0
"""Seconds after which a job that may be begun twice is nevertheless worth to be found again."""
_TELL_EVERY = 0.1
_TAKES_WITHIN = 5.0
_GROWN = 134_217_728
"""Bytes of address space: a worker that has so many more than at its beginning is spent."""


@dataclass(slots=True)
class _Worker:
    """A process and what it is for."""

    pid: int
    link: socket.socket
    owner: str
    limits: Mapping[str, Any]
    size: int
    served: int = 0
    is_spent: bool = False
    frames: Frames = field(default_factory=Frames)


@dataclass(slots=True)
class _Task:
    """The job in hand. `lock` is that of its run folder, None where it has none. Times are of the monotonic clock."""

    request: Mapping[str, Any]
    began_at: float
    ends_at: float
    look_at: float
    processor: float
    lock: int | None = None
    progress: tuple[float, str] | None = None
    told_at: float = 0.0

    @property
    def run(self) -> Path:
        """Its run folder, be it there or not."""
        return Path(self.request["run"])


class Kept:
    """One keeper. `hub` is its line to the hub, `place` a folder of its own for what jobs write before it goes where it belongs."""

    def __init__(self, hub: socket.socket, place: Path) -> None:
        self._hub, self._frames, self._is_alone = hub, Frames(), False
        self._folder = Path(tempfile.mkdtemp(prefix="worker-", dir=place)) / "job"
        self._folder.mkdir()
        self._spoken = tempfile.TemporaryFile(dir=place)  # noqa: SIM115 - as long as this process
        self._worker: _Worker | None = None
        self._task: _Task | None = None
        adopt_orphans()
        woken, wake = os.pipe()
        for end in (woken, wake):
            os.set_blocking(end, False)
        self._woken, self._wake = woken, wake
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def serve(self) -> None:
        """Until the hub is gone and nothing is in hand."""
        try:
            while self._task is not None or not self._is_alone:
                self._turn()
        finally:
            self._discard()
            shutil.rmtree(self._folder.parent, ignore_errors=True)

    def _turn(self) -> None:
        wanted = select.poll()
        wanted.register(self._woken, select.POLLIN)
        if not self._is_alone:
            wanted.register(self._hub, select.POLLIN)
        if self._worker is not None:
            wanted.register(self._worker.link, select.POLLIN)
        ready = {number for number, _ in wanted.poll(self._rest())}
        if self._woken in ready:
            with contextlib.suppress(BlockingIOError):
                if signal.SIGTERM in os.read(self._woken, 4_096) and self._task is not None and (self._task.run / CANCELLED).exists():
                    self._stop({"status": "cancelled"})
        if self._worker is not None and self._worker.link.fileno() in ready:
            self._hear_worker()
        # Before the look: of a hub that is gone nobody asks for this run any more, and it must not become one that lasts.
        if self._hub.fileno() in ready:
            self._hear_hub()
        if self._task is not None:
            self._look()

    def _rest(self) -> int | None:
        """Milliseconds until something is to be looked at."""
        if self._task is None:
            return None
        soon = min(self._task.ends_at, self._task.look_at)
        if self._task.progress is not None:
            soon = min(soon, self._task.told_at + _TELL_EVERY)
        return max(0, int((soon - time.monotonic()) * 1_000) + 1)

    # From the hub

    def _hear_hub(self) -> None:
        try:
            heard = received(self._hub, self._frames)
        except BadFrame:
            heard = None
        if heard is None:
            self._is_alone = True
            if self._task is not None and self._task.lock is None:
                self._stop({"status": "cancelled"})  # the next hub begins it anew
            return
        for kind, said, _ in heard:
            if kind == RUN and self._task is None:
                self._begin(said)
            elif kind == CANCEL and self._task is not None and self._task.request["key"] == said.get("key"):
                self._stop({"status": "cancelled"})

    def _begin(self, request: dict[str, Any]) -> None:
        lock = None
        if not request["is_repeatable"]:
            lock = begin(Path(request["run"]), is_safe=True)
            if lock is None:
                self._tell(ENDED, {"key": request["key"], "status": "begun"})
                return
        worker = self._fitting(request)
        now = time.monotonic()
        self._task = _Task(request, now, now + float(request["limits"]["seconds"]), now + LOOK_EVERY, processor_seconds(worker.pid), lock)
        if os.fstat(self._spoken.fileno()).st_size:
            os.ftruncate(self._spoken.fileno(), 0)
        try:
            worker.link.sendall(frame(RUN, {**request, "folder": str(self._folder)}))
        except OSError:
            self._stop({"status": "signal", "why": "its process did not take it"})

    def _fitting(self, request: Mapping[str, Any]) -> _Worker:
        """A worker for this: that of the same person, with the same limits, and not at the end of its days."""
        worker = self._worker
        if worker is not None and (worker.owner, worker.limits) == (request["owner"], request["limits"]) and worker.served < request["most"]:
            worker.served += 1
            return worker
        self._discard()
        ours, its = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            work(its, self._spoken.fileno(), request)
        its.close()
        ours.settimeout(_TAKES_WITHIN)
        self._worker = _Worker(pid, ours, request["owner"], request["limits"], 0, served=1)
        return self._worker

    # From the worker

    def _hear_worker(self) -> None:
        worker = self._worker
        assert worker is not None
        try:
            heard = received(worker.link, worker.frames, is_waiting=False)
            if heard is None and self._task is None:
                self._discard()
                return
            if heard is None:
                self._worker_ended(worker)
                return
            for kind, said, contents in heard:
                if self._task is None:
                    raise BadFrame
                if kind == PROGRESS:
                    self._task.progress = float(said["fraction"]), str(said["message"])[:2_000]
                elif kind == ENDED:
                    self._done(worker, said, contents)
        except (BadFrame, KeyError, TypeError, ValueError):
            self._stop({"status": "signal", "why": "it did what only we may"})

    def _worker_ended(self, worker: _Worker) -> None:
        status = 0
        with contextlib.suppress(ChildProcessError):
            ends_at = time.monotonic() + 1
            while time.monotonic() < ends_at:
                pid, status = os.waitpid(worker.pid, os.WNOHANG)
                if pid:
                    break
                time.sleep(0.005)
            else:
                kill_group(worker.pid)
                _, status = os.waitpid(worker.pid, 0)
        over = self._over()
        limits = worker.limits
        self._stop({"status": "limit", "why": over} if over else told(status, limits))

    def _done(self, worker: _Worker, said: Mapping[str, Any], contents: bytes) -> None:
        """It says that it has ended: no more is believed than it may say."""
        parts(said, contents)
        ended = {key: said[key] for key in ("status", "code", "error", "kind", "products") if key in said}
        if ended.get("status") != "exit":
            raise BadFrame
        is_left, is_spent = _has_children(worker.pid), bool(said.get("is_spent"))
        if is_left or is_spent or ended.get("kind") in ("memory", "size"):
            self._discard()
        if over := self._over():
            self._stop({"status": "limit", "why": over})
            return
        size = address_space(worker.pid) if self._worker is not None else 0
        if not worker.size:
            worker.size = size
        elif size > worker.size + _GROWN:
            self._discard()
        self._end(ended, contents)

    def _over(self) -> str:
        """Which limit its files are over, "" for none."""
        assert self._task is not None
        limits = self._task.request["limits"]
        if os.fstat(self._spoken.fileno()).st_size > limits["output_bytes"]:
            return f"it wrote more than {limits['output_bytes']} bytes"
        return over_limit(self._folder, limits) if os.listdir(self._folder) else ""

    # The job in hand

    def _look(self) -> None:
        task, now = self._task, time.monotonic()
        assert task is not None
        limits = task.request["limits"]
        if now >= task.ends_at:
            self._stop({"status": "limit", "why": f"it took longer than {limits['seconds']:g} seconds"})
            return
        if task.progress is not None and now >= task.told_at + _TELL_EVERY:
            fraction, message = task.progress
            task.progress, task.told_at = None, now
            self._show(Path(task.request["folder"]))
            self._tell(PROGRESS, {"key": task.request["key"], "fraction": fraction, "message": message})
        if now < task.look_at:
            return
        task.look_at = now + LOOK_EVERY
        if over := self._over():
            self._stop({"status": "limit", "why": over})
        elif self._worker is not None and processor_seconds(self._worker.pid) - task.processor > max(1.0, float(limits["cpu_seconds"])) + 1:
            self._stop({"status": "limit", "why": f"it took more than {limits['cpu_seconds']:g} seconds of processor time"})
        elif task.lock is None and now - task.began_at > LONG:
            task.lock = begin(task.run, is_safe=False)

    def _stop(self, ended: Mapping[str, Any]) -> None:
        """End the job together with its worker."""
        self._discard()
        if self._task is not None:
            self._end(ended, b"")

    def _end(self, ended: Mapping[str, Any], contents: bytes) -> None:
        task, self._task = self._task, None
        assert task is not None
        ended = {"why": "", **ended}
        if ended["status"] == "exit" and ended.get("code") and not ended.get("error"):
            ended["why"] = self._tail()
        is_file = ended["status"] == "exit" and ended.get("code") == 0 and "products" not in ended
        wanted = Path(task.request["folder"])
        if wanted.is_symlink():
            wanted.unlink()
        self._clear(wanted if is_file else None)
        if task.lock is not None:
            kept = {**ended, "contents": base64.b64encode(contents).decode()} if "products" in ended else ended
            write_whole(task.run / keeper.ENDED, json.dumps(kept).encode())
            os.close(task.lock)
        self._tell(ENDED, {"key": task.request["key"], **ended}, contents)

    def _show(self, wanted: Path) -> None:
        """What the job has published is seen where it will be when it has ended."""
        if (self._folder / MANIFEST).is_file() and not os.path.lexists(wanted):
            with contextlib.suppress(OSError):
                wanted.parent.mkdir(parents=True, exist_ok=True)
                wanted.symlink_to(self._folder)

    def _clear(self, wanted: Path | None) -> None:
        """The folder is empty for the next job: what this one left goes to `wanted`, or away."""
        if wanted is not None:
            wanted.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.move(self._folder, wanted) if not wanted.exists() else os.rename(self._folder, wanted)
                sync_folder(wanted.parent)
            except OSError:
                pass  # another has its result there already
        if not self._folder.exists() or os.listdir(self._folder):
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(exist_ok=True)

    def _tail(self) -> str:
        """The last that it said."""
        size = os.fstat(self._spoken.fileno()).st_size
        return os.pread(self._spoken.fileno(), 400, max(0, size - 400)).decode(errors="replace")

    def _tell(self, kind: bytes, said: Mapping[str, Any], contents: bytes = b"") -> None:
        if not self._is_alone:
            try:
                self._hub.sendall(frame(kind, said, (contents,)))
            except OSError:
                self._is_alone = True

    def _discard(self) -> None:
        """The worker and all that it started are gone; the next job gets another."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.link.close()
            kill_group(worker.pid)
            kill_below()


def _has_children(pid: int) -> bool:
    """Has a worker started what still runs, below itself or, where its parent has ended, below us?"""
    return bool(children_of(pid)) or children_of(os.getpid()) not in ([], [pid])
