"""One run where another system starts it: `python -m angelia.sandbox.batch request.json`, or `run_kept` on a worker."""

import json
import subprocess
import sys
import time
from pathlib import Path

from angelia.sandbox.keeper import ENDED, keep, write_whole

CANCELLED = ".cancelled"
"""Whoever wants a run to end makes a file with this suffix beside its request."""


def run_kept(request: str, seconds: float) -> int:
    """Run what the file `request` says, in a process of its own; at most so long, or until somebody cancels it. The keeper's exit status."""
    path = Path(request)
    cancelled = path.with_suffix(CANCELLED)
    if cancelled.exists():
        run = path.with_suffix("")
        if not run.exists():
            run.mkdir()
            write_whole(run / ENDED, b'{"status": "cancelled"}')
        return 0
    ends_at = time.monotonic() + seconds
    with subprocess.Popen([sys.executable, "-m", "angelia.sandbox.batch", request], stdin=subprocess.DEVNULL) as keeper:  # noqa: S603 - ours
        while keeper.poll() is None:
            time.sleep(0.1)
            if cancelled.exists() or time.monotonic() > ends_at:
                keeper.terminate()
    return keeper.returncode


if __name__ == "__main__":
    keep(json.loads(Path(sys.argv[1]).read_bytes()))
