"""The terminal of a process that waits for an execution asks its questions (S5.4). POSIX only.

A thread beside the one that waits looks for open questions, and reads the answer from the terminal. The
terminal stays as it is: its own line editing is used, so there is nothing to restore, and Ctrl-C reaches
the thread that waits. Reading is interrupted by a pipe, once somebody else has answered or nobody waits any more.

Owned here: ``_asker``, the one thread of this process, under ``_lock``.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

from kitaru.client.form import Aborted, Given, fill_in, plain
from kitaru.client.typed import NotNeeded, discard_typed, in_foreground, read_line
from kitaru.client.waits import wait_record
from kitaru.core.rows import ExecutionRow, WaitRow
from kitaru.core.states import WaitStatus
from kitaru.core.wait import Wait
from kitaru.errors import (
    KitaruNotFoundError,
    KitaruSerializationError,
    KitaruStateError,
    KitaruStoreError,
    KitaruWaitValidationError,
)
from kitaru.services.answer import abort, answer
from kitaru.services.wiring import Wiring

_POLL_SECONDS = 2.0
_PAUSE_SECONDS = 0.1
"""Between two looks: a busy execution changes the store a thousand times a second."""

_MOST = 1000
_VIA = "terminal"

_lock = threading.Lock()
_asker: _Asker | None = None


def _forget() -> None:
    """A forked child has no such thread."""
    global _lock, _asker
    _lock, _asker = threading.Lock(), None


os.register_at_fork(after_in_child=_forget)


@contextmanager
def asking(wiring: Wiring, execution_id: str) -> Generator[None]:
    """In the block, questions of this execution and of the flows that it has started are asked on the terminal."""
    global _asker
    with _lock:
        if _asker is None:
            _asker = _Asker(wiring)
        asker = _asker
        asker.add(execution_id)
    try:
        yield
    finally:
        with _lock:
            if asker.remove(execution_id):
                _asker = None
                asker.end()


class _Asker(threading.Thread):
    """Asks for the executions in ``_roots``; a thread adds and removes them under ``_lock``."""

    def __init__(self, wiring: Wiring) -> None:
        super().__init__(name="kitaru-prompt", daemon=True)
        self._wiring = wiring
        self._roots: list[str] = []
        self._ended = threading.Event()
        self._changed = threading.Event()
        self._passed: set[tuple[str, str]] = set()  # left open by whoever sits there
        self._belongs: dict[str, bool] = {}  # known of ``_roots``: replaced, and never emptied, when those change
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._woken, False)

    def add(self, execution_id: str) -> None:
        """Ask for this one too."""
        self._roots.append(execution_id)
        self._belongs = {}
        self._on_change()
        if not self.is_alive():
            self.start()

    def remove(self, execution_id: str) -> bool:
        """Ask for it no more; True where none is left."""
        self._roots.remove(execution_id)
        self._belongs = {}
        self._on_change()
        return not self._roots

    def end(self) -> None:
        """Stop at once, and wait until the terminal is free."""
        self._ended.set()
        self._on_change()
        self.join()
        os.close(self._woken)
        os.close(self._wake)

    def _on_change(self) -> None:
        self._changed.set()
        with contextlib.suppress(BlockingIOError):  # it is full: the thread will wake all the same
            os.write(self._wake, b"x")

    def run(self) -> None:
        """Look, ask, look again."""
        stop_listening = self._wiring.store.changes(self._on_change)
        try:
            while not self._ended.is_set():
                self._changed.clear()
                with contextlib.suppress(KitaruStoreError):  # whoever waits is told; this is only the terminal
                    found = self._next() if in_foreground() else None
                    if found is not None:
                        self._ask(*found)
                        continue
                self._changed.wait(_POLL_SECONDS)
                self._ended.wait(_PAUSE_SECONDS)
        finally:
            stop_listening()

    # ── which question ───────────────────────────────────────────────────────────────────────────

    def _next(self) -> tuple[str, WaitRow] | None:
        """The oldest open question that was not asked yet."""
        store = self._wiring.store
        own = [(root, row) for root in tuple(self._roots) for row in store.waits.of(root)]
        of_children = store.waits.open(flow=None, since=0, limit=_MOST)
        for execution_id, row in (*own, *of_children):
            is_open = row.status is WaitStatus.OPEN and (execution_id, row.wait_id) not in self._passed
            if is_open and self._is_ours(execution_id):
                return execution_id, row
        return None

    def _is_ours(self, execution_id: str) -> bool:
        """True for the executions that are waited for, and for what they have started."""
        belongs = self._belongs  # taken before the roots are looked at: what is found goes where it still counts
        known = belongs.get(execution_id)
        if known is None:
            row = None if execution_id in self._roots else self._wiring.store.executions.get(execution_id)
            parent = None if row is None else row.parent_id
            known = execution_id in self._roots or (parent is not None and self._is_ours(parent))
            belongs[execution_id] = known
        return known

    # ── asking ───────────────────────────────────────────────────────────────────────────────────

    def _ask(self, execution_id: str, row: WaitRow) -> None:
        wait = wait_record(self._wiring, execution_id, row)
        execution = self._wiring.store.executions.get(execution_id)
        if execution is None:
            return
        screen = _Screen(lambda: self._is_over(wait), self._woken)
        discard_typed()  # what was typed before the question could be read is no answer to it
        for line in ("", *_introduction(execution, wait)):
            screen.show(line)
        while True:
            filled = fill_in(wait, screen)
            if filled is None:
                break
            told = self._give(wait, filled)
            screen.show(f"  {plain(told)}")
            if not told.startswith(_AGAIN):
                return
        if screen.over:
            if not self._ended.is_set():
                screen.show(f"  {plain(self._how_it_ended(wait))}")
            return
        self._passed.add((execution_id, row.wait_id))
        screen.show(f"  Left open. To answer it later: kitaru executions input {execution_id} --wait {row.wait_id}")

    def _give(self, wait: Wait, filled: Given | Aborted) -> str:
        """Answer; what to tell."""
        try:
            if isinstance(filled, Aborted):
                abort(self._wiring, wait.exec_id, wait=wait.wait_id, reason=None, by=None, via=_VIA)
                return "Aborted."
            answer(self._wiring, wait.exec_id, filled.value, wait=wait.wait_id, by=None, via=_VIA)
            return "Answered."
        except (KitaruWaitValidationError, KitaruSerializationError) as error:
            return f"{_AGAIN} {error}"
        except (KitaruStateError, KitaruNotFoundError) as error:  # somebody was faster
            return str(error)

    def _is_over(self, wait: Wait) -> bool:
        """True where nobody needs the answer any more."""
        if self._ended.is_set() or not self._is_ours(wait.exec_id):
            return True
        status = self._wiring.store.executions.status(wait.exec_id)
        return status is None or status.finished or self._row(wait) is None

    def _row(self, wait: Wait, *, closed: bool = False) -> WaitRow | None:
        rows = self._wiring.store.waits.of(wait.exec_id)
        return next((r for r in rows if r.wait_id == wait.wait_id and (closed or r.status is WaitStatus.OPEN)), None)

    def _how_it_ended(self, wait: Wait) -> str:
        row = self._row(wait, closed=True)
        if row is None or row.status is WaitStatus.OPEN:
            return f"{wait.exec_id} needs no answer any more."
        by = f" by {row.by}" if row.by and row.status is not WaitStatus.EXPIRED else ""
        return f"{wait.wait_id} was {row.status}{by}, elsewhere." if by else f"{wait.wait_id} is {row.status}."


_AGAIN = "Once more:"


class _Screen:
    """The terminal, for one question. ``over`` is True once nobody needs the answer any more."""

    def __init__(self, is_over: Callable[[], bool], woken: int) -> None:
        self._is_over = is_over
        self._woken = woken
        self.over = False

    def show(self, line: str) -> None:
        self._write(f"{line}\n")

    def read(self, prompt: str) -> str | None:
        self._write(prompt)
        try:
            line = read_line(self._is_over, self._woken)
        except NotNeeded:
            self.over = True
            line = None
        if line is None:
            self._write("\n")
        return line

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # the terminal is gone: then nobody sits there
            sys.stderr.write(text)
            sys.stderr.flush()


def _introduction(execution: ExecutionRow, wait: Wait) -> list[str]:
    flow = plain(f"{execution.flow} {execution.execution_id}")
    lines = [f"{flow} asks ({plain(wait.wait_id)}):", f"  {plain(wait.question)}" if wait.question else "  Go on?"]
    for name, value in (wait.metadata or {}).items():
        lines += [f"  | {plain(str(name))}: {plain(line)}" for line in str(value).splitlines() or [""]]
    if wait.expires_at is not None:
        lines.append(f"  (until {wait.expires_at:%Y-%m-%d %H:%M:%S} UTC, then its default counts)")
    return lines
