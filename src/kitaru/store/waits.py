"""Reads waits."""

from __future__ import annotations

from kitaru.core.clock import Microseconds
from kitaru.core.rows import WaitRow
from kitaru.store import rows
from kitaru.store.database import Database

_WAIT = """wait_id, name, waits.status, opened_at, question, answer_schema, waits.metadata, expires_at,
    default_answer, answer, answered_at, answered_by, answered_via, answer_type"""

# The waits of an execution.
WAITS = f"SELECT {_WAIT} FROM waits WHERE execution_id = :execution_id ORDER BY opened_at, wait_id"

# Open waits of all executions.
OPEN_WAITS = f"""
SELECT waits.execution_id, {_WAIT} FROM waits
WHERE waits.status = 'open' AND opened_at >= :since ORDER BY opened_at LIMIT :limit
"""

# The same for one flow.
OPEN_WAITS_OF_FLOW = f"""
SELECT waits.execution_id, {_WAIT} FROM waits JOIN executions ON executions.execution_id = waits.execution_id
WHERE waits.status = 'open' AND opened_at >= :since AND executions.flow = :flow ORDER BY opened_at LIMIT :limit
"""


class SqlWaits:
    """The ``Waits`` port in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, execution_id: str) -> list[WaitRow]:
        found = self._database.read(WAITS, {"execution_id": execution_id})
        return [rows.read_wait(values) for values in found]

    def open(self, *, flow: str | None, since: Microseconds, limit: int) -> list[tuple[str, WaitRow]]:
        if flow is None:
            found = self._database.read(OPEN_WAITS, {"since": since, "limit": limit})
        else:
            found = self._database.read(OPEN_WAITS_OF_FLOW, {"flow": flow, "since": since, "limit": limit})
        return [(values[0], rows.read_wait(values[1:])) for values in found]
