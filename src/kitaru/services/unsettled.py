"""What a runner has to make good because the store refused a write, or its answer was lost (S6.2)."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from kitaru.core.mutations import Commit, Refusal, StatusChanged
from kitaru.core.rows import ExecutionRow
from kitaru.core.states import Status
from kitaru.engine.definitions import FlowDefinition
from kitaru.engine.shared import Shared
from kitaru.services.active import Active

if TYPE_CHECKING:
    from kitaru.services.runner import Runner


class Unsettled:
    """Ends that were not written, and claims of which nobody knows whether they were.

    Owned here: both lists; whoever has a case appends it, and ``settle``, under ``_settling``, takes it off.
    """

    def __init__(self, runner: Runner, shared: Shared) -> None:
        self._runner = runner
        self._shared = shared
        self._ends: list[tuple[Active, StatusChanged]] = []
        self._in_doubt: list[tuple[ExecutionRow, FlowDefinition]] = []
        self._settling = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._ends or self._in_doubt)

    def end_refused(self, active: Active, end: StatusChanged) -> None:
        """The store did not take the end of an execution: it gets it once it takes writes again."""
        self._ends.append((active, end))

    def doubt(self, row: ExecutionRow, definition: FlowDefinition) -> None:
        """The commit failed by which this process was to own an execution; only its answer may have been lost.

        Then the store says that this living process runs it, so nobody else may: the heartbeat looks.
        """
        self._in_doubt.append((row, definition))

    def active(self, execution_id: str) -> Active | None:
        """The execution whose end is still to be written."""
        return next((one for one, _ in tuple(self._ends) if one.row.execution_id == execution_id), None)

    def settle(self) -> None:
        """Write the ends, and run what turns out to be this process's.

        Raises:
            KitaruStoreError: The store still cannot; what is left stays.
        """
        with self._settling:  # a test may be at it beside the heartbeat
            self._write_ends()
            self._settle_doubts()

    def _write_ends(self) -> None:
        while self._ends:
            active, end = self._ends[0]
            with contextlib.suppress(Refusal):  # somebody else has taken it over, or it was cancelled
                self._shared.committer.commit(Commit(active.row.execution_id, active.epoch, (end,)))
            self._ends.pop(0)

    def _settle_doubts(self) -> None:
        # Not while the lease is lost: what began now would stop at its first call. Under the next one it is an orphan.
        while self._in_doubt and self._runner.lease.holds():
            row, definition = self._in_doubt[0]
            found = self._shared.store.executions.get(row.execution_id)
            if found is not None and found.runner_id == row.runner_id and self._runner.active(row.execution_id) is None:
                if found.status is Status.RUNNING:
                    # Under the next epoch: should anything here still write under this one, it is refused.
                    claimed = self._runner.claim_row(found, found.attempt)
                    if claimed is not None:
                        self._runner.launch(claimed, definition, counted=False)
                elif found.status is Status.PENDING and found.started_at is None:  # else it is found by `pickup`
                    self._runner.queue(found, definition)
            self._in_doubt.pop(0)
