"""What a run waits for without working, and the moment at which it is suspended (S5.2, S5.3).

A body, or one of its calls, *parks*: for the answer to a wait, a timer, a retry's delay, or a child
that is itself parked. While anything else of the run works, nothing happens. Once all that is left is
parked, the execution is suspended: one commit makes it ``waiting``, and is refused if what it waits for
has come in the meantime, so no wake-up is lost. Where nobody is attached the body is unwound at once;
where somebody is, it stays in memory for a grace period, and goes on in place when it is woken.

Owned here, under the run's ``settling`` lock: ``_parked``, ``_busy``, ``_suspending``, ``suspended``.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from kitaru.core.clock import Microseconds
from kitaru.core.mutations import Claimed, Commit, Conflict, Refusal, StatusChanged, Suspended
from kitaru.core.rows import WaitRow
from kitaru.core.states import Status, WaitStatus
from kitaru.engine.committer import Verdict
from kitaru.engine.signals import LeaseLost, Unwound
from kitaru.errors import KitaruStoreError

if TYPE_CHECKING:
    from collections.abc import Generator

    from kitaru.engine.run import Run

GRACE_SECONDS = 10.0
"""How long a body stays in memory while somebody is attached (S5.3)."""

PARK_SECONDS = 1.0
"""A timer that is due sooner is waited for: to suspend for it would cost more than it gives."""

_IDLE_SECONDS = 0.05
"""How long an async body has to be idle before it is suspended."""

Outcome = WaitRow | str
"""What a parked one gets: the wait that has its outcome, ``DUE``, or ``ENDED`` for a child."""

DUE: Final = "due"
ENDED: Final = "ended"


class Parked:
    """One that waits. ``outcome`` is set once, under ``settling``; then ``wake`` is called."""

    __slots__ = ("child_id", "due_at", "grace", "lost", "outcome", "wait_ids", "wake")

    def __init__(
        self,
        *,
        wait_ids: tuple[str, ...] = (),
        child_id: str | None = None,
        due_at: Microseconds | None = None,
        grace: float | None = None,
        lost: Callable[[], bool] | None = None,
    ) -> None:
        self.lost = lost
        self.wait_ids = wait_ids
        self.child_id = child_id
        self.due_at = due_at
        self.grace = grace
        self.outcome: Outcome | None = None
        self.wake: Callable[[], None] | None = None


class Parking:
    """The parked ones of one run."""

    def __init__(self, run: Run, *, busy: int) -> None:
        self._run = run
        self._parked: list[Parked] = []
        self._busy = busy
        self._suspending = False
        self._active_at = 0.0
        self._reclaiming = threading.Lock()
        self._looking = threading.Lock()
        self.suspended = False
        self.suspended_at = 0.0
        self.attached: Callable[[], bool] = lambda: False
        self.hint: Callable[[], None] = lambda: None

    # ── parking ──────────────────────────────────────────────────────────────────────────────────

    def wait(self, parked: Parked) -> Outcome:
        """Park the calling thread until the outcome is there. Raises the signal."""
        run = self._run
        self.add(parked)
        with run.settling, self.at_rest():
            while parked.outcome is None:
                if run.signal is not None or (run.failed and not run.on_its_thread()):
                    self._parked.remove(parked)
                    raise run.signal or Unwound("the flow had failed")
                run.settled.wait()
        return parked.outcome

    def add(self, parked: Parked) -> None:
        """Park something that has a ``wake`` of its own, or is about to wait."""
        with self._run.settling:
            self._parked.append(parked)
            self._active_at = self._run.clock.monotonic()
        self.hint()

    def remove(self, parked: Parked) -> None:
        """It does not wait any more."""
        with self._run.settling:
            if parked in self._parked:
                self._parked.remove(parked)

    def busy(self, change: int) -> None:
        """So many more, or fewer, of the run are working."""
        with self._run.settling:
            self.count(change)
        if change < 0:
            self.hint_if_parked()

    def count(self, change: int) -> None:
        """As ``busy``, for a caller that holds ``settling``."""
        self._busy += change
        if self._parked:
            self._active_at = self._run.clock.monotonic()

    @contextmanager
    def at_rest(self) -> Generator[None]:
        """The calling thread, which holds ``settling``, does not work in here."""
        self.count(-1)
        self.hint_if_parked()
        try:
            yield
        finally:
            self.count(1)

    def hint_if_parked(self) -> None:
        """Have the runner look, if there is something to look at."""
        if self._parked:
            self.hint()

    @property
    def any_parked(self) -> bool:
        """True where something waits."""
        return bool(self._parked)

    @property
    def engaged(self) -> bool:
        """True where the run is suspended or about to be."""
        return self.suspended or self._suspending

    # ── suspending, on the runner's thread ───────────────────────────────────────────────────────

    def look(self) -> None:
        """Give outcomes to those that have one, and suspend the run if it only waits. Raises no signal."""
        if not self._parked:
            return
        with self._looking:
            if self._deliver():
                return
        self._suspend()

    def _deliver(self) -> bool:
        run = self._run
        with run.settling:
            if self._suspending or run.signal is not None:
                return True
            waiting = [parked for parked in self._parked if parked.outcome is None]
        found = self._outcomes(waiting)
        if not found:
            return False
        if not self.reclaim():
            run.stop(LeaseLost(f"execution {run.execution_id} has been taken over"))
            return True
        with run.settling:
            found = [(parked, outcome) for parked, outcome in found if parked in self._parked]  # others gave up
            for parked, outcome in found:
                parked.outcome = outcome
                self._parked.remove(parked)
            run.settled.notify_all()
        for parked, _ in found:
            if parked.wake is not None:
                parked.wake()
        return True

    def _outcomes(self, waiting: Sequence[Parked]) -> list[tuple[Parked, Outcome]]:
        run = self._run
        rows: dict[str, WaitRow] = {}
        if any(parked.wait_ids for parked in waiting):
            rows = {row.wait_id: row for row in run.store.waits.of(run.execution_id)}
        now = run.clock.now()
        found: list[tuple[Parked, Outcome]] = []
        for parked in waiting:
            answered = [row for one in parked.wait_ids if (row := rows.get(one)) and row.status is not WaitStatus.OPEN]
            if answered:
                found.append((parked, min(answered, key=lambda row: row.answered_at or 0)))
            elif parked.child_id is not None and _has_ended(run, parked):
                found.append((parked, ENDED))
            elif parked.due_at is not None and parked.due_at <= now:
                found.append((parked, DUE))
        return found

    def _suspend(self) -> None:
        run = self._run
        with run.settling:
            if self._busy > 0 or self._suspending or self.suspended or run.signal is not None or not self._parked:
                return
            # Between two calls of a branch nothing works for a moment, and only its event loop knows that it goes on.
            if run.is_async and run.clock.monotonic() - self._active_at < _IDLE_SECONDS:
                return
            parked = list(self._parked)
            if any(one.outcome is not None for one in parked):
                return
            self._suspending = True
        due = min((one.due_at for one in parked if one.due_at is not None), default=None)
        children = tuple(one.child_id for one in parked if one.child_id is not None)
        soon = due is not None and due - run.clock.now() < PARK_SECONDS * 1_000_000
        if soon and due is not None:
            run.clock.idle_until(due)
        parks = False
        try:
            parks = not soon and all(run.store.executions.status(child) is Status.WAITING for child in children)
        finally:  # a store that cannot be read now is asked again at the next look
            if not parks:
                with run.settling:
                    self._suspending = False
                    run.settled.notify_all()
        if not parks:
            return
        waits = tuple(wait_id for one in parked for wait_id in one.wait_ids)
        run.enqueue((Suspended(waits, children, due),), self, None)

    def settle(self, results: Sequence[tuple[object, Verdict]]) -> None:
        """The committer tells whether the run is suspended."""
        run = self._run
        verdict = results[0][1]
        listeners: Sequence[Callable[[], None]] = ()
        with run.settling:
            due = min((parked.due_at for parked in self._parked if parked.due_at is not None), default=None)
            self._suspending = False
            self.suspended = verdict is None
            self.suspended_at = run.clock.monotonic()
            run.settled.notify_all()
            # In one step, so that nobody reclaims a run that unwinds.
            # One with a place under a limit has lost it: it begins anew, and asks for one.
            if verdict is None and (run.limits or not self.attached()):
                listeners = run.set_signal(Unwound(f"execution {run.execution_id} is waiting"))
            elif verdict is not None and not isinstance(verdict, Conflict):
                listeners = run.set_signal(run.signal_for(verdict))
        for listener in listeners:
            listener()
        if verdict is None and due is not None:
            run.clock.idle_until(due)
        self.hint()

    def unwind_if_over(self) -> None:
        """Release a suspended body that nobody is attached to, or whose grace is over."""
        run = self._run
        if not self.suspended or run.signal is not None:
            return
        with run.settling:
            graces = [parked.grace for parked in self._parked if parked.grace is not None]
        grace = min(graces, default=GRACE_SECONDS)
        over = not self.attached() or run.clock.monotonic() - self.suspended_at >= grace
        if over and self._reclaiming.acquire(blocking=False):  # else somebody is going on with it right now
            try:
                if self.suspended:
                    run.stop(Unwound(f"execution {run.execution_id} is waiting"))
            finally:
                self._reclaiming.release()

    def reclaim(self) -> bool:
        """Own a suspended execution again, under the next epoch; False where another runner does by now.

        Called by whoever goes on with the body: the runner when something has come, or the body itself
        (an async one may do so while another branch waits).
        """
        run = self._run
        with self._reclaiming:
            with run.settling:
                while self._suspending:
                    run.settled.wait()
                if run.signal is not None:
                    return False
                if not self.suspended:
                    return True
            row = run.row
            runner_id = row.runner_id or ""
            for status in (Status.PENDING, Status.WAITING):
                claimed = Claimed(runner_id, status, row.epoch, row.attempt)
                try:
                    run.shared.committer.commit(Commit(row.execution_id, None, (claimed,)))
                except Conflict:
                    continue
                except KitaruStoreError:
                    return False
                run.row = row._replace(epoch=row.epoch + 1, runner_id=runner_id)
                with run.settling:
                    self.suspended = False
                    if run.signal is None:
                        return True
                self._hand_back()
                return False
            return False

    def _hand_back(self) -> None:
        """The body began to unwind while it was claimed: let the runner begin it anew."""
        run = self._run
        end = StatusChanged(Status.PENDING, run.clock.now())
        with contextlib.suppress(Refusal, KitaruStoreError):  # then it is somebody else's, or an orphan in time
            run.shared.committer.commit(Commit(run.execution_id, run.row.epoch, (end,)))


def _has_ended(run: Run, parked: Parked) -> bool:
    assert parked.child_id is not None
    status = run.store.executions.status(parked.child_id)
    # A child whose end the store did not take has ended too: whoever waits for it is told why.
    return status is None or status.finished or (parked.lost is not None and parked.lost())
