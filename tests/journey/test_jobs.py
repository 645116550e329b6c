"""Jobs and a hub that is killed under them: nothing is lost, nothing runs twice (P12, F42)."""

import json

import httpx2

from angelia_testing.hub import Hub
from angelia_testing.waiting import wait_until

DECLARATION = """
name = "toy"
adapter = "function"
parameters = [
    {name = "what", kind = "string", default = "compute"}, {name = "beside", kind = "string"},
    {name = "seconds", kind = "float"}, {name = "n", kind = "float"},
]
products = [{name = "square", kind = "json"}]
settings = {target = "angelia_testing.functions:run", most_at_once = 4}
"""
JOBS = 10
ENDED = "SELECT count(*) FROM jobs WHERE state >= 10"


def test_a_hub_that_is_killed_loses_no_job_and_runs_none_twice(folder, tmp_path):
    (tmp_path / "toy.toml").write_text(DECLARATION)
    hub = Hub(folder, ANGELIA__INSTRUMENTS__TOY__DECLARATION=str(tmp_path / "toy.toml"))
    try:
        secret = json.loads(hub.cli("--json", "token", "add", "alice", "--scope", "write"))["secret"]
        with httpx2.Client(base_url=hub.url, headers={"Authorization": f"Bearer {secret}"}) as api:
            for number in range(JOBS):
                values = {"beside": str(tmp_path / f"beside{number}"), "seconds": 1.0, "n": number}
                answer = api.post("/api/v1/jobs", json={"instrument": "toy", "product": "square", "parameters": values})
                assert answer.status_code == 202, answer.text
        wait_until(lambda: len(list(tmp_path.glob("beside*"))) >= 5, 30, every=0.02, what="some to run")
        hub.kill()
        hub.start()
        wait_until(lambda: hub.count(ENDED) == JOBS, 60, what="all to end")
        assert hub.rows("SELECT state, attempt, count(*) FROM jobs GROUP BY 1, 2") == [(10, 1, JOBS)]
        assert [(tmp_path / f"beside{number}").read_text() for number in range(JOBS)] == ["computed\n"] * JOBS
        wait_until(lambda: hub.count("SELECT count(*) FROM messages WHERE type = 'job.toy.done'") == JOBS, 20, what="all to be told")
        assert hub.count("SELECT count(*) FROM job_history WHERE state = 10") == JOBS
    finally:
        hub.stop()
