"""A real Dask cluster for the tests: a scheduler and two workers, processes on loopback."""

import os
import shutil
import sys
from importlib.util import find_spec

from angelia_testing.peers.process import Server, free_port, missing, scratch


class Dask:
    """`address` is the scheduler's."""

    def __init__(self) -> None:
        if find_spec("distributed") is None:
            missing("Dask")
        self.folder = scratch("dask")
        self.port = free_port()
        self.address = f"tcp://127.0.0.1:{self.port}"
        self._env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "DASK_DISTRIBUTED__DIAGNOSTICS__NVML": "false"}
        self.start_scheduler()
        worker = [sys.executable, "-m", "distributed.cli.dask_worker", self.address, "--host", "127.0.0.1", "--no-dashboard", "--no-nanny"]
        argv = [*worker, "--nthreads", "2", "--local-directory", str(self.folder), "--death-timeout", "120"]
        self._workers = [Server(f"worker{number}", argv, [], self.folder, env=self._env) for number in range(2)]

    def start_scheduler(self) -> None:
        """Start it; also once more after `kill_scheduler`."""
        argv = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard"]
        self.scheduler = Server("scheduler", argv, [self.port], self.folder, env=self._env)

    def stop(self) -> None:
        """All of it."""
        for server in (*self._workers, self.scheduler):
            server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
