"""Tells at once that a runner on this machine is dead, without waiting for its lease.

Each registered runner's process holds an exclusive lock on a file of its own, which the operating
system releases when the process ends, however it ends. Who can share that lock has the proof. A process
id was rejected: it is reused. Runners of other machines, and systems without ``fcntl``, have only leases.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import IO
from urllib.parse import quote

from kitaru.core.clock import SystemClock
from kitaru.errors import KitaruStoreError
from kitaru.store.forks import follow_forks

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_TRIES, _PAUSE = 100, 0.01

# Waiting for another process is waiting for the real world, whatever clock a test has injected.
_machine = SystemClock()
_never = threading.Event()


class RunnerLocks:
    """The lock files beside one database; none where ``folder`` is None.

    ``_held`` is written under ``_lock`` only.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder if fcntl is not None else None
        self._lock = threading.Lock()
        self._held: dict[str, IO[bytes]] = {}
        follow_forks(self)

    @property
    def exist(self) -> bool:
        """False where only leases tell who lives."""
        return self._folder is not None

    def hold(self, runner_id: str) -> None:
        """Hold the runner's lock until ``release``, or until this process ends."""
        if self._folder is None or fcntl is None:
            return
        with self._lock:
            if runner_id in self._held:
                return
            path = self._path(runner_id)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._held[runner_id] = self._take(path, runner_id)
            except OSError as error:
                raise KitaruStoreError(
                    f"The runner's lock file {path} cannot be made: {error}. Make the folder of the store writable, "
                    "or name another store with KITARU_STORE."
                ) from error

    def _take(self, path: Path, runner_id: str) -> IO[bytes]:
        assert fcntl is not None
        for _ in range(_TRIES):
            file = path.open("ab")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                _machine.wait(_never, _PAUSE)  # most likely somebody only looks whether it is dead
                continue
            if _is_same_file(file, path):
                return file
            file.close()  # it was removed as a dead runner's between open and lock
        raise KitaruStoreError(
            f"The runner {runner_id!r} is registered by another process, which holds {path}. "
            "Each process needs a runner id of its own."
        )

    def _path(self, runner_id: str) -> Path:
        assert self._folder is not None
        return self._folder / quote(runner_id, safe="")

    def release(self, runner_id: str) -> None:
        """Let go of the lock and remove its file."""
        with self._lock:
            file = self._held.pop(runner_id, None)
            if file is not None and self._folder is not None:
                self._path(runner_id).unlink(missing_ok=True)
                file.close()

    def is_dead(self, runner_id: str) -> bool:
        """True where the runner's process has certainly ended."""
        file = self._lock_of_dead(runner_id)
        if file is None:
            return False
        file.close()
        return True

    def remove(self, runner_id: str) -> None:
        """Remove the file of a dead runner."""
        file = self._lock_of_dead(runner_id)
        if file is not None and self._folder is not None:
            self._path(runner_id).unlink(missing_ok=True)
            file.close()

    def _lock_of_dead(self, runner_id: str) -> IO[bytes] | None:
        if self._folder is None or fcntl is None:
            return None
        try:
            file = self._path(runner_id).open("rb")
        except OSError:  # no file: another machine's runner, or one that this user may not look at
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared, so that two who look do not meet
        except BlockingIOError:
            file.close()
            return None
        return file

    def close(self) -> None:
        """Let go of all locks; the files stay, as those of dead runners."""
        with self._lock:
            for file in self._held.values():
                file.close()
            self._held.clear()

    def before_fork(self) -> None:
        """Wait until no lock is being taken."""
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Let others go on."""
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """Close the child's copies. Not unlocked: that would take the locks from the parent."""
        for file in self._held.values():
            file.close()
        self._held = {}
        self._lock.release()


def _is_same_file(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
