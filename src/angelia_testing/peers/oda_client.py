"""The unmodified oda-api client of PyPI, in an environment of its own: it pins what we need in other versions."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from angelia_testing.peers.process import missing

PLACE = Path(os.environ.get("ANGELIA_ODA_CLIENT", Path(__file__).parents[3] / ".peers" / "oda-client")) / "bin" / "python"


def run_client(script: str, given: Any, timeout: float = 100.0) -> Any:
    """What a script says with the client: it reads JSON from its standard input, and its last line of output is JSON.

    Raises AssertionError with what the script wrote, where it failed.
    """
    if not PLACE.exists():
        missing("oda-api")
    # A home of its own: the client looks for tokens there.
    env = {"PATH": os.environ.get("PATH", ""), "HOME": "/nonexistent", "MPLCONFIGDIR": "/tmp", "PYTHONWARNINGS": "ignore"}
    ran = subprocess.run(
        [str(PLACE), "-c", script], input=json.dumps(given), capture_output=True, text=True, timeout=timeout, env=env, cwd="/tmp", check=False
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return json.loads(ran.stdout.splitlines()[-1])
