"""Reads the calls of executions, and what belongs to them."""

from __future__ import annotations

from kitaru.core.clock import Microseconds
from kitaru.core.rows import AttemptRow, CachedOutput, CallRow, DriftRow, MetadataRow, RecordedCall
from kitaru.store import rows
from kitaru.store.database import Database

# The memo: every call, those under way included, so that ids and attempt numbers go on from there. As the
# body made them: sorting ten thousand takes 1.5 ms.
MEMO = f"""
SELECT call_id, name, kind, input_digest, occurrence, status, attempt, handled, output, inputs, due_at, position,
    child_id, source_execution_id, {rows.FAILURE}
FROM calls WHERE execution_id = :execution_id ORDER BY position, call_id
"""

# The newest success under a cache key in another execution.
CACHED = """
SELECT execution_id, call_id, output FROM calls
WHERE cache_key = :cache_key AND status = 'completed' AND execution_id <> :apart_from
ORDER BY ended_at DESC LIMIT 1
"""

# All calls, as the body made them.
CALLS = f"""
SELECT call_id, name, kind, position, input_digest, occurrence, inputs, status, attempt, started_at, ended_at,
    output, {rows.FAILURE}, handled, label, code_digest, cache_key, source_execution_id, source_call_id, child_id,
    due_at
FROM calls WHERE execution_id = :execution_id ORDER BY position, call_id
"""

# Calls of one name in the executions of a flow that came before a time, the newest of them first. Of the last
# hundred executions: who asks wants to know what is near.
LIKE_CALLS = f"""
SELECT earlier.execution_id, call_id, name, kind, position, input_digest, occurrence, inputs, status, attempt,
    started_at, ended_at, output, {rows.FAILURE}, handled, label, code_digest, cache_key, source_execution_id,
    source_call_id, child_id, due_at
FROM (
    SELECT execution_id, created_at FROM executions
    WHERE flow = :flow AND created_at < :before ORDER BY created_at DESC, execution_id DESC LIMIT 100
) AS earlier JOIN calls ON calls.execution_id = earlier.execution_id
WHERE name = :name ORDER BY earlier.created_at DESC, earlier.execution_id, position LIMIT :limit
"""

# The attempts of all calls.
ATTEMPTS = f"""
SELECT call_id, number, status, started_at, ended_at, {rows.FAILURE}
FROM attempts WHERE execution_id = :execution_id ORDER BY call_id, number
"""

# The metadata of all calls.
METADATA = """
SELECT call_id, key, value, number FROM metadata WHERE execution_id = :execution_id ORDER BY call_id, key
"""

# The drift report.
DRIFT = """
SELECT call_id, recorded_call_id, input, recorded, given
FROM drift WHERE execution_id = :execution_id ORDER BY position
"""


class SqlCalls:
    """The ``Calls`` port in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def memo(self, execution_id: str) -> list[RecordedCall]:
        return rows.read_memo(self._database.read(MEMO, {"execution_id": execution_id}))

    def cached(self, cache_key: str, *, apart_from: str) -> CachedOutput | None:
        found = self._database.read(CACHED, {"cache_key": cache_key, "apart_from": apart_from})
        return CachedOutput(*found[0]) if found else None

    def of(self, execution_id: str) -> list[CallRow]:
        found = self._database.read(CALLS, {"execution_id": execution_id})
        return [rows.read_call(values) for values in found]

    def like(self, name: str, *, flow: str, before: Microseconds, limit: int) -> list[tuple[str, CallRow]]:
        parameters = {"name": name, "flow": flow, "before": before, "limit": limit}
        return [(values[0], rows.read_call(values[1:])) for values in self._database.read(LIKE_CALLS, parameters)]

    def attempts(self, execution_id: str) -> list[AttemptRow]:
        found = self._database.read(ATTEMPTS, {"execution_id": execution_id})
        return [rows.read_attempt(values) for values in found]

    def metadata(self, execution_id: str) -> list[MetadataRow]:
        found = self._database.read(METADATA, {"execution_id": execution_id})
        return [MetadataRow(*values) for values in found]

    def drift(self, execution_id: str) -> list[DriftRow]:
        found = self._database.read(DRIFT, {"execution_id": execution_id})
        return [DriftRow(*values) for values in found]
