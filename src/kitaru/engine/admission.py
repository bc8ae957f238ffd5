"""The line in which this process's calls wait for places under limits (``@checkpoint(limit=...)``).

A call that waits holds no thread of the pool. One thread asks the store for all of them: when one comes,
when the store has changed, when a rate has room again, and every half second, as a hint may be lost and a
process may have died. It lives while calls wait.

Owned here: ``_joining``, ``_waiting`` and ``_leaving``, under ``_lock``; ``_thread`` as in the committer.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches

from kitaru.core.ports import Admission, Ask, Store
from kitaru.core.rows import LimitRow
from kitaru.engine.call import Call
from kitaru.engine.run import Run
from kitaru.engine.signals import Signal, Unwound
from kitaru.errors import KitaruStoreError, KitaruUsageError

POLL_SECONDS = 0.5
"""How long a place may be free before it is noticed, where no hint came: its holder was killed."""

_IDLE_SECONDS = 10.0
_SHORTEST = 0.002
_never = threading.Event()

Key = tuple[str, str]


class Waiting:
    """A call in the line. ``wake`` is called once, on any thread; then ``check`` says how it ended."""

    __slots__ = ("ask", "error", "name", "run", "wake")

    def __init__(self, run: Run, call: Call, wake: Callable[[], None]) -> None:
        row = run.row
        self.run = run
        self.name = call.definition.name
        self.ask = Ask(row.execution_id, call.call_id, row.epoch, row.priority, call.definition.limits)
        self.wake = wake
        self.error: KitaruUsageError | None = None

    def check(self) -> None:
        """Return where the places are taken.

        Raises:
            Signal: The body unwinds, or has failed: the call must not begin.
            KitaruUsageError: A limit is not defined.
        """
        if self.run.signal is not None:
            raise self.run.signal
        if self.error is not None:
            raise self.error
        if self.run.failed:
            raise Unwound("the flow had failed")

    @property
    def key(self) -> Key:
        """What tells it from other calls."""
        return self.ask.execution_id, self.ask.call_id


class Line:
    """The calls of this process that wait for places.

    Args:
        store: Has the limits.
        declared: Limits of this process's configuration; written when the first call asks for any.
    """

    def __init__(self, store: Store, declared: Iterable[LimitRow]) -> None:
        self._store = store
        self._declared = tuple(declared)
        self._lock = threading.Lock()
        self._joining: dict[Key, Waiting] = {}
        self._waiting: dict[Key, Waiting] = {}
        self._leaving: list[Ask] = []
        self._stir = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._ended = False

    # ── any thread ───────────────────────────────────────────────────────────────────────────────

    def join(self, waiting: Waiting) -> None:
        """Have a call wait for its places; ``wake`` tells that it waits no more."""
        with self._lock:
            self._joining[waiting.key] = waiting
        self._start()

    def leave(self, run: Run, call: Call) -> None:
        """A call ends without a record: it waits no more, and what it holds is free."""
        ask = Ask(run.execution_id, call.call_id, run.row.epoch, 0, call.definition.limits)
        key = ask.execution_id, ask.call_id
        with self._lock:
            self._joining.pop(key, None)
            self._waiting.pop(key, None)
            self._leaving.append(ask)
        self._start()

    def hint(self) -> None:
        """Something may have changed: look soon."""
        self._stir.set()

    def declare(self) -> None:
        """Write the limits of this process's configuration, unless the store has them so or set by hand."""
        known = {row.name: row for row in self._store.limits.list()} if self._declared else {}
        for row in self._declared:
            present = known.get(row.name)
            if present is None or (present.declared and present != row):
                self._store.limits.set(row)
        self._declared = ()

    def end(self) -> None:
        """Stop; nobody waits any more."""
        self._ended = True
        self._stir.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    # ── its thread ───────────────────────────────────────────────────────────────────────────────

    def _start(self) -> None:
        self._stir.set()
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._loop, name="kitaru-limits", daemon=True)
                    self._thread.start()

    def _loop(self) -> None:
        unsubscribe = self._store.changes(self.hint)
        try:
            with contextlib.suppress(KitaruStoreError):  # it is for tidiness alone
                self._store.limits.sweep()
            pause = 0.0
            while not self._ended:
                # Not the clock: to look at the store is no passing of time.
                if not self._stir.wait(pause) and not (self._joining or self._waiting or self._leaving):
                    break
                if not self._joining:
                    _never.wait(_SHORTEST)  # hints come by the thousand; one look serves many
                self._stir.clear()
                pause = self._round()
        finally:
            unsubscribe()
        # In this order, against `join`, which queues first and asks for the thread afterwards.
        self._thread = None
        if (self._joining or self._leaving) and not self._ended:
            self._start()

    def _round(self) -> float:
        """Ask once for everybody; the answer is how many seconds to wait for a hint."""
        with self._lock:
            joining, self._joining = self._joining, {}
            leaving, self._leaving = self._leaving, []
            self._waiting |= joining
        self._drop_stopped()
        try:
            if joining:
                self.declare()
            self._store.limits.leave(leaving)
            pause = self._admit(joining)
        except Exception as error:  # noqa: BLE001  # the thread must not die: every call in the line would hang
            self._fail(error)
            pause = 0.0
        return pause if self._waiting else _IDLE_SECONDS

    def _drop_stopped(self) -> None:
        for waiting in list(self._waiting.values()):
            with contextlib.suppress(Signal):
                waiting.run.check_signal()  # a lease that has run out is one
            if waiting.run.signal is not None or waiting.run.failed:
                self._settle(waiting)

    def _admit(self, joining: dict[Key, Waiting]) -> float:
        with self._lock:
            new = [waiting.ask for key, waiting in joining.items() if key in self._waiting]
            old = [waiting.ask for key, waiting in self._waiting.items() if key not in joining]
        if not (new or old):
            return POLL_SECONDS
        admission = self._store.limits.take(old, joining=new)
        for ask in admission.taken:
            waiting = self._waiting.get((ask.execution_id, ask.call_id))
            if waiting is not None:
                self._settle(waiting)
        if admission.unknown:
            self._refuse(admission.unknown)
        return _pause(admission)

    def _refuse(self, unknown: Sequence[str]) -> None:
        names = [row.name for row in self._store.limits.list()]
        for waiting in list(self._waiting.values()):
            wrong = next((name for name in waiting.ask.limits if name in unknown), None)
            if wrong is not None:
                near = get_close_matches(wrong, names, 1)
                hint = f"did you mean {near[0]!r}?" if near else "Define it"
                where = "kitaru.configure(limits=...), [tool.kitaru.limits] or KitaruClient().limits.set(...)"
                waiting.error = KitaruUsageError(
                    f"checkpoint {waiting.name}: there is no limit {wrong!r}; {hint}"
                    + (f" Limits are defined with {where}." if near else f" with {where}.")
                )
                self._settle(waiting)

    def _settle(self, waiting: Waiting) -> None:
        with self._lock:
            if self._waiting.pop(waiting.key, None) is not waiting:
                return  # it has left, and its places with it
        waiting.wake()

    def _fail(self, error: Exception) -> None:
        lost = (
            error if isinstance(error, KitaruStoreError) else KitaruStoreError(f"limits failed unexpectedly: {error!r}")
        )
        for waiting in list(self._waiting.values()):
            waiting.run.stop(waiting.run.signal_for(lost))
            self._settle(waiting)


def _pause(admission: Admission) -> float:
    if admission.next_at is None:
        return POLL_SECONDS
    return min(POLL_SECONDS, max(_SHORTEST, (admission.next_at - admission.now) / 1_000_000))
