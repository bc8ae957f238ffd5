"""Reads waits."""

from __future__ import annotations

from kitaru.core.clock import Microseconds
from kitaru.core.rows import WaitRow
from kitaru.store import rows, statements
from kitaru.store.sqlite import Database


class SqlWaits:
    """The ``Waits`` port in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, execution_id: str) -> list[WaitRow]:
        found = self._database.read(statements.WAITS, {"execution_id": execution_id})
        return [rows.read_wait(values) for values in found]

    def open(self, *, flow: str | None, since: Microseconds, limit: int) -> list[tuple[str, WaitRow]]:
        if flow is None:
            found = self._database.read(statements.OPEN_WAITS, {"since": since, "limit": limit})
        else:
            found = self._database.read(statements.OPEN_WAITS_OF_FLOW, {"flow": flow, "since": since, "limit": limit})
        return [(values[0], rows.read_wait(values[1:])) for values in found]
