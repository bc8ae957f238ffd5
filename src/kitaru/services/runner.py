"""This process as a runner: its lease, the executions it runs, and what has to happen beside them.

Owned here: ``_active``, under ``_lock``. One thread (the heartbeat) renews the lease, notices
cancellations and takeovers, shows slow calls, writes ends that the store had refused, and picks up
orphans of the flows that this process knows (S6.3).
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable

from kitaru.core.mutations import Claimed, Commit, Refusal, StatusChanged
from kitaru.core.rows import ExecutionRow
from kitaru.core.states import Status
from kitaru.engine.body import Outcome, execute, unwritten
from kitaru.engine.crash_points import crash_point
from kitaru.engine.definitions import FlowDefinition, registry
from kitaru.engine.leases import BEATS_PER_LEASE, Heartbeat, Lease
from kitaru.engine.run import Run, Shared
from kitaru.engine.signals import KitaruCancelled, LeaseLost, Signal, Unwound
from kitaru.errors import KitaruStoreError
from kitaru.stacks.local import at_process_end

LOCAL = "local"
_TICK = 0.1
_SLOW_CALL = 200_000
_CLEAN_UP_SECONDS = 2.0
_SWEEP_LIMIT = 100


class Active:
    """An execution that this process runs.

    ``done`` is set once the store has its last word, ``left`` once its thread has left the body too.
    """

    def __init__(
        self, row: ExecutionRow, definition: FlowDefinition, *, counted: bool, hint: Callable[[], None]
    ) -> None:
        self.row = row
        self.hint = hint
        self.definition = definition
        self.counted = counted
        self.run: Run | None = None
        self.outcome: Outcome | None = None
        self.done = threading.Event()
        self.left = threading.Event()
        self.attached = 0  # handles that wait for it; changed under the lock of the runner
        self._signal: Signal | None = None
        self._listeners: list[Callable[[], None]] = []

    def on_run(self, run: Run) -> None:
        """The next pass of the body begins."""
        run.parking.attached = self.is_attached
        run.parking.hint = self.hint
        self.run = run
        if self._signal is not None:
            run.stop(self._signal)

    def is_attached(self) -> bool:
        """True where somebody in this process waits for its end."""
        return self.attached > 0

    def stop(self, signal: Signal) -> None:
        """Have the body unwind. A cancelled execution is finished already: nobody waits for its threads."""
        self._signal = signal
        if self.run is not None:
            self.run.stop(signal)
        if isinstance(signal, KitaruCancelled):
            self.finish()

    @property
    def epoch(self) -> int:
        """The epoch under which this process owns it."""
        return self.row.epoch if self.run is None else self.run.row.epoch

    def finish(self) -> None:
        """Let everybody go on who waits for it."""
        self.done.set()
        while True:
            try:
                listener = self._listeners.pop()
            except IndexError:  # the last one is gone: asked for so, as another thread may be at it too
                return
            listener()

    def on_done(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` on any thread once it is done, at once where it is."""
        self._listeners.append(listener)
        if self.done.is_set():
            self.finish()


class Runner:
    """Runs executions in threads of this process."""

    def __init__(self, shared: Shared, *, project: str, max_flows: int, lease: Lease) -> None:
        self.lease = lease
        self._shared = shared
        self._project = project
        self._max_flows = max_flows
        self._lock = threading.Lock()
        self._active: dict[str, Active] = {}
        self._queue: deque[Active] = deque()
        self._unwritten: list[tuple[Active, StatusChanged]] = []
        self._in_doubt: list[tuple[ExecutionRow, FlowDefinition]] = []
        self._counted = 0
        self._asleep: set[str] = set()  # suspended here, so this process is to go on with them
        self._heartbeat: Heartbeat | None = None
        self._changed = True
        self._patient = True
        self._unsubscribe: Callable[[], None] | None = None
        self._renewed_at = 0.0
        self._sweeping = threading.Lock()
        self._catching_up = threading.Lock()
        self._swept_at: float | None = None

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
        with self._lock:
            self._patient = True  # who was interrupted has gone on, and this flow is to finish
            if self._counted >= self._max_flows:
                return False
            self._counted += 1
            return True

    def release(self) -> None:
        """Give back a place that was reserved and not used."""
        with self._lock:
            self._counted -= 1

    def launch(self, row: ExecutionRow, definition: FlowDefinition, *, counted: bool) -> Active:
        """Run an execution that this process owns, in a thread of its own."""
        active = Active(row, definition, counted=counted, hint=self.hint)
        with self._lock:
            self._asleep.discard(row.execution_id)
            self._active[row.execution_id] = active
        self._start_thread(active)
        return active

    def queue(self, row: ExecutionRow, definition: FlowDefinition) -> Active:
        """Run a pending execution once there is a place for it."""
        active = Active(row, definition, counted=True, hint=self.hint)
        with self._lock:
            self._active[row.execution_id] = active
            self._queue.append(active)
        self._fill_places()
        return active

    def claim(self, row: ExecutionRow, definition: FlowDefinition, *, attempt: int) -> Active | None:
        """Take an execution over and run it; None where somebody else was first."""
        runner_id = self.begin()
        try:
            claimed = self._claim(row, runner_id, attempt)
        except KitaruStoreError:
            self.doubt(row._replace(runner_id=runner_id), definition)
            raise
        return None if claimed is None else self.launch(claimed, definition, counted=False)

    def doubt(self, row: ExecutionRow, definition: FlowDefinition) -> None:
        """The commit failed by which this process was to own an execution; only its answer may have been lost.

        Then the store says that this living process runs it, so nobody else may: the heartbeat looks.
        """
        self._in_doubt.append((row, definition))

    def active(self, execution_id: str) -> Active | None:
        """The execution, where this process is running it or will, or where the store has not taken its end yet."""
        active = self._active.get(execution_id)
        if active is None:  # in this order: it is unwritten before it is no longer active
            active = next((one for one, _ in tuple(self._unwritten) if one.row.execution_id == execution_id), None)
        return active

    def attach(self, active: Active, change: int) -> None:
        """Somebody begins (1) or ends (-1) to wait for an execution."""
        with self._lock:
            active.attached += change
        self.hint()

    def hint(self) -> None:
        """Something may have come that an execution is parked for: look soon."""
        heartbeat = self._heartbeat
        if heartbeat is not None:
            heartbeat.hint()

    def _claim(self, row: ExecutionRow, runner_id: str, attempt: int) -> ExecutionRow | None:
        claimed = Claimed(runner_id, row.status, row.epoch, attempt)
        try:
            self._shared.committer.commit(Commit(row.execution_id, None, (claimed,)))
        except Refusal:
            return None
        crash_point("after_claim")
        return row._replace(status=Status.RUNNING, epoch=row.epoch + 1, runner_id=runner_id, attempt=attempt)

    def _start_thread(self, active: Active) -> None:
        name = f"kitaru-{active.row.flow}"
        threading.Thread(target=self._run, args=(active,), name=name, daemon=True).start()

    def _run(self, active: Active) -> None:
        try:
            active.outcome = execute(
                self._shared,
                active.definition,
                active.row,
                lease_holds=self.lease.holds,
                on_run=active.on_run,
            )
        except BaseException as error:  # noqa: BLE001  # a thread has nobody above it: keep the error for whoever waits
            active.outcome = unwritten(self._shared, error)
        finally:
            self._ended(active)

    def _ended(self, active: Active) -> None:
        outcome = active.outcome
        with self._lock:
            if outcome is not None and isinstance(outcome.signal, Unwound):
                self._asleep.add(active.row.execution_id)
            if outcome is not None and outcome.unwritten is not None:
                self._unwritten.append((active, outcome.unwritten))
            if self._active.get(active.row.execution_id) is active:
                del self._active[active.row.execution_id]
            if active.counted:
                self._counted -= 1
        active.left.set()
        active.finish()
        self._fill_places()

    def _fill_places(self) -> None:
        while True:
            with self._lock:
                if not self._queue or self._counted >= self._max_flows:
                    return
                active = self._queue.popleft()
                self._counted += 1
            try:
                claimed = self._claim(active.row, self.lease.runner_id, active.row.attempt)
            except KitaruStoreError:  # it keeps its turn, and the heartbeat tries again
                with self._lock:
                    self._queue.appendleft(active)
                    self._counted -= 1
                return
            if claimed is None:  # cancelled while it was pending
                active.outcome = Outcome(None)
                self._ended(active)
            else:
                active.row = claimed
                self._start_thread(active)

    # ── beside the executions ────────────────────────────────────────────────────────────────────

    def look(self) -> None:
        """Stop what was cancelled or taken over. Asked for by hand where this process has cancelled."""
        for execution_id, active in list(self._active.items()):
            status = self._shared.store.executions.status(execution_id)
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
        if self._changed and self._active:
            self._changed = False
            self.look()
        older_than = self._shared.clock.now() - _SLOW_CALL
        for active in list(self._active.values()):
            if active.run is not None:
                active.run.flush_hints(older_than)
        with self._catching_up, contextlib.suppress(KitaruStoreError):
            # A store that takes no writes for now keeps nobody from what only reads: a parent that waits for
            # a child whose end was not taken is to be told. What is left here is tried again at the next beat.
            self._write_ends()
            self._settle_doubts()
        self._fill_places()
        self._look_at_parked()
        if self._swept_at is None or now - self._swept_at >= self.lease.seconds / BEATS_PER_LEASE:
            self.sweep()

    def _look_at_parked(self) -> None:
        """Deliver what has come, suspend what only waits, release whose grace is over, go on with what was woken."""
        for active in list(self._active.values()):
            if active.run is not None:
                active.run.parking.look()
                active.run.parking.unwind_if_over()
        self._go_on()

    def _go_on(self) -> None:
        """Run again what was parked here and has been woken, and what is due (S5.2, S5.8)."""
        if self._heartbeat is None:
            return
        executions, runner_id = self._shared.store.executions, self.lease.runner_id
        rows = executions.pending(runner_id=runner_id, limit=_SWEEP_LIMIT)
        rows += executions.due(runner_id=runner_id, project=self._project, stack=LOCAL, limit=_SWEEP_LIMIT)
        for row in rows:
            definition = registry.get(row.flow_ref)
            begun = row.epoch > 0  # one that has never run is in the queue, and begins when there is a place for it
            if begun and definition is not None and row.execution_id not in self._active:
                self.claim(row, definition, attempt=row.attempt)

    def sweep(self) -> None:
        """Pick up orphans of this project whose flows this process has loaded (S6.3).

        Only those: to import the code of an execution that merely shares the store is not ours to do.
        """
        with self._sweeping:
            orphans = self._shared.store.executions.orphans(project=self._project, stack=LOCAL, limit=_SWEEP_LIMIT)
            for row in orphans:
                definition = registry.get(row.flow_ref)
                if definition is not None and row.execution_id not in self._active:
                    self.claim(row, definition, attempt=row.attempt)
            self._swept_at = self._shared.clock.monotonic()

    def _on_change(self) -> None:
        self._changed = True
        if self._asleep or any(active.run is not None and active.run.parking.any_parked for active in self._snapshot()):
            self.hint()

    def _snapshot(self) -> list[Active]:
        with self._lock:
            return list(self._active.values())

    def _renew(self) -> None:
        if self.lease.renew():
            return
        for active in list(self._active.values()):
            active.stop(LeaseLost("the lease of this process has run out"))
        self.lease.register()

    def _write_ends(self) -> None:
        while self._unwritten:
            active, end = self._unwritten[0]
            with contextlib.suppress(Refusal):  # somebody else has taken it over, or it was cancelled
                self._shared.committer.commit(Commit(active.row.execution_id, active.epoch, (end,)))
            self._unwritten.pop(0)

    def _settle_doubts(self) -> None:
        while self._in_doubt:
            row, definition = self._in_doubt[0]
            found = self._shared.store.executions.get(row.execution_id)
            if found is not None and found.runner_id == row.runner_id and self.active(row.execution_id) is None:
                if found.status is Status.RUNNING:
                    self.launch(found, definition, counted=False)
                elif found.status is Status.PENDING:
                    self.queue(found, definition)
            self._in_doubt.pop(0)

    # ── the end ──────────────────────────────────────────────────────────────────────────────────

    def interrupted(self) -> None:
        """Somebody who waited was interrupted (Ctrl-C): the end of the process waits for no flow any more."""
        self._patient = False

    def drain(self) -> None:
        """Let running flows finish (S1.6), and the orphans that this process was to pick up first.

        A cancelled execution has finished already. Its body gets a moment to clean up; one that hangs in
        a call cannot hold the process.
        """
        if self._heartbeat is None:  # not a runner any more: what it still runs is anybody's
            return
        grace = _CLEAN_UP_SECONDS
        try:
            if self._swept_at is None:
                # A process that ends at once would end before its heartbeat has looked for them.
                with contextlib.suppress(KitaruStoreError):  # they are left to the next process
                    self.sweep()
            while self._active and self._patient:
                for active in list(self._active.values()):
                    active.done.wait()
                    began = self._shared.clock.monotonic()
                    active.left.wait(max(grace, 0.0))
                    grace -= self._shared.clock.monotonic() - began
                    self._active.pop(active.row.execution_id, None)
        except KeyboardInterrupt:
            self.interrupted()
            raise

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
        for active in list(self._active.values()):
            active.stop(LeaseLost("this process stops running flows"))
        self.lease.retire()
