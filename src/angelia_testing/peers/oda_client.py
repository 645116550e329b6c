"""The unmodified oda-api client of PyPI, in an environment of its own: it pins what we need in other versions."""

import os
from pathlib import Path
from typing import Any

from angelia_testing.peers.process import missing, ran_apart

PLACE = Path(os.environ.get("ANGELIA_ODA_CLIENT", Path(__file__).parents[3] / ".peers" / "oda-client")) / "bin" / "python"


def run_client(script: str, given: Any, timeout: float = 100.0) -> Any:
    """What a script says with the client: it reads JSON from its standard input, and its last line of output is JSON.

    Raises AssertionError with what the script wrote, where it failed.
    """
    if not PLACE.exists():
        missing("oda-api")
    return ran_apart(PLACE, script, given, timeout)
