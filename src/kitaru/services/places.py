"""How many top-level executions a runner runs at once, and which ones wait for a place."""

from __future__ import annotations

import threading
from bisect import insort

from kitaru.services.active import Active


class Places:
    """Owned here, under ``_lock``: the count of places taken, and the line for them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._taken = 0
        self._line: list[Active] = []
        self._closed = False

    @property
    def free(self) -> int:
        """How many more may run now."""
        return self._most - self._taken

    def take(self) -> bool:
        """Take a place; False where all are taken."""
        with self._lock:
            if self._taken >= self._most:
                return False
            self._taken += 1
            return True

    def give_back(self) -> None:
        """A place that was taken is free again."""
        with self._lock:
            self._taken -= 1

    def wait(self, active: Active) -> None:
        """Put an execution into the line: behind those of its priority and above."""
        with self._lock:
            insort(self._line, active, key=lambda one: -one.row.priority)

    def next(self) -> Active | None:
        """The first in the line, with a place; None where nobody waits, or no place is free."""
        with self._lock:
            if not self._line or self._closed or self._taken >= self._most:
                return None
            self._taken += 1
            return self._line.pop(0)

    def put_back(self, active: Active) -> None:
        """It could not begin: it gives its place back and is the first in the line again."""
        with self._lock:
            self._taken -= 1
            self._line.insert(0, active)

    def close(self) -> list[Active]:
        """Nobody begins any more; those in the line."""
        with self._lock:
            self._closed = True
            left = list(self._line)
            self._line.clear()
            return left
