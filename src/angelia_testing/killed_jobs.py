"""A hub that is killed while its jobs run: nothing is lost, nothing runs twice, and each end is told once (P12, F42)."""

import json
from pathlib import Path
from typing import Any

import httpx2

from angelia_testing.hub import Hub
from angelia_testing.waiting import wait_until

_DECLARATION = """
name = "toy"
parameters = [
    {{name = "what", kind = "string", default = "compute"}}, {{name = "beside", kind = "string"}},
    {{name = "seconds", kind = "float"}}, {{name = "n", kind = "float"}},
]
products = [{{name = "square", kind = "json"}}]
limits = {{seconds = 100, memory_bytes = 268435456, files = 20}}
adapter = "{adapter}"
settings = {{target = "angelia_testing.functions:run", {settings}}}
"""
_ENDED = "SELECT count(*) FROM jobs WHERE state >= 10"


def check_killed(folder: Path, work: Path, adapter: str, settings: str, *, jobs: int, running: int, **environment: Any) -> None:
    """Submit `jobs`, kill the hub as soon as so many run, start it again. `folder` is the hub's and has alice, or is not there yet."""
    declaration = work / "toy.toml"
    declaration.write_text(_DECLARATION.format(adapter=adapter, settings=settings))
    is_new = not folder.exists()
    hub = Hub(folder, ANGELIA__INSTRUMENTS__TOY__DECLARATION=str(declaration), **environment)
    try:
        if is_new:
            hub.cli("people", "add", "alice")
        secret = json.loads(hub.cli("--json", "token", "add", "alice", "--scope", "write"))["secret"]
        with httpx2.Client(base_url=hub.url, headers={"Authorization": f"Bearer {secret}"}) as api:
            for number in range(jobs):
                values = {"beside": str(work / f"beside{number}"), "seconds": 1.0, "n": number}
                answer = api.post("/api/v1/jobs", json={"instrument": "toy", "product": "square", "parameters": values})
                assert answer.status_code == 202, answer.text
        wait_until(lambda: len(list(work.glob("beside*"))) >= running, 60, every=0.02, what="some to run")
        hub.kill()
        hub.start()
        wait_until(lambda: hub.count(_ENDED) == jobs, 90, what="all to end")
        assert hub.rows("SELECT state, attempt, count(*) FROM jobs GROUP BY 1, 2") == [(10, 1, jobs)]
        assert [(work / f"beside{number}").read_text() for number in range(jobs)] == ["computed\n"] * jobs
        wait_until(lambda: hub.count("SELECT count(*) FROM messages WHERE type = 'job.toy.done'") == jobs, 20, what="all to be told")
        assert hub.count("SELECT count(*) FROM job_history WHERE state = 10") == jobs
    finally:
        hub.stop()
