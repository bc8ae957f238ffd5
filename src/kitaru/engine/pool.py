"""Threads for submitted calls, as many as are needed and no more.

Calls that only compute want few threads (they share the interpreter anyway), calls that wait for
a network want one each. Which of the two they are shows while they run: a keeper looks every few
milliseconds whether the threads took as many calls as there are threads. Where they did not, the
calls are slow, and the pool grows at once to the number of calls in the queue. Rejected:
``ThreadPoolExecutor``, which starts a thread for each of the first calls whatever they do, which
costs 1,000 no-op calls more than all the rest; and has no bound that can be reached late.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

DEFAULT_THREADS = 512
"""Upper bound of threads for submitted calls in one process; ``kitaru.configure(max_threads=...)``."""

_FIRST_THREADS = 2
_TICK = 0.002
_IDLE_SECONDS = 10.0


class Pool:
    """A growing pool of daemon threads. Owns its queue and its threads."""

    def __init__(self, max_threads: int = DEFAULT_THREADS) -> None:
        self.max_threads = max_threads
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0
        self._taken = 0
        self._keeper: threading.Thread | None = None
        self._pressed = threading.Event()

    def submit(self, job: Callable[[], None]) -> None:
        """Run a job on some thread. Jobs must not raise."""
        self._jobs.put(job)
        # Not `idle == 0`: threads that were told of a job still count as idle until they get to run.
        if self._jobs.qsize() > self._idle:
            if self._threads < min(_FIRST_THREADS, self.max_threads):
                self._grow(1)
            elif not self._pressed.is_set():
                if self._keeper is None:
                    self._keep()
                self._pressed.set()

    def _grow(self, count: int) -> None:
        with self._lock:
            count = min(count, self.max_threads - self._threads)
            self._threads += max(count, 0)
        for _ in range(count):
            threading.Thread(target=self._work, name="kitaru-call", daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                with self._lock:
                    self._idle += 1
                try:
                    job = self._jobs.get(timeout=_IDLE_SECONDS)
                except Empty:
                    job = None
                with self._lock:
                    self._idle -= 1
                    if job is None:
                        self._threads -= 1
                if job is None:
                    if not self._jobs.empty():
                        self._pressed.set()  # a job came while this thread was leaving
                    return
            self._taken += 1  # a lost update only makes the keeper look once more
            job()
            del job

    def _keep(self) -> None:
        with self._lock:
            if self._keeper is None:
                self._keeper = threading.Thread(target=self._watch, name="kitaru-pool", daemon=True)
                self._keeper.start()

    def _watch(self) -> None:
        while True:
            self._pressed.wait()
            self._pressed.clear()
            before = self._taken
            while not self._jobs.empty():
                time.sleep(_TICK)
                taken, before = self._taken - before, self._taken
                if taken < self._threads or self._threads == 0:
                    self._grow(self._jobs.qsize())
