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


def starter_of(wiring: Wiring, row: ExecutionRow) -> Runner | None:
    """The runner here that starts another process for it: that of its stack, or, for its snapshot, this process's own.

    None where it runs in a thread, as what belongs to workers does too if none of them lives.
    """
    if not is_elsewhere(wiring, row):
        return None
    own = wiring.runner if row.snapshot != wiring.settings.snapshot else None
    return wiring.runners.of(row.stack) or own


def start_with(runner: Runner, row: ExecutionRow, definition: FlowDefinition | None) -> Active | None:
    """Have a runner go on with a pending or orphaned execution; None until there is a place for it."""
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
    starter = starter_of(wiring, row)
    if starter is not None:
        return start_with(starter, row, definition)
    definition = definition or load_flow(row.flow_ref)
    return wiring.runner.claim(row, definition, attempt=row.attempt)
