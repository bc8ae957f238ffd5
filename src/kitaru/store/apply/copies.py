"""Calls that a replay takes over from its source."""

from __future__ import annotations

from collections.abc import Sequence

from kitaru.core.mutations import CopyRenamed, ReuseSettled
from kitaru.core.rows import ExecutionRow
from kitaru.store import rows
from kitaru.store.apply.transaction import Transaction

# A call of an execution becomes one of its replay: at no cost, and apart from the cross-run cache.
COPY_CALL = f"""
INSERT INTO calls (
    execution_id, call_id, name, kind, position, input_digest, occurrence, inputs, status, attempt, started_at,
    ended_at, output, {rows.FAILURE}, handled, label, code_digest, source_execution_id, source_call_id, child_id
) SELECT
    :execution_id, call_id, name, kind, position, input_digest, occurrence, inputs, status, 0, :at,
    :at, output, {rows.FAILURE}, handled, label, code_digest, execution_id, call_id, child_id
FROM calls
WHERE execution_id = :source_id AND call_id = :call_id
    AND (status = 'completed' OR (handled = 1 AND status IN ('failed', 'timed_out')))
"""

# The artifacts that the copied calls saved.
COPY_ARTIFACTS = """
INSERT INTO artifacts (execution_id, name, call_id, value, created_at)
SELECT :execution_id, name, call_id, value, created_at FROM artifacts
WHERE execution_id = :source_id AND EXISTS (
    SELECT 1 FROM calls WHERE calls.execution_id = :execution_id AND calls.call_id = artifacts.call_id
)
"""

# A reused call was made at another place than before.
MOVE_CALL = "UPDATE calls SET position = :position WHERE execution_id = :execution_id AND call_id = :call_id"

# A copied call leaves its id to another.
RENAME_COPY = """
UPDATE calls SET call_id = :other
WHERE execution_id = :execution_id AND call_id = :call_id AND source_execution_id IS NOT NULL
"""

# What a copied call had saved goes with it.
MOVE_ARTIFACTS = "UPDATE artifacts SET call_id = :other WHERE execution_id = :execution_id AND call_id = :call_id"

# A copied call that was not made.
REMOVE_COPY = """
DELETE FROM calls
WHERE execution_id = :execution_id AND call_id = :call_id AND source_execution_id IS NOT NULL
"""

# The artifacts of calls that are not there any more.
REMOVE_ARTIFACTS = """
DELETE FROM artifacts
WHERE execution_id = :execution_id AND call_id <> '' AND NOT EXISTS (
    SELECT 1 FROM calls WHERE calls.execution_id = :execution_id AND calls.call_id = artifacts.call_id
)
"""


def copy_calls(transaction: Transaction, row: ExecutionRow, call_ids: Sequence[str]) -> None:
    """See ``ExecutionCreated.copied``."""
    both = {"execution_id": row.execution_id, "source_id": row.original_id}
    for call_id in call_ids:
        transaction.put(COPY_CALL, {**both, "call_id": call_id, "at": row.created_at})
    transaction.put(COPY_ARTIFACTS, both)


def rename_copy(transaction: Transaction, execution_id: str, mutation: CopyRenamed) -> None:
    """See ``CopyRenamed``."""
    parameters = {"execution_id": execution_id, **mutation._asdict()}
    transaction.put(RENAME_COPY, parameters)
    transaction.put(MOVE_ARTIFACTS, parameters)


def settle_reuse(transaction: Transaction, execution_id: str, mutation: ReuseSettled) -> None:
    """See ``ReuseSettled``."""
    transaction.flush()
    moved = [(position, execution_id, call_id) for call_id, position in mutation.moved]
    transaction.writer.put(MOVE_CALL, moved)
    if mutation.unused:
        transaction.writer.put(REMOVE_COPY, [(execution_id, call_id) for call_id in mutation.unused])
        transaction.put(REMOVE_ARTIFACTS, {"execution_id": execution_id})
