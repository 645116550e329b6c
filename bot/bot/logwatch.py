"""The device that scans the protocol and sends its errors; `python -m bot.logwatch FILE` runs it by itself."""

import sys
import threading
import time

from bot import config, messangers
from bot.protocol_reader import ProtocolReader, errors

REPEATED_AFTER = 900.0


class LogWatch(object):
    """Looks each `poll` seconds; the same error is sent once in 15 minutes. `step()` looks once and never raises."""

    def __init__(self, path, poll=1.0, max_level=5, from_end=True):
        self.poll, self._max_level = poll, max_level
        self._reader = ProtocolReader(path, from_end)
        self._sent_at = {}
        self._flushed_at = -1e12
        self._stopping = threading.Event()

    def step(self):
        """The number of errors that were sent."""
        count = 0
        try:
            for _, _, text, line in errors(self._reader.records(), self._max_level):
                now = time.monotonic()
                if now - self._sent_at.get(text, -1e12) < REPEATED_AFTER:
                    continue
                if len(self._sent_at) > 1000:
                    self._sent_at.clear()
                self._sent_at[text] = now
                messangers.send_message(line, type="instrument.error")
                count += 1
            if time.monotonic() - self._flushed_at > 30:
                self._flushed_at = time.monotonic()
                tables = config.load()
                messangers.start_sending(tables, config.spool_folder(tables))
        except Exception:  # noqa: BLE001 - a measurement must not end for its log
            pass
        return count

    def run(self):
        """Until `stop`."""
        while not self._stopping.is_set():
            self.step()
            self._stopping.wait(self.poll)

    def start(self):
        """Run in a thread."""
        thread = threading.Thread(target=self.run)
        thread.daemon = True
        thread.start()
        return thread

    def stop(self):
        """End after this look."""
        self._stopping.set()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m bot.logwatch FILE")
    LogWatch(sys.argv[1]).run()
