"""The machine's clock set to another time, for one process only: libfaketime."""

import time
from pathlib import Path

from angelia_testing.peers.process import missing

_PLACES = ("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1")


class FakeClock:
    """`environment` is for the process; `set` changes the time under it while it runs. Monotonic clocks stay true."""

    def __init__(self, folder: Path, setting: str = "+0") -> None:
        found = [place for place in _PLACES if Path(place).exists()]
        if not found:
            missing("faketime")
        self._file = folder / "clock"
        self._write(setting)
        self.environment = {
            "LD_PRELOAD": found[0],
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            # It reads the file once a second, not at every look at the clock, of which there are thousands.
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, setting: str) -> None:
        """An offset such as `+1h` or `-1d`, or a moment to begin at, as in `@2038-01-19 03:14:00` (local time). The process has noticed then."""
        self._write(setting)
        time.sleep(1.3)

    def _write(self, setting: str) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(setting + "\n")
        new.rename(self._file)
