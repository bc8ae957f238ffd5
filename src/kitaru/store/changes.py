"""Wakes those who wait for a change, made by this process or another."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable

from kitaru.store.database import Database
from kitaru.store.forks import follow_forks

_log = logging.getLogger(__name__)


class Changes:
    """The subscriptions to one database.

    A thread watches the database while there are subscribers; it sees every commit to it, this process's
    included. ``_listeners`` and ``_stop`` are written under ``_lock`` only; ``_listeners`` is replaced
    and never changed, so that it can be read without.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._listeners: tuple[Callable[[], None], ...] = ()
        self._stop: threading.Event | None = None
        self._thread: threading.Thread | None = None
        follow_forks(self)

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Add a listener; the answer removes it."""
        entry = functools.partial(listener)  # an object of its own, as one listener may subscribe twice

        def unsubscribe() -> None:
            with self._lock:
                self._listeners = tuple(other for other in self._listeners if other is not entry)
                if not self._listeners and self._stop is not None:
                    self._stop.set()
                    self._stop = None

        with self._lock:
            self._listeners += (entry,)
            if self._stop is None and not self._database.alone:
                self._stop = threading.Event()
                self._thread = threading.Thread(
                    target=self._database.watch,
                    args=(self._stop, self.notify),
                    name="kitaru-store-changes",
                    daemon=True,
                )
                self._thread.start()
        return unsubscribe

    @property
    def wanted(self) -> bool:
        """True where somebody listens."""
        return bool(self._listeners)

    def notify(self) -> None:
        """Call every listener, on this thread."""
        for listener in self._listeners:
            try:
                listener()
            except Exception:  # noqa: BLE001  # the commit has been made; its caller must not be told the opposite
                _log.exception("A listener to changes of the store %s failed.", self._database.name)

    def close(self) -> None:
        """End all subscriptions."""
        with self._lock:
            self._listeners = ()
            if self._stop is not None:
                self._stop.set()
                self._stop = None
            thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def before_fork(self) -> None:
        """Wait until nobody subscribes."""
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Let others go on."""
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """The listeners wake threads of the parent, and the watching thread stayed there."""
        self._listeners = ()
        self._stop = None
        self._thread = None
        self._lock.release()
