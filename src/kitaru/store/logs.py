"""Reads what user code printed and logged."""

from __future__ import annotations

from kitaru.core.rows import LogRow
from kitaru.store.database import Database

# The lines behind a cursor.
LOGS_AFTER = """
SELECT call_id, attempt, at, level, logger, message, log_id FROM logs
WHERE execution_id = :execution_id AND log_id > :after ORDER BY log_id LIMIT :limit
"""

# The same of one call.
LOGS_OF_CALL_AFTER = """
SELECT call_id, attempt, at, level, logger, message, log_id FROM logs
WHERE execution_id = :execution_id AND call_id = :call_id AND log_id > :after ORDER BY log_id LIMIT :limit
"""


class SqlLogs:
    """The ``Logs`` port in SQL. The ids are in order for the reason that ``kitaru.store.events`` gives."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def after(self, execution_id: str, log_id: int, *, call_id: str | None, limit: int) -> list[LogRow]:
        parameters = {"execution_id": execution_id, "after": log_id, "call_id": call_id, "limit": limit}
        statement = LOGS_AFTER if call_id is None else LOGS_OF_CALL_AFTER
        return [LogRow(*values) for values in self._database.read(statement, parameters)]
