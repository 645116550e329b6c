"""Jobs and a hub that is killed under them: nothing is lost, nothing runs twice (P12, F42)."""

from angelia_testing.killed_jobs import check_killed


def test_a_hub_that_is_killed_loses_no_job_and_runs_none_twice(folder, tmp_path):
    check_killed(folder, tmp_path, "function", "most_at_once = 4", jobs=10, running=5)
