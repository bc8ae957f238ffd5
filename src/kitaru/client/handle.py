"""A running execution in the caller's hand (S1.4, S1.5)."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar, cast

from kitaru.client.terminal import asking_here
from kitaru.core.rows import ExecutionRow
from kitaru.core.states import Status
from kitaru.engine.parking import DUE
from kitaru.errors import (
    FailureOrigin,
    KitaruCancelledError,
    KitaruDivergenceError,
    KitaruExecutionError,
    KitaruNotFoundError,
    KitaruStateError,
    KitaruStoreError,
    KitaruUserCodeError,
)
from kitaru.services.active import Active
from kitaru.services.cancel import cancel
from kitaru.services.children import ChildCall
from kitaru.services.wiring import Wiring

R = TypeVar("R")

_POLL_SECONDS = 2.0

_ERRORS: dict[FailureOrigin, type[KitaruExecutionError]] = {
    FailureOrigin.USER_CODE: KitaruUserCodeError,
    FailureOrigin.DIVERGENCE: KitaruDivergenceError,
}


class FlowHandle(Generic[R]):
    """One execution: its status, and its result once there is one.

    Attributes:
        exec_id: The execution's id: store it, log it, look it up with ``KitaruClient``.
    """

    def __init__(
        self, wiring: Wiring, exec_id: str, active: Active | None = None, child: ChildCall | None = None
    ) -> None:
        self.exec_id = exec_id
        self._wiring = wiring
        self._child = child
        # Held here and not looked up later: it keeps the original exception of a failed execution. Whoever has
        # just started it hands it in, because it may have ended by now.
        self._active = active or wiring.runners.active(exec_id)

    @property
    def status(self) -> Status:
        """The present status, read anew each time."""
        with self._reading():
            status = self._wiring.store.executions.status(self.exec_id)
        if status is None:
            raise self._deleted()
        return status

    def _deleted(self) -> KitaruNotFoundError:
        return KitaruNotFoundError(f"execution {self.exec_id} has been deleted.")

    def wait(self, timeout: float | None = None) -> R:
        """Block until the execution is finished, whichever process finishes it; its result.

        On an interactive terminal its questions are asked there meanwhile (S5.4), unless ``KITARU_PROMPT=0``.

        Args:
            timeout: Seconds to wait at most; None waits as long as it takes.

        Raises:
            TimeoutError: The time has passed; the execution goes on.
            KitaruExecutionError: It failed or was cancelled; see the subclasses in ``kitaru.errors``.
        """
        if self._child is not None and self._child.on_its_body():
            return self._result(self._wait_in_body(self._child, timeout))
        with asking_here(self._wiring, self.exec_id):
            return self._wait(timeout)

    def _wait(self, timeout: float | None) -> R:
        clock = self._wiring.clock
        deadline = None if timeout is None else clock.monotonic() + timeout
        changed = threading.Event()
        with contextlib.closing(self._watch(changed.set)) as watch:
            try:
                while (row := next(watch)) is None:
                    left = _POLL_SECONDS if deadline is None else min(_POLL_SECONDS, deadline - clock.monotonic())
                    if left <= 0:
                        raise TimeoutError(f"execution {self.exec_id} was not finished within {timeout} s; it goes on.")
                    changed.wait(left)  # not the clock: what is waited for is an event, not the passing of time
                    changed.clear()
            except KeyboardInterrupt:
                for runner in self._wiring.runners.all():
                    runner.interrupted()
                raise
        return self._result(row)

    def _watch(self, wake: Callable[[], None]) -> Generator[ExecutionRow | None]:
        """Look for the end: None as long as there is none, then the row. For threads and event loops alike.

        After None, ``wake`` is to be waited for, ``_POLL_SECONDS`` at most. What a thread of this process runs is not
        looked for in the store, as it tells when it is done; of all else the changes of the store tell.
        """
        attached: Active | None = None
        listening = False
        with contextlib.ExitStack() as at_end:
            while True:
                active = self._active
                if active is None or active.done.is_set():
                    active = self._active = self._wiring.runners.active(self.exec_id) or active
                running = None if active is None or active.done.is_set() else active
                if running is not None and running is not attached:
                    attached = running
                    # Where somebody is attached, a parked body stays in memory for a while.
                    self._wiring.runners.attach(running, 1)
                    at_end.callback(self._wiring.runners.attach, running, -1)
                    at_end.callback(running.on_news(wake))
                # One in a process of its own may have its end although that process still lives.
                if running is None or running.child is not None:
                    row = self._finished()
                    if row is not None:
                        yield row
                    if not listening:
                        # Whoever waits for it also goes on with it, should its process die or its time come meanwhile.
                        self._serve()
                        at_end.callback(self._wiring.store.changes(wake))
                        listening = True
                        continue  # look once more: it may have finished before anybody listened
                yield None

    def _serve(self) -> None:
        """Be a runner that could go on with it."""
        row = self._wiring.store.executions.get(self.exec_id)
        runner = None if row is None else self._wiring.runners.of(row.stack)
        (runner or self._wiring.runner).begin()

    def _wait_in_body(self, child: ChildCall, timeout: float | None) -> ExecutionRow:
        """Park the parent's body at its child (S1.10): where the child waits for a person, both are suspended."""
        if self._active is not None:
            self._active.on_news(self._active.hint)
        due_at = None if timeout is None else self._wiring.clock.now() + round(timeout * 1_000_000)
        while (row := self._finished()) is None:
            if child.park(due_at, self._is_lost) == DUE:
                raise TimeoutError(f"execution {self.exec_id} was not finished within {timeout} s; it goes on.")
        return row

    def _is_lost(self) -> bool:
        """True where this process ran it to an end that the store did not take."""
        active = self._active
        if active is None or (active.done.is_set() and (active.outcome is None or active.outcome.unwritten is None)):
            self._active = self._wiring.runners.active(self.exec_id) or active  # woken and run again by now?
            return False
        return active.done.is_set()

    def get(self) -> R:
        """The result, at once.

        Raises:
            KitaruStateError: The execution is not finished; ``wait()`` blocks until it is.
            KitaruExecutionError: It failed or was cancelled.
        """
        row = self._finished()
        if row is None:
            raise KitaruStateError(
                f"execution {self.exec_id} is {self.status}: it has no result yet. Use wait() to block until it has."
            )
        return self._result(row)

    def settle(self) -> Status:
        """Block until this process has nothing to do for it; its status then.

        It is finished, or parked at a question or a timer, or others run it: another process, or workers.

        Raises:
            KitaruExecutionError: The store cannot take its end.
        """
        runners = self._wiring.runners
        row = self._wiring.store.executions.get(self.exec_id)
        is_left_to_workers = row is not None and runners.of(row.stack) is None
        changed = threading.Event()
        stop_listening = self._wiring.store.changes(changed.set)
        try:
            while True:
                changed.clear()
                status = self.status
                active = runners.active(self.exec_id) or self._active
                if active is not None and not active.done.is_set():
                    self._active = active
                    active.done.wait()
                    continue
                self._raise_unwritten()
                if status is not Status.PENDING or is_left_to_workers:
                    return status
                changed.wait(_POLL_SECONDS)  # a process of this one takes it in a moment
        except KeyboardInterrupt:
            for runner in runners.all():
                runner.interrupted()
            raise
        finally:
            stop_listening()

    def cancel(self) -> None:
        """Cancel the execution and its children (S6.8).

        Raises:
            KitaruStateError: It is completed or failed.
        """
        cancel(self._wiring, self.exec_id)

    def __await__(self) -> Generator[Any, None, R]:
        return self._await().__await__()

    async def _await(self) -> R:
        with asking_here(self._wiring, self.exec_id):
            return await self._wait_on_loop()

    async def _wait_on_loop(self) -> R:
        import asyncio  # noqa: PLC0415  # here, because sync callers do without it and it takes 30 ms to import

        loop = asyncio.get_running_loop()
        changed = asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed in between: nobody waits any more
                loop.call_soon_threadsafe(changed.set)

        if self._child is not None and self._child.on_its_body():
            if self._active is not None:
                self._active.on_news(self._active.hint)
            while (row := self._finished()) is None:
                await self._child.park_on_loop(self._is_lost)
            return self._result(row)
        with contextlib.closing(self._watch(wake)) as watch:
            while (row := next(watch)) is None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_POLL_SECONDS):
                        await changed.wait()
                changed.clear()
        return self._result(row)

    def __repr__(self) -> str:
        return f"<FlowHandle {self.exec_id} {self.status}>"

    def _reading(self) -> contextlib.AbstractContextManager[None]:
        """Around what is read: a body must not take a store that fails for a failure of its child."""
        child = self._child
        return contextlib.nullcontext() if child is None or not child.on_its_body() else child.needing_the_store()

    def _finished(self) -> ExecutionRow | None:
        """The row, where the execution is finished; where the store cannot take the end, that is raised."""
        executions = self._wiring.store.executions
        active = self._active
        if (active is not None and active.done.is_set()) or self.status.finished:  # the status alone is asked often
            with self._reading():
                row = executions.get(self.exec_id)
            if row is None:
                raise self._deleted()
            if row.status.finished:
                return row
        self._raise_unwritten()
        return None

    def _raise_unwritten(self) -> None:
        active = self._active
        if active is None or not active.done.is_set() or active.outcome is None:
            return
        outcome = active.outcome
        if outcome.unwritten is not None:
            assert outcome.unwritten.failure is not None
            if self._child is not None and isinstance(outcome.error, KitaruStoreError):
                self._child.lost(outcome.error)
            raise KitaruExecutionError(
                f"execution {self.exec_id} was stopped: {outcome.error} What was recorded before is safe; "
                "its failure is written as soon as the store takes it, and it can be retried then.",
                exec_id=self.exec_id,
                status=Status.FAILED,
                failure_origin=outcome.unwritten.failure.origin,
            ) from outcome.error

    def _result(self, row: ExecutionRow) -> R:
        child = self._child if self._child is not None and self._child.on_its_body() else None
        if row.status is Status.COMPLETED:
            assert row.result is not None
            if child is not None:
                child.completed()
            with self._reading():
                return cast("R", self._wiring.values.decode(row.result))
        error = self._error(row)
        if child is not None:
            if row.failure is not None:
                child.failed(error, row.failure)
            else:
                child.cancelled(error)
        raise error from self._cause(row)

    def _error(self, row: ExecutionRow) -> KitaruExecutionError:
        failure = row.failure
        if row.status is Status.CANCELLED or failure is None:
            return KitaruCancelledError(
                f"execution {self.exec_id} of flow {row.flow} was cancelled.", exec_id=self.exec_id, status=row.status
            )
        kind = failure.type.rpartition(":")[2]
        error = _ERRORS.get(failure.origin, KitaruExecutionError)(
            f"execution {self.exec_id} of flow {row.flow} failed: {kind}{failure.message and ': '}{failure.message}",
            exec_id=self.exec_id,
            status=row.status,
            failure_origin=failure.origin,
        )
        if failure.traceback:
            error.add_note(failure.traceback)
        error.add_note(
            "What it recorded is kept. To go on once the cause is removed: "
            f"kitaru.KitaruClient().executions.retry({self.exec_id!r})"
        )
        return error

    def _cause(self, row: ExecutionRow) -> BaseException | None:
        active: Active | None = self._active
        if active is not None and active.outcome is not None and active.outcome.error is not None:
            return active.outcome.error
        return None if row.failure is None else self._wiring.values.decode_exception(row.failure)
