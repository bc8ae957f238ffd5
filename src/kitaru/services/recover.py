"""Take over an execution that nobody runs (S6.3), or leave it to the runners of its stack (S5.2)."""

from __future__ import annotations

from kitaru.core.rows import ExecutionRow
from kitaru.engine.definitions import FlowDefinition
from kitaru.services.active import Active
from kitaru.services.load import load_flow
from kitaru.services.runner import Runner
from kitaru.services.wiring import Wiring


def is_left_to_others(wiring: Wiring, row: ExecutionRow) -> bool:
    """True where runners of its stack live, which this process is none of: they pick it up by themselves."""
    return wiring.runners.of(row.stack) is None and wiring.store.runners.serves(row.stack)


def is_elsewhere(wiring: Wiring, row: ExecutionRow) -> bool:
    """True where it never runs in a thread of this process.

    It is on another stack, or runs from a snapshot that this process was not started from (S8.4).
    """
    return row.stack != wiring.runner.lease.stack or row.snapshot != wiring.settings.snapshot


def starts_elsewhere(wiring: Wiring, row: ExecutionRow) -> bool:
    """True where this process starts another one for it: for its stack, or for its snapshot.

    The rest it runs in a thread, what belongs to workers too if none of them lives.
    """
    serves = wiring.runners.of(row.stack) is not None
    return is_elsewhere(wiring, row) and (serves or row.snapshot != wiring.settings.snapshot)


def run_elsewhere(
    wiring: Wiring, row: ExecutionRow, definition: FlowDefinition | None, *, otherwise: Runner | None = None
) -> Active | None:
    """See that a pending or orphaned execution runs that is not run by a thread of this process.

    None where that is left to workers and there is no runner to do it ``otherwise``, or until there is a place for it.
    """
    runner = wiring.runners.of(row.stack) or otherwise
    if runner is None:
        return None
    runner.begin()
    return runner.active(row.execution_id) or runner.pick_up(row, definition)


def recover(wiring: Wiring, row: ExecutionRow, definition: FlowDefinition | None = None) -> Active | None:
    """Go on with an orphan in this process.

    Args:
        wiring: The process.
        row: A running or pending execution, or one that waits for a timer.
        definition: Its flow, where it is at hand; else it is loaded.

    Returns:
        The run, where this process runs it now; None where its owner lives, or somebody else was first.

    Raises:
        KitaruNotFoundError: Its flow cannot be found here.
    """
    if not wiring.store.executions.is_orphan(row.execution_id) or is_left_to_others(wiring, row):
        return None
    if starts_elsewhere(wiring, row):
        return run_elsewhere(wiring, row, definition, otherwise=wiring.runner)
    definition = definition or load_flow(row.flow_ref)
    return wiring.runner.claim(row, definition, attempt=row.attempt)
