"""Room on the disk that is kept free: a hub that takes messages to the last byte can't write down what comes of them (promise P17)."""

import os
from pathlib import Path
from time import monotonic

LOOKS_EVERY = 0.5  # seconds: it is asked for each message


class Reserve:
    """Says whether the disk of a folder has so many megabytes left; 0 for a hub that does not look."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self._folder, self._least = folder, megabytes << 20
        self._looked_at = -LOOKS_EVERY
        self._lack = ""

    def lack(self) -> str:
        """What is wrong; "" while there is room."""
        now = monotonic()
        if self._least and not 0 <= now - self._looked_at < LOOKS_EVERY:
            self._looked_at, self._lack = now, self._look()
        return self._lack

    def _look(self) -> str:
        try:
            disk = os.statvfs(self._folder)
        except OSError:
            return ""  # the store is asked, too, and says what it can't write
        free = disk.f_bavail * disk.f_frsize
        if free >= self._least:
            return ""
        return f"the disk of the data folder has {free >> 20} MB left, of which {self._least >> 20} are kept free: an operator must make room"
