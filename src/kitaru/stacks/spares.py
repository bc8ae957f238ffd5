"""Processes that have loaded a flow and wait for an execution of it, so that the next one begins at once."""

from __future__ import annotations

import atexit
import contextlib
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import subprocess

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
        self._waiting: dict[Kind, subprocess.Popen[bytes]] = {}
        self._seen: set[Kind] = set()
        self._closed = False

    def take(
        self, python: str, folder: Path, variables: Mapping[str, str], flow_ref: str, execution_id: str
    ) -> subprocess.Popen[bytes] | None:
        """A process that runs this execution from now on; None where none waits."""
        kind = Kind(python, folder, flow_ref, tuple(sorted(variables.items())))
        with self._lock:
            if kind not in self._seen or self._closed:
                self._seen.add(kind)
                return None
            taken = self._waiting.pop(kind, None)
            given = taken is not None and _give(taken, execution_id)
            if taken is not None and not given:
                _end(taken)
            if not self._waiting:
                atexit.register(self.close)
            self._waiting[kind] = _started(kind)
            if len(self._waiting) > MOST_SPARES:
                _end(self._waiting.pop(next(iter(self._waiting))))
        return taken if given else None

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


def _started(kind: Kind) -> subprocess.Popen[bytes]:
    import subprocess  # noqa: PLC0415  # some ms at every start, and few processes come here

    return subprocess.Popen(  # noqa: S603  # our own module, and a reference from the store
        [kind.python, "-m", "kitaru.worker.child", "--spare", kind.flow_ref],
        cwd=kind.folder,
        env=dict(kind.variables),
        stdin=subprocess.PIPE,
        start_new_session=True,
    )


def _give(process: subprocess.Popen[bytes], execution_id: str) -> bool:
    """Name its execution to a process; False where it has died."""
    assert process.stdin is not None
    try:
        with process.stdin as pipe:
            pipe.write(f"{execution_id}\n".encode())
    except OSError:
        return False
    return process.poll() is None


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    with contextlib.suppress(OSError):  # what could not be written to it is of no use any more
        assert process.stdin is not None
        process.stdin.close()
    process.wait()
