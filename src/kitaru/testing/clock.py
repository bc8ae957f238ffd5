"""A clock that tests can drive."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta

from kitaru.core.clock import Microseconds, SystemClock


class SkippingClock(SystemClock):
    """The machine's clock, but nobody waits for a timer: where an execution only waits for a time, that time comes.

    Timers are ``kitaru.sleep``, the expiry of a wait, and the delay of a retry that is a second or longer.
    Only the date jumps. ``handle.wait(timeout=30)`` and the timeouts of checkpoints are seconds of the machine.

    Args:
        skip: False: no time is skipped but by ``advance``.
    """

    def __init__(self, *, skip: bool = True) -> None:
        self._skip = skip
        # Owned under `_lock`. `_idle` holds the times that wait for whoever answers first.
        self._lock = threading.Lock()
        self._ahead: Microseconds = 0
        self._answering = 0
        self._idle: list[Microseconds] = []

    def now(self) -> Microseconds:
        return super().now() + self._ahead

    def advance(self, duration: float | timedelta) -> None:
        """Let this time pass at once: seconds, or a ``timedelta``. What is due by then goes on within 0.1 s."""
        seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
        with self._lock:
            self._ahead += round(seconds * 1_000_000)

    def idle_until(self, at: Microseconds) -> None:
        with self._lock:
            if self._answering:
                self._idle.append(at)
            elif self._skip:
                self._skip_to(at)

    def _skip_to(self, at: Microseconds) -> None:
        self._ahead += max(0, at - self.now())

    @contextmanager
    def answering(self) -> Generator[None]:
        """While somebody answers waits, a wait's expiry must not come before the answer: ``skip_seen`` skips."""
        with self._lock:
            self._answering += 1
        try:
            yield
        finally:
            with self._lock:
                self._answering -= 1
            self.skip_seen(self.seen())

    def seen(self) -> tuple[Microseconds, ...]:
        """The times that executions wait for, so far."""
        with self._lock:
            return tuple(self._idle)

    def skip_seen(self, seen: tuple[Microseconds, ...]) -> None:
        """Skip these: since ``seen`` told them, all that could be answered has been."""
        with self._lock:
            del self._idle[: len(seen)]
            if self._skip:
                for at in seen:
                    self._skip_to(at)
