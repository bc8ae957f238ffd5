"""Retry a failed execution: the same execution, its recorded work reused (S6.4)."""

from __future__ import annotations

from kitaru.core.mutations import StatusChanged
from kitaru.core.rows import ExecutionRow
from kitaru.core.states import Status
from kitaru.engine.definitions import FlowDefinition
from kitaru.errors import KitaruStateError
from kitaru.services.active import Active
from kitaru.services.claim import claim_to
from kitaru.services.find import find
from kitaru.services.load import load_flow
from kitaru.services.recover import is_left_to_others, start_with, starter_of
from kitaru.services.wiring import Wiring


def retry(wiring: Wiring, execution_id: str) -> tuple[str, Active | None]:
    """Run a failed execution again; its full id, and the run where it is in this process.

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
    if is_left_to_others(wiring, row):
        _hand_over(wiring, row)
        return row.execution_id, None
    definition = load_flow(row.flow_ref) if row.snapshot == wiring.settings.snapshot else None
    return row.execution_id, retry_row(wiring, row, definition)


def _hand_over(wiring: Wiring, row: ExecutionRow) -> None:
    """Have the runners of its stack go on with a failed execution."""
    released = StatusChanged(Status.PENDING, wiring.clock.now(), released=True)
    if not claim_to(released, wiring.committer, row, wiring.runner.begin(), attempt=row.attempt + 1):
        raise _too_late(wiring, row)


def retry_row(wiring: Wiring, row: ExecutionRow, definition: FlowDefinition | None) -> Active | None:
    """Claim a failed execution and run it. ``definition`` is None where it runs from another snapshot."""
    starter = starter_of(wiring, row)
    if starter is not None:
        _hand_over(wiring, row)
        pending = wiring.store.executions.get(row.execution_id)
        return None if pending is None else start_with(starter, pending, definition)
    active = wiring.runner.claim(row, definition or load_flow(row.flow_ref), attempt=row.attempt + 1)
    if active is None:
        raise _too_late(wiring, row)
    return active


def _too_late(wiring: Wiring, row: ExecutionRow) -> KitaruStateError:
    status = wiring.store.executions.status(row.execution_id)
    return KitaruStateError(f"execution {row.execution_id} is {status or 'deleted'} by now: somebody else was first.")
