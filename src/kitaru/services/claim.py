"""Own an execution, to run it or to say what becomes of it (S6.2)."""

from __future__ import annotations

from kitaru.core.mutations import Claimed, Commit, Refusal, StatusChanged
from kitaru.core.rows import ExecutionRow
from kitaru.core.states import Status
from kitaru.engine.committer import Committer


def claim(committer: Committer, row: ExecutionRow, runner_id: str, *, attempt: int) -> ExecutionRow | None:
    """Own an execution, under the next epoch; its row then. None where somebody else was first."""
    if not _commit(committer, row, Claimed(runner_id, row.status, row.epoch, attempt)):
        return None
    first = attempt if row.status is Status.FAILED else row.first_attempt
    return row._replace(
        status=Status.RUNNING, epoch=row.epoch + 1, runner_id=runner_id, attempt=attempt, first_attempt=first
    )


def claim_to(change: StatusChanged, committer: Committer, row: ExecutionRow, runner_id: str, *, attempt: int) -> bool:
    """Own an execution for one transaction, in which it is given up or handed over. False: somebody else was first."""
    return _commit(committer, row, Claimed(runner_id, row.status, row.epoch, attempt), change)


def _commit(committer: Committer, row: ExecutionRow, *mutations: Claimed | StatusChanged) -> bool:
    try:
        committer.commit(Commit(row.execution_id, None, mutations))
    except Refusal:
        return False
    return True
