"""The lease of this process on the executions that it runs, and the thread that keeps it (S6.2).

One lease for the whole process, not one per execution: renewing it is one row, however many
executions run. The heartbeat has a thread of its own, because user code may block an event loop.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import threading
from collections.abc import Callable

from kitaru.core.clock import Clock
from kitaru.core.ids import Ids
from kitaru.core.ports import Store
from kitaru.core.processes import runner_prefix
from kitaru.core.rows import RunnerRow
from kitaru.errors import KitaruStoreError

LEASE_SECONDS = 15.0
"""How long a runner that gives no sign of life keeps its executions."""

BEATS_PER_LEASE = 5

_SHORTEST = 0.005
_log = logging.getLogger("kitaru.runner")


class Lease:
    """This process as a runner.

    Owned by the runner of the process. ``holds`` may be asked from any thread; everything else happens
    on the heartbeat's thread or before it starts.
    """

    def __init__(self, store: Store, clock: Clock, ids: Ids, *, stack: str, seconds: float = LEASE_SECONDS) -> None:
        self.seconds = seconds
        self.stack = stack
        self.runner_id = ""
        self._store = store
        self._clock = clock
        self._ids = ids
        self._until = 0.0

    def register(self) -> None:
        """Make this process known as a new runner, with a fresh lease. What it ran before is anybody's."""
        if self.runner_id:
            self._store.runners.retire(self.runner_id)
        self.runner_id = f"{runner_prefix(os.getpid())}{self._ids.execution_id()}"
        asked_at = self._clock.monotonic()
        self._store.runners.register(
            RunnerRow(self.runner_id, self.stack, socket.gethostname(), os.getpid(), 0), lease_seconds=self.seconds
        )
        self._until = asked_at + self.seconds

    def holds(self) -> bool:
        """True while no other process can have taken over: judged from before the last renewal was asked."""
        return self._clock.monotonic() < self._until

    def renew(self) -> bool:
        """Renew. False where the lease had run out before: its executions are lost to this process.

        Run out by this process's clock too, although the store might still renew it, as after a write that
        waited long: flows have stopped by ``holds`` since, and under a renewed lease nobody could go on with them.

        Raises:
            KitaruStoreError: The store could not be asked; the lease goes on running out.
        """
        asked_at = self._clock.monotonic()
        if asked_at >= self._until or not self._store.runners.heartbeat(self.runner_id, lease_seconds=self.seconds):
            self._until = 0.0
            return False
        self._until = asked_at + self.seconds
        return True

    def retire(self) -> None:
        """Give the lease back."""
        self._until = 0.0
        self._store.runners.retire(self.runner_id)


class Heartbeat:
    """Calls ``beat`` in a thread of its own, ``every`` so many seconds, and ``look`` whenever it is hinted."""

    def __init__(self, beat: Callable[[], None], look: Callable[[], None], clock: Clock, *, every: float) -> None:
        self._beat = beat
        self._look = look
        self._clock = clock
        self._every = every
        self._hint = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="kitaru-heartbeat", daemon=True)
        self._thread.start()

    def hint(self) -> None:
        """Something may have changed: beat soon."""
        self._hint.set()

    def end(self) -> None:
        """Stop; returns when the thread has ended."""
        self._stopping.set()
        self._hint.set()
        self._thread.join()

    def _loop(self) -> None:
        beat_at = -math.inf
        while not self._stopping.is_set():
            now = self._clock.monotonic()
            is_time = now - beat_at >= self._every
            # A store that is out of reach for now is no end: runs learn of it at their next commit, and of a
            # lost lease at their next call; this thread has to be there when the store is back.
            try:
                if is_time:
                    beat_at = now
                    self._beat()
                else:
                    self._look()
            except KitaruStoreError:
                pass
            except Exception:  # noqa: BLE001  # without this thread the lease runs out, and every flow here stops
                _log.exception("the heartbeat of this process failed unexpectedly; it goes on. Please report this")
            if self._clock.wait(self._hint, max(0.0, beat_at + self._every - self._clock.monotonic())):
                self._hint.clear()
                # Hints come by the thousand; one look serves many. Not the clock: this is no passing of time.
                self._stopping.wait(_SHORTEST)
