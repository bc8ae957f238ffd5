"""Tells other processes of commits that are not urgent: many with one notice."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from kitaru.errors import KitaruStoreError
from kitaru.store.postgres_pipeline import Failed, Lost

CHANNEL = "kitaru"

_INTERVAL = 0.025
"""Seconds between two notices."""

_IDLE_SECONDS = 10.0
"""After so long without work the thread ends."""


class Announcer:
    """A thread that announces, while there is something to announce.

    ``_thread`` is written under ``_lock`` only.

    Args:
        announce: Sends one notice. What it raises is passed over: a notice is a hint.
    """

    def __init__(self, announce: Callable[[], None]) -> None:
        self._announce = announce
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._news = threading.Event()
        self._stop = threading.Event()

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
            self._news.clear()
            with contextlib.suppress(Failed, Lost, KitaruStoreError):  # whoever waits re-polls
                self._announce()
            if self._stop.wait(_INTERVAL):
                return
