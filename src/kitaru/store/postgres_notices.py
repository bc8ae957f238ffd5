"""Tells other processes of commits: many with one notice, as each wakes every process that listens."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from kitaru.core.clock import SystemClock
from kitaru.errors import KitaruStoreError
from kitaru.store.postgres_pipeline import Failed, Lost

CHANNEL = "kitaru"

_INTERVAL = 0.025
"""Seconds between two notices of a process."""

_IDLE_SECONDS = 10.0
"""After so long without work the thread ends."""

# What is spared is work for real processes, whatever clock a test has injected.
_machine = SystemClock()


class Announcer:
    """A thread that announces, while there is something to announce.

    ``_thread`` is written under ``_lock`` only. ``_next_at`` belongs to nobody: the worst is one notice more.

    Args:
        announce: Sends one notice. What it raises is passed over: a notice is a hint.
    """

    def __init__(self, announce: Callable[[], None]) -> None:
        self._announce = announce
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._news = threading.Event()
        self._stop = threading.Event()
        self._next_at = 0.0

    def goes_now(self) -> bool:
        """True where a notice may go out with a commit: then it does. Else the commit is left to ``wake``."""
        now = _machine.monotonic()
        if now < self._next_at:
            return False
        self._next_at = now + _INTERVAL
        return True

    def wake(self) -> None:
        """Something was committed."""
        if self._news.is_set():
            return
        self._news.set()
        with self._lock:
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._loop, name="kitaru-store-notices", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Announce what is left, and end."""
        self._stop.set()
        self._news.set()
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _loop(self) -> None:
        while True:
            if not self._news.wait(_IDLE_SECONDS):
                with self._lock:
                    if not self._news.is_set():
                        self._thread = None
                        return
            self._stop.wait(self._next_at - _machine.monotonic())
            self._news.clear()
            self._next_at = _machine.monotonic() + _INTERVAL
            with contextlib.suppress(Failed, Lost, KitaruStoreError):  # whoever waits re-polls
                self._announce()
            if self._stop.is_set():
                return
