"""Processes that have loaded a flow and wait for an execution of it, so that the next one begins at once."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from kitaru.stacks.child_process import ChildProcess

MOST_SPARES = 4
"""So many processes wait at most; the one that waits longest goes."""


class Kind(NamedTuple):
    """What makes one spare process as good as another."""

    python: str
    folder: Path
    flow_ref: str
    variables: tuple[tuple[str, str], ...]


class Spares:
    """The spare processes of this one. Each runs one execution, as every child process does.

    A process that starts an execution of some code twice is likely to do so again: from then on one waits.
    Owned here, under ``_lock``: ``_waiting``, in the order in which they were started, and ``_seen``.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[Kind, ChildProcess] = {}
        self._seen: set[Kind] = set()
        self._closed = False

    def take(
        self, python: str, folder: Path, variables: Mapping[str, str], flow_ref: str, execution_id: str
    ) -> ChildProcess:
        """A process that runs this execution from now on: one that waited for it where there is one."""
        kind = Kind(python, folder, flow_ref, tuple(sorted(variables.items())))
        with self._lock:
            if not self._seen:
                atexit.register(self.close)
            waited = self._waiting.pop(kind, None)
            if kind in self._seen and not self._closed:
                self._let_wait(kind)
            self._seen.add(kind)
        if waited is not None:
            if waited.give(execution_id):
                return waited
            _end(waited)
        child = _started(kind)
        child.give(execution_id)
        return child

    def _let_wait(self, kind: Kind) -> None:
        """Start one that waits for the next execution. Called under the lock."""
        self._waiting[kind] = _started(kind)
        if len(self._waiting) > MOST_SPARES:
            _end(self._waiting.pop(next(iter(self._waiting))))

    def pids(self) -> list[int]:
        """Those that wait."""
        with self._lock:
            return [process.pid for process in self._waiting.values()]

    def close(self) -> None:
        """End those that wait. Nothing of any execution is lost: they have none yet."""
        with self._lock:
            self._closed = True
            for process in self._waiting.values():
                _end(process)
            self._waiting.clear()
        atexit.unregister(self.close)


def _started(kind: Kind) -> ChildProcess:
    return ChildProcess(kind.flow_ref, dict(kind.variables), python=kind.python, folder=kind.folder)


def _end(process: ChildProcess) -> None:
    process.kill()
    process.wait()
