"""Retry a failed execution: the same execution, its recorded work reused (S6.4)."""

from __future__ import annotations

from kitaru.core.rows import ExecutionRow
from kitaru.core.states import Status
from kitaru.engine.definitions import FlowDefinition
from kitaru.errors import KitaruStateError
from kitaru.services.find import find
from kitaru.services.load import load_flow
from kitaru.services.runner import Active
from kitaru.services.wiring import Wiring


def retry(wiring: Wiring, execution_id: str) -> Active:
    """Run a failed execution again in this process.

    Raises:
        KitaruNotFoundError: There is no such execution, or its flow cannot be found here.
        KitaruStateError: It is not failed.
    """
    row = find(wiring, execution_id)
    if row.status is not Status.FAILED:
        raise KitaruStateError(
            f"execution {row.execution_id} is {row.status}; only a failed one can be retried. "
            + ("Resume it instead." if not row.status.finished else "Start a new execution instead.")
        )
    return retry_row(wiring, row, load_flow(row.flow_ref))


def retry_row(wiring: Wiring, row: ExecutionRow, definition: FlowDefinition) -> Active:
    """Claim a failed execution and run it."""
    active = wiring.runner.claim(row, definition, attempt=row.attempt + 1)
    if active is None:
        status = wiring.store.executions.status(row.execution_id)
        raise KitaruStateError(
            f"execution {row.execution_id} is {status or 'deleted'} by now: somebody else was first."
        )
    return active
