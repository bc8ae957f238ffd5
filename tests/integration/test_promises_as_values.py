"""Futures, handles and coroutines where a value is expected: the usual slips of a first async flow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kitaru import KitaruExecutionError, KitaruUsageError, checkpoint, flow


@checkpoint
def double(x: Any) -> Any:
    return 2 * x


@checkpoint
async def later(x: int) -> int:
    return x


@flow
def child(x: int) -> int:
    return x


PASSED: dict[str, Callable[[], Any]] = {
    "future": lambda: double.submit(1),
    "futures": lambda: double.map([1, 2]),
    "list of futures": lambda: [double.submit(1)],
    "handle": lambda: child.run(1),
}


@pytest.mark.parametrize("what", PASSED)
def test_s3_3_a_promise_is_refused_as_an_input(what: str) -> None:
    @flow
    def passes_it_on() -> Any:
        return double(PASSED[what]())

    with pytest.raises(KitaruExecutionError, match=r"argument x holds a \w+.*\.result\(\)") as caught:
        passes_it_on.run().wait(timeout=30)
    assert isinstance(caught.value.__cause__, KitaruUsageError)


def test_s4_2_a_forgotten_await_is_named_in_the_error_of_the_result() -> None:
    made: list[Any] = []

    @flow
    async def forgets() -> Any:
        made.append(later(1))
        return made[0]

    with pytest.raises(KitaruExecutionError, match="a coroutine is no value yet.*`await` it"):
        forgets.run().wait(timeout=30)
    made[0].close()  # else Python warns that nobody has awaited it


def test_s4_2_a_future_as_a_result_is_told_what_to_do() -> None:
    @flow
    def forgets() -> Any:
        return double.submit(1)

    with pytest.raises(KitaruExecutionError, match=r"CheckpointFuture is no value yet.*\.result\(\)"):
        forgets.run().wait(timeout=30)


def test_s3_3_a_coroutine_is_refused_as_an_input() -> None:
    made: list[Any] = []

    @flow
    async def forgets() -> Any:
        made.append(later(1))
        return double(made[0])

    with pytest.raises(KitaruExecutionError, match=r"argument x holds a coroutine.*write `await`"):
        forgets.run().wait(timeout=30)
    made[0].close()
