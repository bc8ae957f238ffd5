"""Take over an execution whose process has died (S6.3)."""

from __future__ import annotations

from kitaru.core.rows import ExecutionRow
from kitaru.engine.definitions import FlowDefinition
from kitaru.services.load import load_flow
from kitaru.services.runner import Active
from kitaru.services.wiring import Wiring


def recover(wiring: Wiring, row: ExecutionRow, definition: FlowDefinition | None = None) -> Active | None:
    """Go on with an orphan in this process.

    Args:
        wiring: The process.
        row: A running or pending execution.
        definition: Its flow, where it is at hand; else it is loaded.

    Returns:
        The run, where this process runs it now; None where its owner lives, or somebody else was first.

    Raises:
        KitaruNotFoundError: Its flow cannot be found here.
    """
    if not wiring.store.executions.is_orphan(row.execution_id):
        return None
    definition = definition or load_flow(row.flow_ref)
    return wiring.runner.claim(row, definition, attempt=row.attempt)
