"""The submitted calls of one run, and those who wait for them.

Owned here, under the run's ``settling`` lock: ``_open``, the calls that have no outcome yet, and
``_waiting``, the threads that wait for one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kitaru.engine.committer import Verdict
from kitaru.engine.futures import CheckpointFuture

if TYPE_CHECKING:
    from kitaru.engine.procedure import Finished
    from kitaru.engine.run import Run


class Submitted:
    """Brings the outcomes of submitted calls to their futures, once they are on disk."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._open = 0
        self._waiting = 0

    def opened(self) -> None:
        """A submitted call begins its way."""
        with self._run.settling:
            self._open += 1
            self._run.parking.count(1)

    def finish(self, future: CheckpointFuture[Any], finished: Finished) -> None:
        """Queue the outcome of a submitted call; the future gets it once it is on disk."""
        self._run.enqueue(finished.mutations, self, (future, finished))

    def abandon(self, future: CheckpointFuture[Any], error: BaseException) -> None:
        """End a submitted call with nothing to record."""
        self._closed(1)
        future.settle(None, error)
        self._wake()

    def settle(self, results: Sequence[tuple[Any, Verdict]]) -> None:
        """The committer tells what is on disk. One notification, however many futures."""
        run, closed = self._run, 0
        for item, verdict in results:
            if verdict is not None:
                run.stop(run.signal_for(verdict))
            if item is None:
                continue
            future, finished = item
            run.under_way.pop(future.call_id, None)
            closed += 1
            if verdict is not None:
                future.settle(None, run.signal)
            else:
                if finished.error is not None:
                    run.remember(finished.error, future.call_id, finished.origin)
                future.settle(finished.value, finished.error)
        self._closed(closed)
        self._wake()

    def _closed(self, count: int) -> None:
        with self._run.settling:
            self._open -= count
            self._run.parking.count(-count)
        self._run.parking.hint_if_parked()

    def _wake(self) -> None:
        with self._run.settling:
            if self._waiting:
                self._run.settled.notify_all()

    def wait_for(self, future: CheckpointFuture[Any], timeout: float | None) -> bool:
        """Block until a future has its outcome; False where the time has passed. Raises the signal."""
        run = self._run
        deadline = None if timeout is None else run.clock.monotonic() + timeout
        body = run.on_its_thread()
        with run.settling, run.parking.at_rest() if body else contextlib.nullcontext():
            self._waiting += 1
            try:
                while not future.done():
                    if body and run.signal is not None:
                        raise run.signal
                    left = None if deadline is None else deadline - run.clock.monotonic()
                    if left is not None and left <= 0:
                        return False
                    run.settled.wait(left)
            finally:
                self._waiting -= 1
        return True

    def wait_until_closed(self) -> None:
        """Block until every submitted call has its outcome, signal or not."""
        with self._run.settling, self._run.parking.at_rest():
            self._waiting += 1
            while self._open > 0:
                self._run.settled.wait()
            self._waiting -= 1

    async def wait_on_loop(self, future: CheckpointFuture[Any]) -> None:
        """Wait in a coroutine until a future has its outcome."""
        import asyncio  # noqa: PLC0415  # here, because only async flows need it and it takes 30 ms to import

        loop = asyncio.get_running_loop()
        settled = asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed in between: nobody waits any more
                loop.call_soon_threadsafe(settled.set)

        if future.on_settled(wake):
            await settled.wait()
