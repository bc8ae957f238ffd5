"""Reads the calls of executions, and what belongs to them."""

from __future__ import annotations

from kitaru.core.rows import AttemptRow, CachedOutput, CallRow, DriftRow, MetadataRow, RecordedCall
from kitaru.store import rows, statements
from kitaru.store.sqlite import Database


class SqlCalls:
    """The ``Calls`` port in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def memo(self, execution_id: str) -> list[RecordedCall]:
        return rows.read_memo(self._database.read(statements.MEMO, {"execution_id": execution_id}))

    def cached(self, cache_key: str, *, apart_from: str) -> CachedOutput | None:
        found = self._database.read(statements.CACHED, {"cache_key": cache_key, "apart_from": apart_from})
        return CachedOutput(*found[0]) if found else None

    def of(self, execution_id: str) -> list[CallRow]:
        found = self._database.read(statements.CALLS, {"execution_id": execution_id})
        return [rows.read_call(values) for values in found]

    def attempts(self, execution_id: str) -> list[AttemptRow]:
        found = self._database.read(statements.ATTEMPTS, {"execution_id": execution_id})
        return [rows.read_attempt(values) for values in found]

    def metadata(self, execution_id: str) -> list[MetadataRow]:
        found = self._database.read(statements.METADATA, {"execution_id": execution_id})
        return [MetadataRow(*values) for values in found]

    def drift(self, execution_id: str) -> list[DriftRow]:
        found = self._database.read(statements.DRIFT, {"execution_id": execution_id})
        return [DriftRow(*values) for values in found]
