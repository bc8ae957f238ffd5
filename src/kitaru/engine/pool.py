"""Threads for submitted calls, as many as are needed and no more.

Calls that only compute want few threads (they share the interpreter anyway), calls that wait for
a network want one each. Which of the two they are shows while they run: a keeper looks every few
milliseconds whether the threads took as many calls as there are threads. Where they did not, although
the process had time to spare, the calls wait, and the pool grows at once to the number of calls in the
queue. Where the process was busy it grows a little later: the threads may only have been waiting for
the interpreter, and to start a thread takes longer than a short call. Rejected:
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
_PATIENCE = 10
"""Ticks without progress after which the pool grows however busy the process is. The interpreter changes
threads every 5 ms, so within 20 ms some thread of the pool gets to run."""

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
                self._pressed.set()
                if self._keeper is None:
                    self._keep()

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
                    if not self._jobs.empty():  # a job came while this thread was leaving
                        self._pressed.set()
                        self._keep()
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
        while self._pressed.wait(_IDLE_SECONDS):
            self._pressed.clear()
            stalled = 0
            while not self._jobs.empty():
                taken, busy = self._taken, time.process_time()
                time.sleep(_TICK)
                if self._threads and self._taken - taken >= self._threads:
                    stalled = 0
                    continue
                stalled += 1
                if stalled >= _PATIENCE or time.process_time() - busy < _TICK / 2:
                    self._grow(self._jobs.qsize())
                    stalled = 0
        # In this order, against `submit`, which presses first and asks for the keeper afterwards.
        self._keeper = None
        if self._pressed.is_set():
            self._keep()
