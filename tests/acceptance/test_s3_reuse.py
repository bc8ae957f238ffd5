"""S3.2 and S3.6: what is recorded is reused, under the id that people type."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from kitaru import KitaruClient, checkpoint, flow
from tests.acceptance.runs import TIMEOUT, Breakage, call_ids, failure_of, record, retry
from tests.acceptance.sequels import Counter, Sequel

# ── S3.2: reuse ──────────────────────────────────────────────────────────────────────────────────


def test_s3_2_a_fan_out_of_which_some_calls_are_recorded_runs_only_the_others() -> None:
    ran: list[int] = []
    outside = Breakage()
    all_began = threading.Event()

    @checkpoint
    def work(x: int) -> int:
        ran.append(x)
        if len(ran) == 12:
            all_began.set()
        if x % 3 == 0:
            assert all_began.wait(TIMEOUT)  # calls that have not begun when the flow fails are dropped (S2.5)
            outside.check()
        return 2 * x

    @flow
    def agent() -> list[int]:
        return work.map(range(12)).result()

    handle = agent.run()
    failure_of(handle)
    assert sorted(ran) == list(range(12))
    ran.clear()
    outside.mend()
    assert retry(handle).wait(timeout=TIMEOUT) == [2 * x for x in range(12)]
    assert sorted(ran) == [0, 3, 6, 9]
    assert len(record(handle).checkpoints) == 12


def test_s3_2_reused_values_equal_what_was_recorded_even_where_the_body_changed_them_since() -> None:
    ran: list[int] = []
    sequel = Sequel()

    @checkpoint
    def load() -> list[int]:
        ran.append(1)
        return [1, 2]

    @checkpoint
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    def body() -> list[Any]:
        numbers = load()
        first = total(numbers)
        numbers.append(100)
        return [numbers, first, total(numbers)]

    sequel.start(body)
    assert sequel.resume(body) == [[1, 2, 100], 3, 103]
    assert ran == [1]


def test_s3_2_a_reused_value_may_be_changed_by_the_body_without_changing_the_next_reuse() -> None:
    counter, sequel = Counter(), Sequel()
    runs: list[int] = []

    @checkpoint
    def load() -> dict[str, list[int]]:
        runs.append(1)
        return {"items": []}

    seen: list[Any] = []

    def body() -> Any:
        value = load()
        value["items"].append(len(seen))
        seen.append(value)
        return value

    sequel.start(body)
    assert sequel.resume(body) == {"items": [1]}
    assert (runs, counter.ran) == ([1], [])


def test_s3_2_flow_retries_reuse_what_succeeded() -> None:
    ran: list[str] = []

    @checkpoint
    def good(x: int) -> int:
        ran.append(f"good {x}")
        return x

    @checkpoint
    def flaky() -> str:
        ran.append("flaky")
        if ran.count("flaky") < 3:
            raise ConnectionError(f"time {ran.count('flaky')}")
        return "done"

    @flow(retries=2)
    def agent() -> Any:
        return [good(1), *good.map([2, 3]).result(), flaky()]

    handle = agent.run()
    assert handle.wait(timeout=TIMEOUT) == [1, 2, 3, "done"]
    assert sorted(ran) == ["flaky"] * 3 + ["good 1", "good 2", "good 3"]
    assert [attempt.status for attempt in record(handle).checkpoints[-1].attempts] == ["failed", "failed", "completed"]


def test_s3_2_async_flow_retries_reuse_what_succeeded() -> None:
    ran: list[str] = []

    @checkpoint
    async def step(name: str) -> str:
        ran.append(name)
        if name == "flaky" and ran.count("flaky") < 3:
            raise ConnectionError
        return name

    @flow(retries=2)
    async def agent() -> Any:
        return [*await asyncio.gather(step("a"), step("b")), await step("flaky")]

    assert agent.run().wait(timeout=TIMEOUT) == ["a", "b", "flaky"]
    assert ran == ["a", "b", "flaky", "flaky", "flaky"]


def test_s3_2_a_thousand_records_in_an_async_gather_are_all_reused() -> None:
    ran: list[int] = []
    outside = Breakage()

    @checkpoint
    async def work(x: int) -> int:
        ran.append(x)
        return x

    @flow
    async def agent() -> int:
        total = sum(await asyncio.gather(*(work(x) for x in range(1000))))
        outside.check()
        return total

    handle = agent.run()
    failure_of(handle)
    outside.mend()
    assert retry(handle).wait(timeout=60) == sum(range(1000))
    assert len(ran) == 1000


# ── S3.6: what people type ───────────────────────────────────────────────────────────────────────


def test_s3_6_call_ids_count_the_calls_of_a_name_in_the_order_of_the_body() -> None:
    @checkpoint
    def a(x: int) -> int:
        return x

    @checkpoint(name="b c")
    def b(x: int) -> int:
        return x

    @flow
    def agent() -> list[str]:
        a(1)
        b(1)
        futures = a.map([1, 2])
        futures.result()
        b(2)
        return [future.call_id for future in futures]

    handle = agent.run()
    assert handle.wait(timeout=TIMEOUT) == ["a_2", "a_3"]
    assert call_ids(handle) == ["a", "b c", "a_2", "a_3", "b c_2"]


def test_s3_6_a_call_keeps_its_id_whatever_is_inserted_removed_or_reordered() -> None:
    counter, sequel = Counter(), Sequel()
    sequel.start(lambda: [counter.work(x) for x in "abc"])
    assert call_ids(sequel.handle) == ["work", "work_2", "work_3"]
    sequel.resume(lambda: [counter.work(x) for x in "xcya"])
    ids = {call.inputs["x"]: call.call_id for call in record(sequel.handle).checkpoints}
    assert ids == {"a": "work", "b": "work_2", "c": "work_3", "x": "work_4", "y": "work_5"}


def test_s3_6_ids_do_not_collide_with_names_that_look_like_them() -> None:
    @checkpoint(name="work")
    def one(x: int) -> str:
        return f"one {x}"

    @checkpoint(name="work_2")
    def two(x: int) -> str:
        return f"two {x}"

    @flow
    def agent() -> list[str]:
        return [two(0), one(1), one(2), two(3), one(4)]

    handle = agent.run()
    assert handle.wait(timeout=TIMEOUT) == ["two 0", "one 1", "one 2", "two 3", "one 4"]
    outputs = {call.call_id: call.output for call in record(handle).checkpoints}
    assert len(outputs) == 5
    assert outputs["work_2"] == "two 0"
    assert outputs["work"] == "one 1"


def test_s3_6_async_calls_are_named_as_they_are_made_not_as_they_are_awaited() -> None:
    @checkpoint
    async def work(x: int) -> int:
        return x

    @flow
    async def agent() -> int:
        first, second = work(1), work(2)
        return 10 * await second + await first

    handle = agent.run()
    assert handle.wait(timeout=TIMEOUT) == 21
    assert {call.call_id: call.inputs["x"] for call in record(handle).checkpoints} == {"work": 1, "work_2": 2}


def test_s3_6_checkpoints_are_listed_in_the_order_in_which_the_body_made_them() -> None:
    may_end = threading.Event()

    @checkpoint
    def slow() -> None:
        assert may_end.wait(TIMEOUT)

    @checkpoint
    def quick(x: int) -> None: ...

    @flow
    def agent() -> None:
        future = slow.submit()
        quick(1)
        quick(2)
        may_end.set()
        future.result()

    handle = agent.run()
    handle.wait(timeout=TIMEOUT)
    assert [call.call_id for call in KitaruClient().executions.get(handle.exec_id).checkpoints] == [
        "slow", "quick", "quick_2",
    ]  # fmt: skip
