"""S3.1: a call finds its own record, whatever happens around it."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from kitaru import CheckpointFuture, checkpoint, flow
from tests.acceptance.runs import TIMEOUT, Breakage, failure_of, retry
from tests.acceptance.sequels import Counter, Sequel


def test_s3_1_equal_calls_in_a_loop_are_told_apart_by_their_occurrence() -> None:
    counter, sequel = Counter(), Sequel()

    def body() -> Any:
        return [counter.work("same") for _ in range(5)]

    sequel.start(body)
    assert sequel.resume(body) == [("same", n) for n in range(1, 6)]
    assert len(counter.ran) == 5


def test_s3_1_a_longer_loop_of_equal_calls_reuses_the_recorded_ones_and_runs_the_rest() -> None:
    counter, sequel = Counter(), Sequel()
    sequel.start(lambda: [counter.work("same") for _ in range(3)])
    assert sequel.resume(lambda: [counter.work("same") for _ in range(5)]) == [("same", n) for n in range(1, 6)]
    assert len(counter.ran) == 5


def test_s3_1_an_inserted_step_does_not_disturb_the_others() -> None:
    counter, sequel = Counter(), Sequel()
    sequel.start(lambda: [counter.work(x) for x in "abc"])
    assert sequel.resume(lambda: [counter.work(x) for x in "xaybzc"]) == [
        ("x", 4), ("a", 1), ("y", 5), ("b", 2), ("z", 6), ("c", 3),
    ]  # fmt: skip


def test_s3_1_a_removed_step_does_not_disturb_the_others() -> None:
    counter, sequel = Counter(), Sequel()
    sequel.start(lambda: [counter.work(x) for x in "abcd"])
    assert sequel.resume(lambda: [counter.work(x) for x in "bd"]) == [("b", 2), ("d", 4)]
    assert len(counter.ran) == 4


def test_s3_1_a_reordered_list_finds_all_its_records() -> None:
    counter, sequel = Counter(), Sequel()
    items = list(range(30))
    sequel.start(lambda: [counter.work(x) for x in items])
    shuffled = random.Random(7).sample(items, len(items))
    assert sequel.resume(lambda: [counter.work(x) for x in shuffled]) == [(x, x + 1) for x in shuffled]
    assert len(counter.ran) == 30


def test_s3_1_a_sequential_body_may_become_a_fan_out_and_the_other_way_round() -> None:
    counter, sequel = Counter(), Sequel()
    sequel.start(lambda: [counter.work(x) for x in range(5)])
    assert sequel.resume(lambda: counter.work.map(range(5)).result()) == [(x, x + 1) for x in range(5)]
    assert len(counter.ran) == 5


def test_s3_1_concurrent_equal_calls_are_numbered_as_the_body_makes_them_not_as_they_end() -> None:
    turns = [threading.Event() for _ in range(4)]
    started: list[int] = []
    lock = threading.Lock()
    sequel = Sequel()

    @checkpoint
    def draw() -> int:
        with lock:
            mine = len(started)
            started.append(mine)
        assert turns[mine].wait(TIMEOUT)
        if mine:
            turns[mine - 1].set()
        return mine

    def body() -> list[int]:
        futures = [draw.submit() for _ in range(4)]
        while len(started) < 4:
            assert not threading.Event().wait(0.001)
        turns[3].set()
        return [future.result() for future in futures]

    first: list[list[int]] = []
    sequel.start(lambda: first.append(body()))
    assert sequel.resume(lambda: [draw() for _ in range(4)]) == first[0]
    assert len(started) == 4


def test_s3_1_async_branches_that_finish_in_another_order_find_their_own_records() -> None:
    ran: list[tuple[str, int]] = []
    outside = Breakage()
    order = [["a", "b", "c"], ["c", "a", "b"]]
    runs: list[int] = []

    @checkpoint
    async def step(branch: str, number: int) -> str:
        ran.append((branch, number))
        return f"{branch}{number}"

    @flow
    async def agent() -> dict[str, list[str]]:
        turn = order[len(runs)]
        runs.append(1)
        done: dict[str, list[str]] = {}
        gates = {name: asyncio.Event() for name in turn}

        async def branch(name: str) -> None:
            await gates[name].wait()
            done[name] = [await step(name, n) for n in range(3)]
            after = turn.index(name) + 1
            if after < len(turn):
                gates[turn[after]].set()

        gates[turn[0]].set()
        await asyncio.gather(*(branch(name) for name in "abc"))
        outside.check()
        return done

    handle = agent.run()
    failure_of(handle)
    outside.mend()
    result = retry(handle).wait(timeout=TIMEOUT)
    assert list(result) == ["c", "a", "b"]
    assert result == {name: [f"{name}{n}" for n in range(3)] for name in "abc"}
    assert len(ran) == 9


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(1, True, id="1 and True"),
        pytest.param(1, 1.0, id="1 and 1.0"),
        pytest.param(0.0, -0.0, id="0.0 and -0.0"),
        pytest.param("1", 1, id="text and number"),
        pytest.param("a", b"a", id="text and bytes"),
        pytest.param([1, 2], (1, 2), id="list and tuple"),
        pytest.param({1}, frozenset({1}), id="set and frozenset"),
        pytest.param([1, 2], [2, 1], id="order of a list"),
        pytest.param({"a": 1}, {"a": 1, "b": None}, id="a key more"),
        pytest.param({"1": 0}, {1: 0}, id="text key and number key"),
        pytest.param(None, "None", id="None and its text"),
        pytest.param("", None, id="empty and None"),
        pytest.param({"$tuple": [1]}, (1,), id="a dict that looks like a tag"),
        pytest.param("x" * 20_000, "x" * 20_001, id="long texts"),
        pytest.param("é", "e\u0301", id="two forms of one letter"),
    ],
)
def test_s3_1_and_s3_3_different_inputs_are_different_calls(one: Any, other: Any) -> None:
    counter, sequel = Counter(), Sequel()
    sequel.start(lambda: counter.work(one))
    value, run = sequel.resume(lambda: counter.work(other))
    assert run == 2
    assert type(value) is type(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param({"a": 1, "b": [2]}, {"b": [2], "a": 1}, id="order of keys"),
        pytest.param({1: "a", (2,): "b"}, {(2,): "b", 1: "a"}, id="order of keys that are no text"),
        pytest.param({"b", "a", "c"}, {"c", "b", "a"}, id="order of a set"),
        pytest.param({"x" * 20_000: 1, "b": 2}, {"b": 2, "x" * 20_000: 1}, id="order of keys in a long value"),
        pytest.param("ab" * 20_000, "".join(["ab"] * 20_000), id="equal long texts"),
        pytest.param(float("nan"), float("nan"), id="nan"),
    ],
)
def test_s3_1_equal_inputs_are_the_same_call(one: Any, other: Any) -> None:
    counter, sequel = Counter(), Sequel()
    sequel.start(lambda: counter.work(one))
    assert sequel.resume(lambda: counter.work(other))[1] == 1


def test_s3_1_how_the_arguments_are_passed_does_not_count() -> None:
    ran: list[Any] = []

    @checkpoint
    def work(a: int, b: int = 2, *rest: int, flag: bool = False, **options: int) -> int:
        ran.append((a, b, rest, flag, options))
        return len(ran)

    @checkpoint
    def simple(a: int, b: int = 2) -> int:
        ran.append((a, b))
        return len(ran)

    ways: list[list[Callable[[], int]]] = [
        [lambda: simple(1), lambda: simple(1, 2), lambda: simple(a=1), lambda: simple(b=2, a=1)],
        [lambda: work(1), lambda: work(1, 2), lambda: work(b=2, a=1), lambda: work(1, flag=False)],
        [lambda: work(1, x=1, y=2), lambda: work(1, y=2, x=1)],
    ]
    for first, *others in ways:
        for other in others:
            sequel = Sequel()
            sequel.start(first)
            count = len(ran)
            assert sequel.resume(other) == count
            assert len(ran) == count


def test_s3_1_the_name_is_part_of_the_identity() -> None:
    ran: list[str] = []
    sequel = Sequel()

    @checkpoint
    def one(x: int) -> str:
        ran.append("one")
        return "one"

    @checkpoint
    def two(x: int) -> str:
        ran.append("two")
        return "two"

    sequel.start(lambda: one(1))
    assert sequel.resume(lambda: two(1)) == "two"
    assert ran == ["one", "two"]


def test_s3_1_a_key_replaces_the_digest_of_the_inputs() -> None:
    counter, sequel = Counter(), Sequel()
    sequel.start(lambda: counter.work.with_options(key="page-1")("2024-01-01T10:00"))
    assert sequel.resume(lambda: counter.work.with_options(key="page-1")("2024-06-06T23:59")) == (
        "2024-01-01T10:00", 1,
    )  # fmt: skip


def test_s3_1_other_keys_and_no_key_are_other_calls() -> None:
    counter, sequel = Counter(), Sequel()
    keyed = counter.work.with_options
    sequel.start(lambda: [keyed(key="a")(0), keyed(key="b")(0), counter.work(0)])
    assert sequel.resume(lambda: [keyed(key="b")(0), keyed(key="c")(0), counter.work(0), keyed(key="a")(0)]) == [
        (0, 2), (0, 4), (0, 3), (0, 1),
    ]  # fmt: skip


def test_s3_1_equal_keys_are_counted_like_equal_inputs() -> None:
    counter, sequel = Counter(), Sequel()
    keyed = counter.work.with_options(key="k")
    sequel.start(lambda: [keyed(x) for x in (10, 20, 30)])
    assert sequel.resume(lambda: [keyed(x) for x in (11, 21, 31)]) == [(10, 1), (20, 2), (30, 3)]


def test_s3_1_a_key_cannot_collide_with_a_digest() -> None:
    counter, sequel = Counter(), Sequel()
    sequel.start(lambda: counter.work(1))
    from kitaru.services.wiring import wiring

    digest = wiring().store.calls.memo(sequel.handle.exec_id)[0].input_digest
    assert sequel.resume(lambda: counter.work.with_options(key=digest)(2)) == (2, 2)


def test_s3_3_a_submitted_call_works_on_the_inputs_that_were_recorded_for_it() -> None:
    body_goes_on = threading.Event()

    @checkpoint
    def total(numbers: list[int]) -> int:
        assert body_goes_on.wait(TIMEOUT)
        return sum(numbers)

    @flow
    def agent() -> list[int]:
        numbers: list[int] = []
        futures: list[CheckpointFuture[int]] = []
        for number in (1, 2, 3):
            numbers.append(number)
            futures.append(total.submit(numbers))
        body_goes_on.set()
        return [future.result() for future in futures]

    assert agent.run().wait(timeout=TIMEOUT) == [1, 3, 6]


def test_s3_3_a_further_attempt_works_on_the_inputs_that_were_recorded_and_not_on_what_the_first_made_of_them() -> None:
    @checkpoint(retries=1)
    def drain(queue: list[int]) -> list[int]:
        taken = [queue.pop()]
        if len(queue) == 2:
            raise ConnectionError("after the first")
        return taken

    @flow
    def agent() -> list[int]:
        return drain([1, 2, 3])

    with pytest.raises(Exception, match="after the first"):
        agent.run().wait(timeout=TIMEOUT)
