"""An SQLite file with the schema and nothing else, made once a process."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from angelia.stores.sql import upgrade


@cache
def empty_database() -> bytes:
    """What is in such a file. It runs an event loop of its own."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "angelia.db"
        upgrade(f"sqlite:///{path}")
        return path.read_bytes()


def with_schema(url: str) -> None:
    """As `upgrade`, but what is not there yet is a copy of one that was made before."""
    path = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite") and not path.exists():
        path.write_bytes(empty_database())
    else:
        upgrade(url)
