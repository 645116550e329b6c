"""aiogram as PyPI has it, in an environment of its own: it wants another pydantic than we do."""

import os
from pathlib import Path
from typing import Any

from angelia_testing.peers.process import missing, ran_apart

PLACE = Path(os.environ.get("ANGELIA_AIOGRAM", Path(__file__).parents[3] / ".peers" / "aiogram")) / "bin" / "python"


def run_aiogram(script: str, given: Any) -> Any:
    """What a script says with the library: it reads JSON from its standard input, and its last line of output is JSON.

    Raises AssertionError with what the script wrote, where it failed.
    """
    if not PLACE.exists():
        missing("aiogram")
    return ran_apart(PLACE, script, given)
