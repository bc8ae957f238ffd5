"""This process as a runner: its lease, the executions it runs, and what has to happen beside them.

Owned here: ``_active`` and ``_leaving``, under ``_lock``. One thread (the heartbeat) renews the lease,
notices cancellations and takeovers, shows slow calls, writes ends that the store had refused, and
picks up what this process is to go on with (``kitaru.services.pickup``).
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable

from kitaru.core import redaction
from kitaru.core.mutations import Commit, Refusal, StatusChanged
from kitaru.core.ports import Child
from kitaru.core.rows import ExecutionRow
from kitaru.core.states import Status
from kitaru.engine.body import Outcome, execute, unwritten
from kitaru.engine.crash_points import crash_point
from kitaru.engine.definitions import FlowDefinition
from kitaru.engine.leases import BEATS_PER_LEASE, Heartbeat, Lease
from kitaru.engine.shared import Shared
from kitaru.engine.signals import HandedBack, KitaruCancelled, LeaseLost, Signal, Unwound
from kitaru.errors import KitaruStateError, KitaruStoreError
from kitaru.services.active import Active, has_no_records
from kitaru.services.claim import claim
from kitaru.services.load import load_flow
from kitaru.services.pickup import KNOWN, LOOK_SECONDS, Pickup, Takes
from kitaru.services.places import Places
from kitaru.services.run_apart import MOST_TAKEOVERS, REMEDY, Lost, died, give_up, run_apart
from kitaru.services.unsettled import Unsettled
from kitaru.stacks.local import at_process_end

_log = logging.getLogger("kitaru.runner")

_TICK = 0.1
_SLOW_CALL = 200_000
_CLEAN_UP_SECONDS = 2.0

Spawn = Callable[[ExecutionRow], Child | None]
"""Starts a process for an execution; None where it runs in this one."""


class Runner:
    """Runs executions, in threads of this process or in processes that ``spawn`` starts.

    Args:
        shared: What the executions of this process share.
        project: Whose executions it picks up.
        max_flows: How many top-level executions it runs at once.
        lease: Its lease, for the stack that it serves.
        takes: What it picks up beside what it was handed.
        spawn: See ``Spawn``.
        snapshot: The snapshot that this process was started from: of an execution from another, or from none,
            it never runs the code itself (S8.4).
    """

    def __init__(
        self,
        shared: Shared,
        *,
        project: str,
        max_flows: int,
        lease: Lease,
        takes: Takes = KNOWN,
        spawn: Spawn = lambda _: None,
        snapshot: str | None = None,
    ) -> None:
        self.lease = lease
        self.unsettled = Unsettled(self, shared)
        self.pickup = Pickup(self, shared.store, shared.clock, project=project, takes=takes, snapshot=snapshot)
        self._shared = shared
        self.places = Places(max_flows)
        self._spawn = spawn
        self._lock = threading.Lock()
        self._active: dict[str, Active] = {}
        self._heartbeat: Heartbeat | None = None
        self._changed = True
        self._looked_at = 0.0
        self._patient = True
        self._leaving: Signal | None = None
        self._unsubscribe: Callable[[], None] | None = None
        self._renewed_at = 0.0

    # ── starting ─────────────────────────────────────────────────────────────────────────────────

    def begin(self) -> str:
        """Make this process a runner, if it is none yet; its id."""
        with self._lock:
            if self._heartbeat is None:
                self.lease.register()
                crash_point("after_register")
                self._renewed_at = self._shared.clock.monotonic()
                self._unsubscribe = self._shared.store.changes(self._on_change)
                self._heartbeat = Heartbeat(self.beat, self._look_at_parked, self._shared.clock, every=_TICK)
                at_process_end(self.drain, self.end)
        return self.lease.runner_id

    def reserve(self) -> bool:
        """Take a place for a top-level flow; False where all are taken."""
        self._patient = True  # who was interrupted has gone on, and this flow is to finish
        return self.places.take()

    def launch(self, row: ExecutionRow, definition: FlowDefinition, *, counted: bool, is_new: bool = False) -> Active:
        """Run an execution that this process owns, in a thread of its own. A new one has nothing recorded yet."""
        redaction.know_environment(row.image)
        active = Active(row, definition, counted=counted, hint=self.hint)
        active.is_new = is_new
        self._add(active)
        self._start_thread(active)
        return active

    def queue(self, row: ExecutionRow, definition: FlowDefinition) -> Active:
        """Run a pending execution once there is a place for it."""
        active = Active(row, definition, counted=True, hint=self.hint)
        self._add(active)
        self.places.wait(active)
        self._fill_places()
        return active

    def claim(self, row: ExecutionRow, definition: FlowDefinition, *, attempt: int) -> Active | None:
        """Take an execution over and run it; None where somebody else was first."""
        runner_id = self.begin()
        try:
            claimed = self.claim_row(row, attempt)
        except KitaruStoreError:
            self.unsettled.doubt(row._replace(runner_id=runner_id), definition)
            raise
        return None if claimed is None else self.launch(claimed, definition, counted=False, is_new=has_no_records(row))

    def pick_up(self, row: ExecutionRow, definition: FlowDefinition | None) -> Active | None:
        """Go on with an execution, if there is a place; it is claimed, and its flow loaded, in its own thread.

        A child flow needs no place: its parent holds one while it waits, so all could wait for ever.
        """
        counted = row.parent_id is None
        if counted and not self.reserve():
            return None
        active = Active(row, definition, counted=counted, hint=self.hint)
        kept = self._add(active, unless_there=True)
        if kept is active:
            self._thread(active, self._pick_up).start()
        elif counted:
            self.places.give_back()
        return kept

    def active(self, execution_id: str) -> Active | None:
        """The execution, where this process is running it or will, or where the store has not taken its end yet."""
        active = self._active.get(execution_id)
        # In this order: it is unsettled before it is no longer active.
        return active if active is not None else self.unsettled.active(execution_id)

    def attach(self, active: Active, change: int) -> None:
        """Somebody begins (1) or ends (-1) to wait for an execution."""
        with self._lock:
            active.attached += change
        if active.is_parked:
            active.hint()

    def hint(self) -> None:
        """Something may have come that an execution is parked for: look soon."""
        heartbeat = self._heartbeat
        if heartbeat is not None:
            heartbeat.hint()

    def _add(self, active: Active, *, unless_there: bool = False) -> Active:
        """Keep an execution as one that runs here; the one kept, which ``unless_there`` may be an earlier one."""
        with self._lock:
            there = self._active.get(active.row.execution_id)
            if unless_there and there is not None:
                return there
            self.pickup.forget(active.row.execution_id)
            self._active[active.row.execution_id] = active
            leaving = self._leaving
        if leaving is not None:
            active.leave(leaving)
        return active

    def claim_row(self, row: ExecutionRow, attempt: int) -> ExecutionRow | None:
        """Own an execution, under the next epoch; None where somebody else was first."""
        claimed = claim(self._shared.committer, row, self.lease.runner_id, attempt=attempt)
        if claimed is not None:
            crash_point("after_claim")
        return claimed

    # ── running ──────────────────────────────────────────────────────────────────────────────────

    def _start_thread(self, active: Active) -> None:
        self._thread(active, self._run).start()

    def _thread(self, active: Active, target: Callable[[Active], None]) -> threading.Thread:
        return threading.Thread(target=target, args=(active,), name=f"kitaru-{active.row.flow}", daemon=True)

    def _pick_up(self, active: Active) -> None:
        """On its own thread: load the flow, claim the execution and run it, or have a process do so."""
        row = active.row
        if row.status is Status.RUNNING and row.takeovers >= MOST_TAKEOVERS:
            self._give_up(active, Lost(row, f"{died(row)}. {REMEDY}"))
            return
        try:
            child = self._spawn(row)
            if child is not None:
                lost = run_apart(self._shared, active, child, self._spawn, runner_id=self.lease.runner_id)
                if lost is None:
                    active.outcome = Outcome(None)
                    self._ended(active)
                    return
                if lost.is_loadable or not self.pickup.leaves_to_others(row):
                    self._give_up(active, lost)
                    return
                raise KitaruStateError(lost.reason)
            if active.definition is None:
                active.definition = load_flow(row.flow_ref)
        except BaseException as error:  # noqa: BLE001  # user code is imported: any of it may fail, SystemExit too
            self.pickup.cannot_run(row, error)
            active.outcome = Outcome(None)
            self._ended(active)
            return
        claimed = None
        with contextlib.suppress(KitaruStoreError):  # as `_ended` leaves it, the heartbeat looks what became of it
            claimed = self.claim_row(row, row.attempt)
        if claimed is None:  # somebody else was first
            active.outcome = Outcome(None)
            self._ended(active)
        else:
            if row.status is Status.RUNNING:
                _log.info("execution %s of flow %s goes on here: its process is gone", row.execution_id, row.flow)
            active.claimed(claimed)
            self._run(active)

    def _give_up(self, active: Active, lost: Lost) -> None:
        """It has ended process after process: let it not end this one too."""
        active.outcome = Outcome(None)
        with contextlib.suppress(KitaruStoreError):  # it stays an orphan, which is found again
            give_up(self._shared, lost, self.lease.runner_id)
        self._ended(active)

    def _run(self, active: Active) -> None:
        assert active.definition is not None
        try:
            active.outcome = execute(
                self._shared,
                active.definition,
                active.row,
                is_new=active.is_new,
                lease_holds=self.lease.holds,
                on_run=active.on_run,
            )
        except BaseException as error:  # noqa: BLE001  # a thread has nobody above it: keep the error for whoever waits
            active.outcome = unwritten(self._shared, error)
        finally:
            self._ended(active)

    def _ended(self, active: Active) -> None:
        outcome = active.outcome
        if outcome is not None and isinstance(outcome.signal, HandedBack):
            with contextlib.suppress(KitaruStoreError):  # it is an orphan in time
                self._hand_back(active)
        with self._lock:
            if outcome is not None and isinstance(outcome.signal, Unwound):
                self.pickup.parked_here(active.row.execution_id)
            if outcome is not None and outcome.unwritten is not None:
                self.unsettled.end_refused(active, outcome.unwritten)
            if active.row.parent_id is not None:
                self.pickup.may_have_woken = True
            if self._active.get(active.row.execution_id) is active:
                del self._active[active.row.execution_id]
        if active.counted:
            self.places.give_back()
        if outcome is not None and outcome.status is None and outcome.unwritten is None and active.definition:
            # It left without an end. Should the store say all the same that this living process runs it, as
            # where the answer to a claim was lost, nobody else may go on with it.
            self.unsettled.doubt(active.row._replace(runner_id=self.lease.runner_id), active.definition)
        active.left.set()
        active.finish()
        self.pickup.changed()  # there is a place
        self._fill_places()
        if self.pickup.wants_hints:
            self.hint()

    def _hand_back(self, active: Active) -> None:
        end = StatusChanged(Status.PENDING, self._shared.clock.now(), released=True)
        with contextlib.suppress(Refusal):  # then it is somebody else's
            self._shared.committer.commit(Commit(active.row.execution_id, active.epoch, (end,)))

    def _fill_places(self) -> None:
        while (active := self.places.next()) is not None:
            try:
                claimed = self.claim_row(active.row, active.row.attempt)
            except KitaruStoreError:  # it keeps its turn, and the heartbeat tries again
                self.places.put_back(active)
                return
            if claimed is None:  # cancelled while it was pending
                active.outcome = Outcome(None)
                self._ended(active)
            else:
                active.claimed(claimed)
                self._start_thread(active)

    # ── beside the executions ────────────────────────────────────────────────────────────────────

    def look(self) -> None:
        """Stop what was cancelled or taken over. Asked for by hand where this process has cancelled."""
        active_ones = dict(self._active)
        statuses = self._shared.store.executions.statuses(list(active_ones))
        for execution_id, active in active_ones.items():
            status = statuses.get(execution_id)
            if status is Status.CANCELLED:
                active.stop(KitaruCancelled(f"execution {execution_id} was cancelled"))
            elif status is None:
                active.stop(LeaseLost(f"execution {execution_id} was deleted"))

    def beat(self) -> None:
        """One round of the heartbeat. Public so that tests can call it and need not wait."""
        now = self._shared.clock.monotonic()
        if now - self._renewed_at >= self.lease.seconds / BEATS_PER_LEASE:
            self._renew()
            self._renewed_at = now
        if self._active and (self._changed or now - self._looked_at >= LOOK_SECONDS):
            self._changed, self._looked_at = False, now
            self.look()
        older_than = self._shared.clock.now() - _SLOW_CALL
        for active in list(self._active.values()):
            if active.run is not None:
                active.run.flush_hints(older_than)
            if self._leaving is not None:
                active.leave(self._leaving)
        with contextlib.suppress(KitaruStoreError):
            # A store that takes no writes for now keeps nobody from what only reads: a parent that waits for
            # a child whose end was not taken is to be told. What is left here is tried again at the next beat.
            self.unsettled.settle()
        self._fill_places()
        self._look_at_parked()
        if self._leaving is None and self.pickup.sweep_is_due(now):
            self.sweep()

    def sweep(self) -> None:
        """Pick up orphans (S6.3)."""
        self.pickup.sweep(self._shared.clock.monotonic())

    def _look_at_parked(self) -> None:
        """Deliver what has come, suspend what only waits, release whose grace is over, go on with what was woken."""
        for active in list(self._active.values()):
            if active.run is not None:
                active.run.parking.look()
                active.run.parking.unwind_if_over()
        if self._heartbeat is not None and self._leaving is None:
            self.pickup.go_on()

    def _on_change(self) -> None:
        self._changed = True
        self.pickup.changed()
        active = self._snapshot()
        if self.pickup.wants_hints or any(one.is_parked for one in active):
            self.hint()

    def _snapshot(self) -> list[Active]:
        with self._lock:
            return list(self._active.values())

    def _renew(self) -> None:
        if self.lease.renew():
            return
        for active in list(self._active.values()):
            if active.child is None:  # a process of its own has a lease of its own
                active.stop(LeaseLost("the lease of this process has run out"))
        self.lease.register()

    # ── the end ──────────────────────────────────────────────────────────────────────────────────

    def interrupted(self) -> None:
        """Somebody who waited was interrupted (Ctrl-C): the end of the process waits for no flow any more."""
        self._patient = False

    def drain(self) -> None:
        """Let running flows finish (S1.6), and what this process is to go on with before it ends.

        A cancelled execution has finished already. Its body gets a moment to clean up; one that hangs in
        a call cannot hold the process.
        """
        if self._heartbeat is None:  # not a runner any more: what it still runs is anybody's
            return
        try:
            while (self._picked_up_before_the_end() or self._active) and self._patient and self._leaving is None:
                self._wait_for_active()
        except KeyboardInterrupt:
            self.interrupted()
            raise

    def _picked_up_before_the_end(self) -> bool:
        """Look for what there was no place for, or no time: this process may end before its next heartbeat.

        That is orphans, and the parent of a child that ended here, for which nobody else may live.
        """
        pickup = self.pickup
        if not (pickup.has_orphans_left or pickup.may_have_woken):
            return False
        with contextlib.suppress(KitaruStoreError):  # they are left to the next process
            if pickup.may_have_woken:
                pickup.go_on_before_the_end()
            if pickup.has_orphans_left:
                self.sweep()
            return bool(self._active)
        return False

    def _wait_for_active(self) -> None:
        grace = _CLEAN_UP_SECONDS
        for active in self._snapshot():
            active.done.wait()
            _tell_failure(active)
            began = self._shared.clock.monotonic()
            active.left.wait(max(grace, 0.0))
            grace -= self._shared.clock.monotonic() - began
            self._active.pop(active.row.execution_id, None)

    def hand_back(self, grace: float) -> None:
        """Stop taking work, let calls under way end for ``grace`` seconds, and leave the rest to other runners."""
        signal = HandedBack("this process ends; another runner goes on with the execution")
        with self._lock:
            self._leaving = signal
            # What is only in the line has not begun: it is left pending, which the end of the lease makes anybody's.
            for active in self.places.close():
                self._active.pop(active.row.execution_id, None)
                active.left.set()
        clock = self._shared.clock
        deadline = clock.monotonic() + grace
        while (left := deadline - clock.monotonic()) > 0 and (waiting := self._snapshot()):
            for active in waiting:
                active.leave(signal)
            clock.wait(waiting[0].left, min(left, _TICK))
        for active in self._snapshot():
            active.stop(signal)
        for active in self._snapshot():
            clock.wait(active.left, max(0.0, deadline + _CLEAN_UP_SECONDS - clock.monotonic()))
        self.end()

    def end(self) -> None:
        """Stop being a runner: others can go on at once with what still runs here."""
        heartbeat = self._heartbeat
        if heartbeat is None:
            return
        heartbeat.end()  # first: a claim of its last round would else make this process a runner again
        with self._lock:
            self._heartbeat = None
        if self._unsubscribe is not None:
            self._unsubscribe()
        active_ones = list(self._active.values())
        for active in active_ones:
            active.stop(LeaseLost("this process stops running flows"))
        with contextlib.suppress(KitaruStoreError):  # they are orphans in time
            for active in active_ones:
                if active.child is None:  # its body may hang in a call, but nobody has died: that would be counted
                    self._hand_back(active)
                else:  # it is killed, and then handed back by who waits for it
                    self._shared.clock.wait(active.left, _CLEAN_UP_SECONDS)
        with contextlib.suppress(KitaruStoreError):  # then its lease tells it, once that has run out
            self.lease.retire()


def _tell_failure(active: Active) -> None:
    """Say that a flow failed for which the script that started it does not wait any more: its exit code will not."""
    outcome = active.outcome
    if outcome is None or outcome.status is not Status.FAILED or outcome.error is None:
        return
    row, kind = active.row, type(outcome.error).__name__
    _log.error(
        "execution %s of flow %s failed (%s), and nobody waits for it. Why: kitaru executions get %s",
        row.execution_id,
        row.flow,
        kind,
        row.execution_id,
    )
