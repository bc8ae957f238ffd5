"""S2.2: calls beside the body: submit, map, product, gather and task groups."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import Any

import pytest

from kitaru import (
    CheckpointFuture,
    KitaruClient,
    KitaruUsageError,
    checkpoint,
    configure,
    current_execution_id,
    flow,
)
from kitaru.services import wiring
from tests.acceptance.runs import TIMEOUT, record

REQUEST: contextvars.ContextVar[str] = contextvars.ContextVar("REQUEST", default="none")


# ── one future ───────────────────────────────────────────────────────────────────────────────────


def test_s2_2_submit_returns_at_once_and_the_future_tells_when_it_is_done() -> None:
    may_end = threading.Event()

    @checkpoint
    def work(x: int) -> int:
        assert may_end.wait(TIMEOUT)
        return 2 * x

    @flow
    def agent() -> list[Any]:
        future = work.submit(4)
        before = future.done()
        with pytest.raises(TimeoutError, match=r"work was not finished within 0\.01 s; it goes on"):
            future.result(timeout=0.01)
        with pytest.raises(TimeoutError):
            future.exception(timeout=0)
        may_end.set()
        return [isinstance(future, CheckpointFuture), future.call_id, before, future.result(), future.done(),
                future.exception(), future.result(timeout=0)]  # fmt: skip

    assert agent.run().wait(timeout=TIMEOUT) == [True, "work", False, 8, True, None, 8]


def test_s2_2_a_failed_future_raises_what_the_checkpoint_raised_each_time_it_is_asked() -> None:
    @checkpoint
    def work() -> int:
        raise LookupError("gone", 404)

    @flow
    def agent() -> list[Any]:
        future = work.submit()
        error = future.exception()
        for _ in range(2):
            with pytest.raises(LookupError) as caught:
                future.result()
            assert caught.value is error
        return [type(error).__name__, error.args if error else (), future.done()]

    assert agent.run().wait(timeout=TIMEOUT) == ["LookupError", ("gone", 404), True]


def test_s2_2_a_future_is_on_disk_before_it_is_done() -> None:
    @checkpoint
    def work(x: int) -> int:
        return x

    seen: list[Any] = []

    @flow
    def agent() -> None:
        for future in work.map(list(range(20))):
            future.result()
            execution = KitaruClient().executions.get(current_execution_id())
            seen.append({call.call_id: call.status for call in execution.checkpoints}.get(future.call_id))

    agent.run().wait(timeout=TIMEOUT)
    assert seen == ["completed"] * 20


def test_s2_2_submitted_calls_run_at_the_same_time() -> None:
    together = threading.Barrier(40, timeout=TIMEOUT)

    @checkpoint
    def work(x: int) -> int:
        together.wait()  # passes only where all of them are here at once
        return x

    @flow
    def agent() -> list[int]:
        return work.map(range(40)).result()

    assert agent.run().wait(timeout=TIMEOUT) == list(range(40))


def test_s2_2_the_body_goes_on_while_submitted_calls_run() -> None:
    may_end = threading.Event()

    @checkpoint
    def slow() -> str:
        assert may_end.wait(TIMEOUT)
        return "slow"

    @checkpoint
    def quick() -> str:
        return "quick"

    @flow
    def agent() -> list[str]:
        future = slow.submit()
        first = quick()
        may_end.set()
        return [first, future.result()]

    assert agent.run().wait(timeout=TIMEOUT) == ["quick", "slow"]


def test_s2_2_submitted_calls_that_nobody_asks_are_run_and_recorded_before_the_flow_completes() -> None:
    @checkpoint
    def work(x: int) -> int:
        return x

    @flow
    def agent() -> str:
        for x in range(300):
            work.submit(x)
        return "sent"

    handle = agent.run()
    assert handle.wait(timeout=TIMEOUT) == "sent"
    assert [call.status for call in record(handle).checkpoints] == ["completed"] * 300


def test_s2_2_async_submitted_calls_that_nobody_awaits_are_run_and_recorded_before_the_flow_completes() -> None:
    @checkpoint
    async def work(x: int) -> int:
        await asyncio.sleep(0)
        return x

    @flow
    async def agent() -> str:
        for x in range(100):
            work.submit(x)
        return "sent"

    handle = agent.run()
    assert handle.wait(timeout=TIMEOUT) == "sent"
    assert [call.status for call in record(handle).checkpoints] == ["completed"] * 100


# ── sync and async, crosswise ────────────────────────────────────────────────────────────────────


def test_s2_2_a_sync_checkpoint_is_submitted_in_an_async_flow_and_does_not_block_the_loop() -> None:
    may_end = threading.Event()

    @checkpoint
    def work(x: int) -> int:
        assert may_end.wait(TIMEOUT)
        return 2 * x

    @flow
    async def agent() -> list[int]:
        futures = work.map([1, 2, 3])
        await asyncio.sleep(0)  # the loop turns while the threads wait
        may_end.set()
        return [await futures[0], *await futures]

    assert agent.run().wait(timeout=TIMEOUT) == [2, 2, 4, 6]


def test_s2_2_an_async_checkpoint_is_submitted_in_a_sync_flow() -> None:
    together = threading.Barrier(5, timeout=TIMEOUT)

    @checkpoint
    async def work(x: int) -> int:
        await asyncio.sleep(0)
        together.wait()
        return 2 * x

    @flow
    def agent() -> list[int]:
        return work.map(range(5)).result()

    assert agent.run().wait(timeout=TIMEOUT) == [0, 2, 4, 6, 8]


def test_s2_2_result_of_an_async_call_in_an_async_flow_is_refused_rather_than_hanging() -> None:
    @checkpoint
    async def work(x: int) -> int:
        return x

    @flow
    async def agent() -> int:
        future = work.submit(1)
        with pytest.raises(KitaruUsageError, match="await future"):
            future.result()
        assert await future == 1
        return future.result()  # known by now, so there is nothing to block on

    assert agent.run().wait(timeout=TIMEOUT) == 1


def test_s2_2_gather_and_task_groups_run_async_checkpoints_at_the_same_time() -> None:
    @flow
    async def agent() -> list[list[int]]:
        gates: dict[str, asyncio.Barrier] = {"gather": asyncio.Barrier(10), "group": asyncio.Barrier(10)}

        @checkpoint
        async def work(x: int, gate: str) -> int:
            await gates[gate].wait()
            return x

        gathered = await asyncio.gather(*(work(x, "gather") for x in range(10)))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work(x, "group")) for x in range(10)]
        return [gathered, [task.result() for task in tasks]]

    assert agent.run().wait(timeout=TIMEOUT) == [list(range(10))] * 2


def test_s2_2_as_completed_and_wait_for_work_with_async_checkpoints() -> None:
    @checkpoint
    async def work(x: int) -> int:
        await asyncio.sleep(0)
        return x

    @flow
    async def agent() -> list[Any]:
        done = [await one for one in asyncio.as_completed([work(x) for x in range(5)])]
        return [sorted(done), await asyncio.wait_for(work(9), TIMEOUT)]

    assert agent.run().wait(timeout=TIMEOUT) == [[0, 1, 2, 3, 4], 9]


def test_s2_2_the_context_variables_of_the_body_are_seen_inside_submitted_checkpoints() -> None:
    @checkpoint
    def plain() -> str:
        return REQUEST.get()

    @checkpoint(timeout=TIMEOUT)
    def bounded() -> str:
        return REQUEST.get()

    @checkpoint
    async def awaited() -> str:
        return REQUEST.get()

    @flow
    def agent() -> list[str]:
        REQUEST.set("from the sync body")
        return [plain(), bounded(), plain.submit().result(), bounded.submit().result(), awaited.submit().result()]

    @flow
    async def async_agent() -> list[str]:
        REQUEST.set("from the async body")
        futures = [plain.submit(), bounded.submit(), awaited.submit()]
        REQUEST.set("changed after the submission")
        return [await future for future in futures] + [await awaited()]

    assert agent.run(cache=False).wait(timeout=TIMEOUT) == ["from the sync body"] * 5
    assert async_agent.run(cache=False).wait(timeout=TIMEOUT) == [
        "from the async body", "from the async body", "from the async body", "changed after the submission",
    ]  # fmt: skip
    assert REQUEST.get() == "none"


# ── thousands ────────────────────────────────────────────────────────────────────────────────────


def test_s2_2_five_thousand_calls_by_map_in_a_sync_flow() -> None:
    @checkpoint
    def double(x: int) -> int:
        return 2 * x

    @flow
    def agent() -> list[int]:
        return double.map(range(5_000)).result()

    before = threading.active_count()
    handle = agent.run()
    assert handle.wait(timeout=60) == [2 * x for x in range(5_000)]
    assert threading.active_count() - before <= 520, "threads are pooled"
    calls = record(handle).checkpoints
    assert [call.output for call in calls] == [2 * x for x in range(5_000)]
    assert len({call.call_id for call in calls}) == 5_000


def test_s2_2_five_thousand_calls_by_gather_in_an_async_flow_are_all_under_way_at_once() -> None:
    count = 5_000

    @flow
    async def agent() -> int:
        under_way = 0
        all_here = asyncio.Event()

        @checkpoint
        async def double(x: int) -> int:
            nonlocal under_way
            under_way += 1
            if under_way == count:
                all_here.set()
            await all_here.wait()
            return 2 * x

        return sum(await asyncio.gather(*(double(x) for x in range(count))))

    handle = agent.run()
    assert handle.wait(timeout=60) == count * (count - 1)
    assert len(record(handle).checkpoints) == count


def test_s2_2_the_bound_of_threads_is_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    configure(max_threads=3)
    try:
        running: list[int] = []
        peaks: list[int] = []
        lock = threading.Lock()
        three_at_once = threading.Barrier(3, timeout=TIMEOUT)

        @checkpoint
        def work(x: int) -> int:
            with lock:
                running.append(x)
                peaks.append(len(running))
            three_at_once.wait()
            with lock:
                running.remove(x)
            return x

        @flow
        def agent() -> list[int]:
            return work.map(range(30)).result()

        assert agent.run().wait(timeout=TIMEOUT) == list(range(30))
        assert max(peaks) == 3
    finally:
        wiring.overrides.pop("max_threads")
