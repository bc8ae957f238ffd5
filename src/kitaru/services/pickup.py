"""Which executions a runner goes on with beside those it was handed (S5.2, S5.8, S6.3).

An ordinary process goes on with what was parked in it, and picks up what nobody lives for, of its own
project and of the flows that it has loaded: to import the code of an execution that merely shares the
store is not ours to do. What runs from a snapshot is started in a process of its own, so by anybody. A worker
takes everything of its stack and its project, and loads it.

Owned here: ``_asleep`` (under the runner's lock), ``_taken``, ``_refused`` (one atomic operation each).
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterable
from enum import Enum
from typing import TYPE_CHECKING

from kitaru.core.clock import Clock, Microseconds
from kitaru.core.ports import Store
from kitaru.core.rows import ExecutionRow
from kitaru.core.states import Status
from kitaru.engine.definitions import registry
from kitaru.engine.leases import BEATS_PER_LEASE
from kitaru.errors import KitaruStoreError

if TYPE_CHECKING:
    from kitaru.services.runner import Runner

_LIMIT = 100
_REFUSED_SECONDS = 30.0
LOOK_SECONDS = 1.0
"""How often a runner looks although nothing seems to have changed: hints may not come."""

_AROUND_SECONDS = 0.05
"""How often an ordinary process looks for what is nobody's, at most: a store may change a thousand times a second."""

SWEEP_SECONDS = 1.5
"""How often a runner looks for orphans, or more often where its lease is short: so long after a dead runner's lease,
at most, its work goes on."""

_log = logging.getLogger("kitaru.worker")


class Takes(Enum):
    """What a runner picks up: flows that it knows, all of its stack, or nothing but what it is handed."""

    KNOWN = "known"
    ALL = "all"
    NOTHING = "nothing"


KNOWN, ALL, NOTHING = Takes.KNOWN, Takes.ALL, Takes.NOTHING


class Pickup:
    """The look-out of one runner."""

    def __init__(
        self, runner: Runner, store: Store, clock: Clock, *, project: str, takes: Takes, snapshot: str | None
    ) -> None:
        self._runner = runner
        self._store = store
        self._clock = clock
        self._project = project
        self._takes = takes
        self._snapshot = snapshot
        self._asleep: set[str] = set()  # suspended here, so this process is to go on with them
        self._taken: set[str] = set()  # pending, and taken by this runner
        self._take_was_heard = True  # else what is pending for this runner may have been taken by it
        self._refused: dict[str, float] = {}  # flows that could not be loaded here, and when
        self._sweeping = threading.Lock()
        self._swept_at: float | None = None
        self._changed = self._stirred = True
        self._looked_at = self._looked_around_at = 0.0
        self._next_due: Microseconds | None = None
        self.has_orphans_left = takes is not NOTHING
        """True until a sweep has found a place for all orphans."""
        self.may_have_woken = False
        """True where a child has ended here since the last look of a process that ends."""

    @property
    def wants_hints(self) -> bool:
        """True where a change of the store may be something to go on with at once."""
        return bool(self._asleep) or (self._takes is ALL and self._runner.places.free > 0)

    def parked_here(self, execution_id: str) -> None:
        """It was suspended by this process."""
        self._asleep.add(execution_id)

    def forget(self, execution_id: str) -> None:
        """It runs here now."""
        self._asleep.discard(execution_id)
        self._taken.discard(execution_id)

    def leaves_to_others(self, row: ExecutionRow) -> bool:
        """True where an execution that cannot be loaded here may be loaded by other runners of its stack."""
        return self._takes is ALL and row.snapshot is None

    def sweep_is_due(self, now: float) -> bool:
        """True where it is time to look for orphans again."""
        every = min(SWEEP_SECONDS, self._runner.lease.seconds / BEATS_PER_LEASE)
        return self._takes is not NOTHING and (self._swept_at is None or now - self._swept_at >= every)

    def changed(self) -> None:
        """The store may hold something to go on with."""
        self._changed = self._stirred = True

    def go_on_before_the_end(self) -> None:
        """As ``go_on``, whenever it was last looked: there may be no other time."""
        self.may_have_woken = False
        self._looked_at = -math.inf
        self.go_on()

    def go_on(self) -> None:
        """Go on with what was parked here and has been woken, what is due, and what is nobody's yet."""
        executions = self._store.executions
        runner_id, stack = self._runner.lease.runner_id, self._runner.lease.stack
        now = self._clock.monotonic()
        overdue = now - self._looked_at >= LOOK_SECONDS
        if overdue:
            self._looked_at = now
        changed, self._changed = self._changed or overdue, False
        rows: list[ExecutionRow] = []
        left = bool(self._taken)  # there was no place for them
        if changed and self._takes is ALL:
            rows += self._take(runner_id, stack)
        # What is woken was parked here, and its timer set here, as a rule: the rest has time until it is overdue.
        looks = overdue or (changed and bool(self._asleep))
        if looks or left:
            rows += executions.pending(runner_id=runner_id, limit=_LIMIT)
        if looks:
            self._next_due = executions.next_due(project=self._project, stack=stack)
        if looks or (self._next_due is not None and self._next_due <= self._clock.now()):
            rows += executions.due(runner_id=runner_id, project=self._project, stack=stack, limit=_LIMIT)
        stirred = self._stirred and now - self._looked_around_at >= _AROUND_SECONDS
        if self._takes is KNOWN and (stirred or overdue):
            self._stirred, self._looked_around_at = False, now
            rows += self._around(stack)
        self._pick_up(row for row in rows if not self._is_in_line(row))

    def _is_in_line(self, row: ExecutionRow) -> bool:
        """It has never run, and nobody has taken it: it begins when there is a place for it."""
        return row.started_at is None and row.runner_id is not None and row.execution_id not in self._taken

    def _take(self, runner_id: str, stack: str) -> list[ExecutionRow]:
        """What is nobody's, as much as there are places for, and what was taken without the answer being heard."""
        free = self._runner.places.free
        if free <= 0:
            return []
        refused = tuple(one for one in self._refused if self._was_refused(one))
        heard, self._take_was_heard = self._take_was_heard, False
        take = self._store.runners.take
        rows = list(take(runner_id, project=self._project, stack=stack, apart_from=refused, limit=free))
        if not heard:
            pending = self._store.executions.pending(runner_id=runner_id, limit=_LIMIT)
            rows = [row for row in pending if self._runner.active(row.execution_id) is None]
        self._taken.update(row.execution_id for row in rows)
        self._take_was_heard = True
        return rows

    def _around(self, stack: str) -> list[ExecutionRow]:
        """What is nobody's of the flows that this process knows, and executions of snapshots for which nobody lives."""
        executions = self._store.executions
        known = tuple(registry.flows)
        rows = executions.unowned(project=self._project, stack=stack, flow_refs=known, limit=_LIMIT)
        return rows + executions.frozen(stack=stack, limit=_LIMIT)

    def sweep(self, now: float) -> None:
        """Pick up orphans."""
        if self._takes is NOTHING:
            return
        with self._sweeping:
            stack = self._runner.lease.stack
            known = None if self._takes is ALL else tuple(registry.flows)
            found = self._store.executions.orphans(
                project=self._project,
                stack=stack,
                flow_refs=known,
                limit=_LIMIT,
                unowned=self._takes is not ALL,  # what is nobody's yet is taken then, so that no two claim it
            )
            found += self._store.executions.frozen(stack=stack, limit=_LIMIT)
            self._swept_at = now
            self.has_orphans_left = not self._pick_up(found)

    def cannot_run(self, row: ExecutionRow, error: BaseException) -> None:
        """Its flow cannot be loaded here: leave it to others, and do not try again for a while."""
        self._refused[row.snapshot or row.flow_ref] = self._clock.monotonic()
        self._taken.discard(row.execution_id)
        _log.error("flow %s cannot be loaded here, its executions are left to others", row.flow_ref, exc_info=error)
        if row.status is Status.PENDING:
            try:
                self._store.runners.untake(self._runner.lease.runner_id, row.execution_id)
            except KitaruStoreError:
                _log.warning("execution %s could not be given back; it is once this process ends", row.execution_id)

    def _pick_up(self, rows: Iterable[ExecutionRow]) -> bool:
        """False where there was no place for one of them."""
        places = True
        for row in rows:
            elsewhere = row.snapshot != self._snapshot  # in a process of its own, whatever this one has loaded
            definition = None if elsewhere else registry.get(row.flow_ref)
            loadable = (elsewhere or self._takes is ALL) and not self._was_refused(row.snapshot or row.flow_ref)
            if (definition is not None or loadable) and self._runner.active(row.execution_id) is None:
                places = self._runner.pick_up(row, definition) is not None and places
        return places

    def _was_refused(self, flow_ref: str) -> bool:
        at = self._refused.get(flow_ref)
        return at is not None and self._clock.monotonic() - at < _REFUSED_SECONDS
