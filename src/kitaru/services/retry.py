"""Retry a failed execution: the same execution, its recorded work reused (S6.4)."""

from __future__ import annotations

from kitaru.core.rows import ExecutionRow
from kitaru.core.states import Status
from kitaru.engine.definitions import FlowDefinition
from kitaru.errors import KitaruStateError
from kitaru.services.find import find
from kitaru.services.load import load_flow
from kitaru.services.wiring import Wiring


def retry(wiring: Wiring, execution_id: str) -> str:
    """Run a failed execution again in this process; its full id.

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
    retry_row(wiring, row, load_flow(row.flow_ref))
    return row.execution_id


def retry_row(wiring: Wiring, row: ExecutionRow, definition: FlowDefinition) -> None:
    """Claim a failed execution and run it."""
    if wiring.runner.claim(row, definition, attempt=row.attempt + 1) is None:
        status = wiring.store.executions.status(row.execution_id)
        raise KitaruStateError(
            f"execution {row.execution_id} is {status or 'deleted'} by now: somebody else was first."
        )
