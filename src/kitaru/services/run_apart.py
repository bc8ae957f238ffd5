"""Run an execution in a process of its own, and in another one where that dies (S8.1).

How often it may die is counted in the store, by the claims: each process that has died on an execution is one that
it was taken over from. One that has died before it could claim it is claimed for, so that it counts too.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from kitaru.core.mutations import StatusChanged
from kitaru.core.ports import Child
from kitaru.core.processes import CANNOT_LOAD, how_it_ended, runner_prefix
from kitaru.core.rows import ExecutionRow
from kitaru.core.states import Status
from kitaru.engine.failures import failure_of
from kitaru.engine.shared import Shared
from kitaru.errors import FailureOrigin
from kitaru.services.active import Active
from kitaru.services.claim import claim, claim_to

if TYPE_CHECKING:
    from kitaru.services.runner import Spawn

MOST_TAKEOVERS = 5
"""So often an execution may end its process with nothing recorded since the last time; then it has failed."""

_log = logging.getLogger("kitaru.runner")


class Lost(NamedTuple):
    """An execution that no process of its own gets to an end, and why."""

    row: ExecutionRow
    reason: str
    is_loadable: bool = True


def run_apart(shared: Shared, active: Active, child: Child, spawn: Spawn, *, runner_id: str) -> Lost | None:
    """Wait until an execution that has a process of its own is finished, parked or somebody else's.

    Args:
        shared: What the executions of this process share.
        active: The execution.
        child: Its process.
        spawn: Starts another one.
        runner_id: This process as a runner.

    Returns:
        None, or why it should not be tried again; it is an orphan then, or has not begun.

    Raises:
        KitaruStoreError: Nobody knows what has become of it. It is an orphan in time.
    """
    before = active.row
    while True:
        active.on_child(child)
        code = child.wait()
        row = shared.store.executions.get(before.execution_id)
        if row is None or row.status.finished:
            return None
        has_begun = row.epoch != before.epoch
        if has_begun and not _is_run_by(row, child):  # suspended, handed back, or somebody else's
            return None
        if active.is_leaving:
            if has_begun:
                _hand_back(shared, row, runner_id)
            return None
        if code == CANNOT_LOAD and not has_begun:
            return Lost(row, "its flow could not be loaded in a process of its own, which told why on stderr.", False)
        row = _died_running(shared, row) if has_begun else _died_before(shared, row, child)
        if row is None:
            return None
        ended = how_it_ended(code)
        if row.takeovers >= MOST_TAKEOVERS:
            return Lost(row, f"{died(row)}; at last it {ended}. {REMEDY}")
        _log.warning("the process of execution %s %s; another one is started", row.execution_id, ended)
        another = spawn(row)
        if another is None:  # its stack is of another kind by now
            return None
        before, child = row, another


def died(row: ExecutionRow) -> str:
    """What is told of an execution that ends process after process."""
    return f"the process that ran it died {row.takeovers} times in a row, with nothing recorded in between"


REMEDY = "Look at what kills it (memory, a crash in a library), then retry it."


def give_up(shared: Shared, lost: Lost, runner_id: str) -> None:
    """Record that an execution has failed which no process gets to an end. It can be retried.

    Raises:
        KitaruStoreError: The store does not take it. The execution is an orphan as before.
    """
    row = lost.row
    failure = failure_of(ChildProcessError(lost.reason), FailureOrigin.INFRASTRUCTURE, shared.values)
    end = StatusChanged(Status.FAILED, shared.clock.now(), failure=failure)
    claim_to(end, shared.committer, row, runner_id, attempt=row.attempt)


def _is_run_by(row: ExecutionRow, child: Child) -> bool:
    """True where a process has left its execution as it ended."""
    owner = row.runner_id if row.status is Status.RUNNING else None
    return owner is not None and child.pid is not None and owner.startswith(runner_prefix(child.pid))


def _died_running(shared: Shared, row: ExecutionRow) -> ExecutionRow:
    """Nobody has to wait until the lease of a dead process has run out."""
    assert row.runner_id is not None
    shared.store.runners.retire(row.runner_id)
    return row


def _died_before(shared: Shared, row: ExecutionRow, child: Child) -> ExecutionRow | None:
    """Claim it for a process that has died before it could; None where somebody else has it by now."""
    if claim(shared.committer, row, runner_prefix(child.pid or 0), attempt=row.attempt) is None:
        return None
    return shared.store.executions.get(row.execution_id)


def _hand_back(shared: Shared, row: ExecutionRow, runner_id: str) -> None:
    """In place of a process that was killed because this one ends: it is not the execution's fault."""
    _died_running(shared, row)
    released = StatusChanged(Status.PENDING, shared.clock.now(), released=True)
    claim_to(released, shared.committer, row, runner_id, attempt=row.attempt)
