"""What user code keeps and says: metadata, artifacts, progress, output; the drift report; places under limits."""

from __future__ import annotations

from kitaru.core.mutations import ArtifactSaved, DriftFound, LinesPrinted, MetadataLogged, ProgressMade, SlotsFreed
from kitaru.store import events, limits, rows
from kitaru.store.apply.transaction import Transaction

# One item of metadata; a later value replaces an earlier one.
LOG_METADATA = """
INSERT INTO metadata (execution_id, call_id, key, value, number)
VALUES (:execution_id, :call_id, :key, :value, :number)
ON CONFLICT (execution_id, call_id, key) DO UPDATE SET value = excluded.value, number = excluded.number
"""

# A named value; a later one of the same name replaces it.
SAVE_ARTIFACT = """
INSERT INTO artifacts (execution_id, name, call_id, value, created_at)
VALUES (:execution_id, :name, :call_id, :value, :created_at)
ON CONFLICT (execution_id, name) DO UPDATE SET
    call_id = excluded.call_id, value = excluded.value, created_at = excluded.created_at
"""

# A line of output.
ADD_LINE = """
INSERT INTO logs (execution_id, call_id, attempt, at, level, logger, message)
VALUES (:execution_id, :call_id, :attempt, :at, :level, :logger, :message)
"""

# The drift report goes, so that a new one can take its place.
CLEAR_DRIFT = "DELETE FROM drift WHERE execution_id = :execution_id"

# One line of the drift report.
RECORD_DRIFT = """
INSERT INTO drift (execution_id, position, call_id, recorded_call_id, input, recorded, given)
VALUES (:execution_id, :position, :call_id, :recorded_call_id, :input, :recorded, :given)
"""


def log_metadata(transaction: Transaction, execution_id: str, mutation: MetadataLogged) -> None:
    """See ``MetadataLogged``."""
    for row in mutation.rows:
        transaction.add(LOG_METADATA, rows.metadata_values(execution_id, row))


def save_artifact(transaction: Transaction, execution_id: str, mutation: ArtifactSaved) -> None:
    """See ``ArtifactSaved``."""
    transaction.add(SAVE_ARTIFACT, rows.artifact_values(execution_id, mutation.row))


def tell_progress(transaction: Transaction, execution_id: str, mutation: ProgressMade) -> None:
    """See ``ProgressMade``."""
    transaction.add(events.ADD_EVENT, events.of_progress(execution_id, mutation))


def keep_lines(transaction: Transaction, execution_id: str, mutation: LinesPrinted) -> None:
    """See ``LinesPrinted``."""
    for row in mutation.rows:
        transaction.add(ADD_LINE, rows.log_values(execution_id, row))


def free_slots(transaction: Transaction, execution_id: str, mutation: SlotsFreed) -> None:
    """See ``SlotsFreed``."""
    for limit in mutation.limits:
        transaction.add(limits.LEAVE_LIMIT, (limit, execution_id, mutation.call_id))


def report_drift(transaction: Transaction, execution_id: str, mutation: DriftFound) -> None:
    """See ``DriftFound``."""
    transaction.put(CLEAR_DRIFT, {"execution_id": execution_id})
    lines = [(execution_id, position, *row) for position, row in enumerate(mutation.rows)]
    transaction.writer.put(RECORD_DRIFT, lines)
