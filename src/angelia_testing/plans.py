"""How a database finds what it is asked for: the statements that run, and what of their plans goes through a whole big table."""

import re
from types import TracebackType
from typing import Any

from sqlalchemy import Connection, Engine, event

BIG = "messages|deliveries|ledger|repeat_marks|digests|follows|flood_marks|user_types|audit|template_versions|persons|relations"
PARTIAL = "messages_unplanned|messages_parked|deliveries_due|deliveries_held|deliveries_sending|deliveries_failed|deliveries_digest|deliveries_inbox"
"""Indexes that hold few rows of a big table: to go through one of them is no fault."""


class Watch:
    """The statements that stores run, each once, with the parameters of its first time."""

    def __init__(self) -> None:
        """Begins where it is entered."""
        self.seen: dict[str, Any] = {}

    def __enter__(self) -> "Watch":
        """Listen."""
        event.listen(Engine, "before_cursor_execute", self._note)
        return self

    def _note(self, connection: Connection, cursor: object, statement: str, parameters: Any, context: object, executemany: Any) -> None:
        del connection, cursor, context
        if re.match(r"\s*(SELECT|UPDATE|DELETE|WITH)", statement):
            self.seen.setdefault(statement, parameters[0] if executemany else parameters)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Listen no more."""
        event.remove(Engine, "before_cursor_execute", self._note)


def scans(connection: Connection, statement: str, parameters: Any, big: str = BIG) -> list[str]:
    """Lines of its plan that go through all of a big table; `big` are their names, as a pattern."""
    if connection.dialect.name == "sqlite":
        found = [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
        return [line for line in found if re.match(rf"SCAN ({big})\b(?! USING (COVERING )?INDEX ({PARTIAL})\b)", line)]
    found = [row[0] for row in connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)]
    return [line for line in found if re.search(rf"Seq Scan on ({big})\b", line)]
