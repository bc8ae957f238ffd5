"""The line in which this process's calls wait for places under limits (``@checkpoint(limit=...)``).

Executions wait in it too, before their bodies begin, under the limits of their flow and their stack.

A call that waits holds no thread of the pool. One thread asks the store for all of them: when one comes,
when the store has changed, when a rate has room again, and every half second, as a hint may be lost and a
process may have died. It lives while calls wait.

Owned here: ``_joining``, ``_waiting`` and ``_leaving``, under ``_lock``; ``_thread`` as in the committer.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches

from kitaru.core.limit import of_executions
from kitaru.core.ports import Admission, Ask, Store
from kitaru.core.rows import ExecutionRow, LimitRow
from kitaru.engine.run import Run
from kitaru.engine.signals import Signal, Unwound
from kitaru.errors import KitaruStoreError, KitaruUsageError

POLL_SECONDS = 0.5
"""How long a place may be free before it is noticed, where no hint came: its holder was killed."""

_IDLE_SECONDS = 10.0
_SHORTEST = 0.002
_KNOWN_SECONDS = 1.0
_never = threading.Event()

Key = tuple[str, str, int]


class Waiting:
    """A call in the line, or where ``call_id`` is ``""`` an execution.

    ``wake`` is called once, on any thread; then ``check`` says how it ended.
    """

    __slots__ = ("ask", "error", "run", "wake")

    def __init__(self, run: Run, call_id: str, limits: tuple[str, ...], wake: Callable[[], None]) -> None:
        self.run = run
        self.ask = Ask(run.execution_id, call_id, run.row.epoch, run.row.priority, limits)
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
        """What tells it from other calls, and from the same one under another epoch."""
        return _key(self.ask)


def wait_for_places(run: Run, call_id: str, limits: tuple[str, ...]) -> None:
    """Block until the places are taken. Raises as ``Waiting.check`` does."""
    woken = threading.Event()
    waiting = Waiting(run, call_id, limits, woken.set)
    run.shared.line.join(waiting)
    woken.wait()
    waiting.check()


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
        self._of_executions: frozenset[str] = frozenset()
        self._known_until = -math.inf
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

    def leave(self, ask: Ask) -> None:
        """A call ends without a record, or an execution at all: it waits no more, and what it holds is free."""
        key = _key(ask)
        with self._lock:
            self._joining.pop(key, None)
            self._waiting.pop(key, None)
            self._leaving.append(ask)
        self._start()

    def hint(self) -> None:
        """Something may have changed: look soon. Who joins after the change sees it anyway."""
        if self._waiting:
            self._stir.set()

    def limits_of(self, row: ExecutionRow) -> tuple[str, ...]:
        """The limits under which an execution comes by itself; what other processes set is seen within a second.

        None for a child flow: its parent holds a place while it waits, so all could wait for ever.
        """
        if row.parent_id is not None:
            return ()
        now = time.monotonic()
        if now >= self._known_until:
            self.declare()
            self._of_executions = frozenset(one.name for one in self._store.limits.list() if of_executions(one.name))
            self._known_until = now + _KNOWN_SECONDS
        if not self._of_executions:
            return ()
        return tuple(name for name in (f"flow:{row.flow}", f"stack:{row.stack}") if name in self._of_executions)

    def forget(self) -> None:
        """This process has changed a limit."""
        self._known_until = -math.inf
        self.hint()

    def declare(self) -> None:
        """Write the limits of this process's configuration, unless the store has them so or set by hand."""
        declared = self._declared
        known = {row.name: row for row in self._store.limits.list()} if declared else {}
        for row in declared:
            present = known.get(row.name)
            if present is None or (present.declared and present != row):
                self._store.limits.set(row)
        with self._lock:
            self._declared = tuple(row for row in self._declared if row not in declared)  # more may have come

    def also_declare(self, rows: Iterable[LimitRow]) -> None:
        """This process's configuration has further limits, or others: a module that was loaded late has them."""
        with self._lock:
            self._declared = (*self._declared, *rows)
        self.forget()

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
                if self._waiting and not self._joining:
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
            waiting = self._waiting.get(_key(ask))
            if waiting is not None:
                self._settle(waiting)
        if admission.unknown:
            self._refuse(admission.unknown)
        return _pause(admission)

    def _refuse(self, unknown: Sequence[str]) -> None:
        names = [row.name for row in self._store.limits.list()]
        for waiting in list(self._waiting.values()):
            wrong = next((name for name in waiting.ask.limits if name in unknown), None)
            if wrong is not None and of_executions(wrong):
                self._settle(waiting)  # it was deleted: nothing bounds the execution any more
            elif wrong is not None:
                near = get_close_matches(wrong, names, 1)
                hint = f"; did you mean {near[0]!r}?" if near else "."
                waiting.error = KitaruUsageError(
                    f"{waiting.ask.call_id}: there is no limit {wrong!r}{hint} Limits are defined with "
                    "kitaru.configure(limits=...), [tool.kitaru.limits] or KitaruClient().limits.set(...)."
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


def _key(ask: Ask) -> Key:
    return ask.execution_id, ask.call_id, ask.epoch


def _pause(admission: Admission) -> float:
    if admission.next_at is None:
        return POLL_SECONDS
    return min(POLL_SECONDS, max(_SHORTEST, (admission.next_at - admission.now) / 1_000_000))
