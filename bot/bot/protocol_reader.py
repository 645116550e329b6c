"""Reads the protocol of a measurement: its new whole lines, with kind and level."""

import io
import os
import re

RECORD = re.compile(r"\b(?P<kind>user|warning|error|info)\b[\s:)\]]*(?P<level>[1-5])?[\s:)\]]*(?P<text>.*)", re.IGNORECASE)
_PIECE = 1 << 20


class ProtocolReader(object):
    """Follows one file; `records()` gives what is new. A file that is emptied or made anew is read from its begin."""

    def __init__(self, path, from_end=True, encoding="cp1251"):
        self.path, self._fallback, self._rest = path, encoding, b""
        self._offset, self._inode = 0, None
        if from_end and os.path.exists(path):
            found = os.stat(path)
            self._offset, self._inode = found.st_size, found.st_ino

    def lines(self):
        """New whole lines; none where the file is away."""
        try:
            found = os.stat(self.path)
            if found.st_size < self._offset or (self._inode is not None and found.st_ino != self._inode):
                self._offset, self._rest = 0, b""
            self._inode = found.st_ino
            with io.open(self.path, "rb") as file:
                file.seek(self._offset)
                data = file.read(_PIECE)
        except (OSError, IOError):
            return []
        self._offset += len(data)
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()[-65536:]
        return [self._text(line.rstrip(b"\r").strip(b"\0")) for line in lines]

    def records(self):
        """New records: (kind, level or None, text, whole line)."""
        return [parse(line) for line in self.lines() if line.strip()]

    def _text(self, data):
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return data.decode(self._fallback, "replace")


def parse(line):
    """Kind, level, text and the line itself; the kind is "" where none is named."""
    found = RECORD.search(line)
    if found is None:
        return "", None, line, line
    level = found.group("level")
    return found.group("kind").lower(), int(level) if level else None, found.group("text"), line


def errors(records, max_level=5):
    """Those that are errors, up to a level (1 is the most important)."""
    return [record for record in records if record[0] == "error" and (record[1] or 1) <= max_level]
