"""S2.3: a checkpoint is called in the body of a flow, and nowhere else."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from kitaru import KitaruContextError, checkpoint, flow
from tests.acceptance.runs import TIMEOUT, call_ids, failure_of, record


@checkpoint
def inner(x: int) -> int:
    return x


@checkpoint
async def inner_async(x: int) -> int:
    return x


WAYS: dict[str, Callable[[], Any]] = {
    "call": lambda: inner(1),
    "submit": lambda: inner.submit(1),
    "map": lambda: inner.map([1]),
    "product": lambda: inner.product([1], [2]),
    "with_options": lambda: inner.with_options(key="k")(1),
    "async call": lambda: inner_async(1),
    "async submit": lambda: inner_async.submit(1),
    "async map": lambda: inner_async.map([1]),
}


def refused() -> list[str]:
    """The ways that are refused here with a context error that says what to do."""
    names: list[str] = []
    for name, way in WAYS.items():
        try:
            way()
        except KitaruContextError as error:
            names.append(name if "inner" in str(error) else f"{name} is refused, but not named: {error}")
    return names


EVERY_WAY = list(WAYS)


def test_s2_3_outside_a_flow_every_way_is_refused() -> None:
    assert refused() == EVERY_WAY
    with pytest.raises(KitaruContextError, match=r"outside a flow.*\.run\(\).*\.fn\(\)"):
        inner(1)


def test_s2_3_inside_a_checkpoint_every_way_is_refused() -> None:
    @checkpoint
    def outer() -> list[str]:
        return refused()

    @flow
    def agent() -> list[list[str]]:
        return [outer(), outer.submit().result()]

    handle = agent.run()
    assert handle.wait(timeout=TIMEOUT) == [EVERY_WAY, EVERY_WAY]
    assert call_ids(handle) == ["outer", "outer_2"]


def test_s2_3_inside_an_async_checkpoint_every_way_is_refused() -> None:
    @checkpoint
    async def outer() -> list[str]:
        return refused()

    @flow
    async def agent() -> list[list[str]]:
        return [await outer(), await outer.submit()]

    handle = agent.run()
    assert handle.wait(timeout=TIMEOUT) == [EVERY_WAY, EVERY_WAY]
    assert call_ids(handle) == ["outer", "outer_2"]


def test_s2_3_inside_an_async_checkpoint_of_a_sync_flow_every_way_is_refused() -> None:
    @checkpoint
    async def outer() -> list[str]:
        return refused()

    @flow
    def agent() -> list[str]:
        return outer.submit().result()

    assert agent.run().wait(timeout=TIMEOUT) == EVERY_WAY


def test_s2_3_inside_a_checkpoint_with_a_timeout_every_way_is_refused() -> None:
    @checkpoint(timeout=TIMEOUT)
    def outer() -> list[str]:
        return refused()

    @flow
    def agent() -> list[str]:
        return outer()

    assert agent.run().wait(timeout=TIMEOUT) == EVERY_WAY


def in_plain_thread(work: Callable[[], list[str]]) -> list[str]:
    got: list[str] = []
    thread = threading.Thread(target=lambda: got.extend(work()))
    thread.start()
    thread.join(TIMEOUT)
    return got


def in_thread_with_the_bodys_context(work: Callable[[], list[str]]) -> list[str]:
    return in_plain_thread(lambda: contextvars.copy_context().run(work))


def in_thread_given_the_context(work: Callable[[], list[str]]) -> list[str]:
    context = contextvars.copy_context()
    return in_plain_thread(lambda: context.run(work))


def in_executor(work: Callable[[], list[str]]) -> list[str]:
    with ThreadPoolExecutor() as executor:
        return executor.submit(work).result(TIMEOUT)


@pytest.mark.parametrize(
    "elsewhere", [in_plain_thread, in_thread_with_the_bodys_context, in_thread_given_the_context, in_executor]
)
def test_s2_3_a_thread_that_the_body_started_is_refused(elsewhere: Callable[..., list[str]]) -> None:
    @flow
    def agent() -> list[str]:
        return elsewhere(refused)

    handle = agent.run()
    assert handle.wait(timeout=TIMEOUT) == EVERY_WAY
    assert call_ids(handle) == []


def test_s2_3_asyncio_to_thread_is_refused() -> None:
    @flow
    async def agent() -> list[list[str]]:
        loop = asyncio.get_running_loop()
        return [await asyncio.to_thread(refused), await loop.run_in_executor(None, refused)]

    handle = agent.run()
    assert handle.wait(timeout=TIMEOUT) == [EVERY_WAY, EVERY_WAY]
    assert call_ids(handle) == []


def test_s2_3_a_thread_of_a_checkpoint_is_refused() -> None:
    @checkpoint
    def outer() -> list[str]:
        return in_thread_given_the_context(refused)

    @flow
    def agent() -> list[str]:
        return outer()

    assert agent.run().wait(timeout=TIMEOUT) == EVERY_WAY


def test_s2_3_after_the_flow_has_ended_its_context_is_refused() -> None:
    """Thread ids are used again, so that the thread looks like the body's must not be enough."""
    kept: list[contextvars.Context] = []

    @flow
    def agent() -> int:
        kept.append(contextvars.copy_context())
        return inner(0)

    handle = agent.run()
    assert handle.wait(timeout=TIMEOUT) == 0
    for _ in range(20):
        assert in_plain_thread(lambda: kept[0].run(refused)) == EVERY_WAY
    assert call_ids(handle) == ["inner"]


def test_s2_3_a_task_that_outlives_the_body_is_refused() -> None:
    got: list[list[str]] = []

    async def straggler() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            got.append(refused())

    @flow
    async def agent() -> int:
        kept = asyncio.create_task(straggler())
        await asyncio.sleep(0)
        assert not kept.done()
        return inner(0)

    handle = agent.run()
    assert handle.wait(timeout=TIMEOUT) == 0
    assert got == [EVERY_WAY]
    assert call_ids(handle) == ["inner"]


def test_s2_3_a_task_of_the_body_is_welcome() -> None:
    @flow
    async def agent() -> list[int]:
        async def branch(x: int) -> int:
            return inner(x) + await inner_async(x) + await inner.submit(x)

        return await asyncio.gather(*(asyncio.create_task(branch(x)) for x in range(3)))

    assert agent.run().wait(timeout=TIMEOUT) == [0, 3, 6]


def test_s2_3_a_coroutine_made_in_the_body_and_awaited_elsewhere_belongs_to_the_body() -> None:
    """What counts is where the call is made (its identity), as the docstring of a call says."""

    @flow
    async def agent() -> list[int]:
        calls = [inner_async(x) for x in range(3)]
        return [await call for call in reversed(calls)]

    handle = agent.run()
    assert handle.wait(timeout=TIMEOUT) == [2, 1, 0]
    assert [call.inputs["x"] for call in record(handle).checkpoints] == [0, 1, 2]


def test_s2_3_fn_is_the_bare_function() -> None:
    assert inner.fn(3) == 3
    assert asyncio.run(inner_async.fn(4)) == 4

    @checkpoint
    def outer(x: int) -> int:
        return inner.fn(x) + 1

    @flow
    def agent() -> int:
        return outer(1)

    handle = agent.run()
    assert handle.wait(timeout=TIMEOUT) == 2
    assert call_ids(handle) == ["outer"]


def test_s2_3_a_refused_call_is_a_failure_of_the_code_that_made_it() -> None:
    @checkpoint
    def outer() -> int:
        return inner(1)

    @flow
    def agent() -> int:
        return outer()

    error = failure_of(agent.run())
    assert isinstance(error.__cause__, KitaruContextError)
    assert "inside the checkpoint outer" in str(error)
