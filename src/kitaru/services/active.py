"""An execution that this process runs, or is about to."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from functools import partial

from kitaru.core.ports import Child
from kitaru.core.rows import ExecutionRow
from kitaru.engine.body import Outcome
from kitaru.engine.definitions import FlowDefinition
from kitaru.engine.run import Run
from kitaru.engine.signals import KitaruCancelled, Signal


class Active:
    """An execution in this process.

    ``definition`` is None where the flow has yet to be loaded. ``done`` is set once the store has its
    last word, ``left`` once its thread has left the body too. ``is_new`` is True where nothing is recorded of it.
    """

    def __init__(
        self, row: ExecutionRow, definition: FlowDefinition | None, *, counted: bool, hint: Callable[[], None]
    ) -> None:
        self.row = row
        self.hint = hint
        self.definition = definition
        self.counted = counted
        self.is_new = False
        self.run: Run | None = None
        self.child: Child | None = None
        self.outcome: Outcome | None = None
        self.done = threading.Event()
        self.left = threading.Event()
        self.attached = 0  # handles that wait for it; changed under the lock of the runner
        self._signal: Signal | None = None
        self._leaving: Signal | None = None
        self._listeners: list[Callable[[], None]] = []

    def claimed(self, row: ExecutionRow) -> None:
        """This process owns it now; ``row`` says so."""
        self.is_new = has_no_records(self.row)
        self.row = row

    def on_run(self, run: Run) -> None:
        """The next pass of the body begins."""
        run.parking.attached = self.is_attached
        run.parking.hint = self.hint
        self.run = run
        if self._signal is not None:
            run.stop(self._signal)
        elif self._leaving is not None:
            run.leave(self._leaving)

    def on_child(self, child: Child) -> None:
        """A process was started for it."""
        self.child = child
        for listener in tuple(self._listeners):
            listener()
        if self._signal is not None:
            child.kill()
        elif self._leaving is not None:
            child.stop()

    @property
    def is_parked(self) -> bool:
        """True where something of it waits for an answer, a timer or a child."""
        return self.run is not None and self.run.parking.any_parked

    def is_attached(self) -> bool:
        """True where somebody in this process waits for its end."""
        return self.attached > 0

    @property
    def is_leaving(self) -> bool:
        """True where it was asked to end here."""
        return self._signal is not None or self._leaving is not None

    def stop(self, signal: Signal) -> None:
        """Have the body unwind. A cancelled execution is finished already: nobody waits for its threads."""
        self._signal = signal
        if self.run is not None:
            self.run.stop(signal)
        if self.child is not None:
            self.child.kill()
        if isinstance(signal, KitaruCancelled):
            self.finish()

    def leave(self, signal: Signal) -> None:
        """Have the body unwind once the calls that it has under way have ended."""
        self._leaving = signal
        if self.run is not None:
            self.run.leave(signal)
        if self.child is not None:
            self.child.stop()

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

    def on_news(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` on any thread once it is done, at once where it is, and when it is given a process.

        The answer ends that.
        """
        self._listeners.append(listener)
        if self.done.is_set():
            self.finish()
        return partial(self._forget, listener)

    def _forget(self, listener: Callable[[], None]) -> None:
        with contextlib.suppress(ValueError):  # it has been called
            self._listeners.remove(listener)


def has_no_records(row: ExecutionRow) -> bool:
    """True where nothing can be recorded of a pending execution: it has never run, and is no replay."""
    return row.started_at is None and row.original_id is None
