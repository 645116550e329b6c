"""A real Slurm for the tests: one controller, one node, on loopback and ports of its own."""

import os
import shutil
import socket
import subprocess
import time
from contextlib import suppress

from angelia_testing.peers.process import Server, free_port, missing, scratch
from angelia_testing.waiting import wait_until

READY_WITHIN = 40.0
_CONFIG = """\
ClusterName=angelia
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={controller}
SlurmdPort={node}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/controller.pid
SlurmdPidFile={folder}/node.pid
SlurmctldLogFile={folder}/controller.log
SlurmdLogFile={folder}/node.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
JobCompType=jobcomp/none
AccountingStorageType=accounting_storage/none
KillWait=2
MessageTimeout=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=8000 State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE OverSubscribe=FORCE:8 State=UP
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmdParameters=config_overrides
"""


class Slurm:
    """A cluster of one node; `environment` is what its commands need."""

    def __init__(self) -> None:
        if os.geteuid() != 0 or not all(map(shutil.which, ("slurmctld", "slurmd", "munged", "sbatch"))):
            missing("Slurm")
        self.folder = scratch("slurm")
        host = socket.gethostname().partition(".")[0]
        self._ports = free_port(), free_port()
        munge = self.folder / "munge"
        for name in ("munge", "state", "spool"):
            (self.folder / name).mkdir()
        munge.chmod(0o711)
        (munge / "key").write_bytes(os.urandom(128))
        (munge / "key").chmod(0o400)
        subprocess.run(["chown", "-R", "munge", str(munge)], check=True)
        config = self.folder / "slurm.conf"
        config.write_text(_CONFIG.format(host=host, folder=self.folder, controller=self._ports[0], node=self._ports[1], cpus=os.cpu_count()))
        self.environment = {"SLURM_CONF": str(config)}
        self._env = os.environ | self.environment
        names = {"key-file": "key", "socket": "munge.socket", "pid-file": "pid", "seed-file": "seed", "log-file": "log"}
        files = [f"--{option}={munge / name}" for option, name in names.items()]
        argv = ["runuser", "-u", "munge", "--", "munged", "--foreground", "--force", *files]
        self._servers = [Server("munged", argv, [], self.folder)]
        self._node = ["slurmd", "-D", "-f", str(config), "-N", host]
        self.start_controller()
        self._servers.append(Server("slurmd", self._node, [], self.folder, env=self._env))
        self._until_idle()

    def start_controller(self) -> None:
        """Start it; also once more after `kill_controller`."""
        argv = ["slurmctld", "-D", "-f", self.environment["SLURM_CONF"]]
        self.controller = Server("slurmctld", argv, [self._ports[0]], self.folder, env=self._env)

    def save(self, job: str) -> None:
        """Until a job as it stands is on disk: the controller saves every few seconds, and what it had not saved at a kill it never knew."""
        saved = self.folder / "state" / "job_state"

        def written_at() -> int:
            return saved.stat().st_mtime_ns if saved.exists() else 0

        before = written_at()
        self.ask("scontrol", "update", f"JobId={job}", "Comment=saved")  # a change, so that it writes though it may just have done so
        wait_until(lambda: written_at() > before, READY_WITHIN, what="the controller to save its jobs")

    def kill_controller(self) -> None:
        """kill -9: the queue can't be asked, what runs goes on."""
        self.controller.kill()
        self.controller.process.wait()

    def _until_idle(self) -> None:
        deadline = time.monotonic() + READY_WITHIN
        while "idle" not in self.ask("sinfo", "--noheader", "--format=%T"):
            if time.monotonic() > deadline:
                raise TimeoutError(self.ask("sinfo") + self.controller.log())
            time.sleep(0.1)

    def ask(self, *argv: str) -> str:
        """What one of its commands prints."""
        return subprocess.run(argv, capture_output=True, text=True, env=self._env, timeout=60, check=False).stdout

    def stop(self) -> None:
        """All of it."""
        self.ask("scancel", "--user=root")
        for server in (*reversed(self._servers), self.controller):
            with suppress(ProcessLookupError):
                server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
