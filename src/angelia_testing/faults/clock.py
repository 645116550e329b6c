"""The machine's clock set to another time, for one process only: libfaketime."""

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
        self.set(setting)
        self.environment = {
            "LD_PRELOAD": found[0],
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, setting: str) -> None:
        """An offset such as `+1h` or `-1d`, or a moment to begin at, as in `@2038-01-19 03:14:00` (local time)."""
        new = self._file.with_suffix(".new")
        new.write_text(setting + "\n")
        new.rename(self._file)
