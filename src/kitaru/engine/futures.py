"""What ``.submit``, ``.map`` and ``.product`` return (S2.2)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from kitaru.errors import KitaruUsageError

if TYPE_CHECKING:
    from kitaru.engine.run import Run

R = TypeVar("R")

_PENDING = object()


class CheckpointFuture(Generic[R]):
    """The coming outcome of a submitted call. It is on disk before it can be had.

    Await it in an async flow, or take ``result()`` in a sync one.

    Attributes:
        call_id: The call's id within its execution (S3.6).
    """

    __slots__ = ("_error", "_on_loop", "_run", "_value", "_wakers", "call_id")

    def __init__(self, run: Run, call_id: str, *, on_loop: bool = False) -> None:
        self.call_id = call_id
        self._run = run
        self._value: object = _PENDING
        self._error: BaseException | None = None
        self._on_loop = on_loop
        self._wakers: list[Callable[[], None]] | None = None

    def done(self) -> bool:
        """True where the outcome is recorded."""
        return self._value is not _PENDING

    def result(self, timeout: float | None = None) -> R:
        """The value that the checkpoint returned; waits for it.

        Args:
            timeout: Seconds to wait at most; None waits as long as it takes.

        Raises:
            TimeoutError: The time has passed; the call goes on.
            Exception: What the checkpoint raised.
            KitaruUsageError: In an async flow, for a call that runs on the very event loop that would
                be blocked: ``await`` the future there.
        """
        self._wait(timeout)
        if self._error is not None:
            self._run.saw_failure(self._error, self.call_id)
            raise self._error
        return cast("R", self._value)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What the checkpoint raised, or None where it succeeded; waits as ``result`` does."""
        self._wait(timeout)
        if self._error is not None:
            self._run.saw_failure(self._error, self.call_id)
        return self._error

    def __await__(self) -> Generator[Any, None, R]:
        if self._value is _PENDING:
            yield from self._run.submitted.wait_on_loop(self).__await__()
        return self.result()

    def __repr__(self) -> str:
        state = "pending" if not self.done() else "failed" if self._error is not None else "completed"
        return f"<CheckpointFuture {self.call_id} {state}>"

    def _wait(self, timeout: float | None) -> None:
        if self._value is not _PENDING:
            return
        if self._on_loop and self._run.on_its_thread():
            raise KitaruUsageError(
                f"{self.call_id}: result() would block the event loop that the call runs on. "
                "Write `await future` in an async flow."
            )
        if not self._run.submitted.wait_for(self, timeout):
            raise TimeoutError(f"{self.call_id} was not finished within {timeout} s; it goes on.")

    # The two methods below are for the engine.

    def settle(self, value: object, error: BaseException | None) -> None:
        """Set the outcome. Called once, on whichever thread learns that it is on disk."""
        run = self._run
        if isinstance(error, Exception):
            run.unasked.add(self.call_id)
        self._error = error
        self._value = value
        if self._wakers is not None:
            with run.settling:
                wakers, self._wakers = self._wakers, None
            for wake in wakers or ():
                wake()

    def on_settled(self, wake: Callable[[], None]) -> bool:
        """Have ``wake`` called once the outcome is set; False where it is set already."""
        with self._run.settling:
            if self._wakers is None:
                self._wakers = []
            self._wakers.append(wake)
        # Looked at after the append: `settle` sets the value first, so one of the two sees the other.
        return self._value is _PENDING


class CheckpointFutures(Sequence[CheckpointFuture[R]], Generic[R]):
    """Futures in the order of their inputs."""

    def __init__(self, futures: Sequence[CheckpointFuture[R]]) -> None:
        self._futures = tuple(futures)

    def result(self, timeout: float | None = None) -> list[R]:
        """The values, in order. Raises what the first failed call, in that order, raised.

        Args:
            timeout: Seconds to wait at most, for each.
        """
        return [future.result(timeout) for future in self._futures]

    def done(self) -> bool:
        """True where all outcomes are recorded."""
        return all(future.done() for future in self._futures)

    def __await__(self) -> Generator[Any, None, list[R]]:
        for future in self._futures:
            yield from future.__await__()
        return self.result()

    @overload
    def __getitem__(self, index: int) -> CheckpointFuture[R]: ...
    @overload
    def __getitem__(self, index: slice) -> CheckpointFutures[R]: ...
    def __getitem__(self, index: int | slice) -> CheckpointFuture[R] | CheckpointFutures[R]:
        if isinstance(index, slice):
            return CheckpointFutures(self._futures[index])
        return self._futures[index]

    def __len__(self) -> int:
        return len(self._futures)

    def __iter__(self) -> Iterator[CheckpointFuture[R]]:
        return iter(self._futures)

    def __repr__(self) -> str:
        return f"<CheckpointFutures {sum(future.done() for future in self._futures)} of {len(self)} done>"
