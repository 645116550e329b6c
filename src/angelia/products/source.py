"""Where the bytes of a product are: a file, or a small content that the store keeps; both are read in the same way."""

import io
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class Kept:
    """A small product that is no file of its own. It is named and read as a path is; `at` is when it was written."""

    path: PurePosixPath
    content: bytes = field(repr=False)
    at: datetime

    @property
    def name(self) -> str:
        """What a file of it would be called."""
        return self.path.name

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return self.path.stem

    def read_bytes(self) -> bytes:
        """All of it."""
        return self.content

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """All of it as text."""
        return self.content.decode(encoding, errors)


Source = Path | Kept


def opened(source: Source) -> BinaryIO:
    """To be read from its beginning, and closed."""
    return io.BytesIO(source.content) if isinstance(source, Kept) else source.open("rb")


def size_of(source: Source) -> int:
    """In bytes."""
    return len(source.content) if isinstance(source, Kept) else source.stat().st_size
