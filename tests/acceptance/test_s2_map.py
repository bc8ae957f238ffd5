"""S2.2: map and product, and the futures that they return."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from kitaru import (
    CheckpointFutures,
    KitaruUsageError,
    checkpoint,
    flow,
    unmapped,
)
from tests.acceptance.runs import TIMEOUT, call_ids, failure_of, record


class Point(NamedTuple):
    x: int
    y: int


def numbers() -> Iterator[int]:
    yield from (1, 2)


MAPS: list[Any] = [
    pytest.param(([1, 2],), {}, [((1,), {}), ((2,), {})], id="list"),
    pytest.param(((1, 2),), {}, [((1,), {}), ((2,), {})], id="tuple"),
    pytest.param((range(2),), {}, [((0,), {}), ((1,), {})], id="range"),
    pytest.param(("generator",), {}, [((1,), {}), ((2,), {})], id="generator"),
    pytest.param(([1, 2], "ab"), {}, [((1, "ab"), {}), ((2, "ab"), {})], id="a string is one value"),
    pytest.param(([1, 2], b"ab"), {}, [((1, b"ab"), {}), ((2, b"ab"), {})], id="bytes are one value"),
    pytest.param(([1], {"a": 1}), {}, [((1, {"a": 1}), {})], id="a mapping is one value"),
    pytest.param(([1], {7, 8}), {}, [((1, {7, 8}), {})], id="a set has no order and is one value"),
    pytest.param(([1, 2], Point(3, 4)), {}, [((1, Point(3, 4)), {}), ((2, Point(3, 4)), {})], id="a named tuple"),
    pytest.param(([1, 2], None), {}, [((1, None), {}), ((2, None), {})], id="None is one value"),
    pytest.param(([1, 2], unmapped([3, 4])), {}, [((1, [3, 4]), {}), ((2, [3, 4]), {})], id="unmapped list"),
    pytest.param(([1, 2], (3, 4)), {}, [((1, 3), {}), ((2, 4), {})], id="zipped"),
    pytest.param(([1, 2],), {"b": [3, 4]}, [((1,), {"b": 3}), ((2,), {"b": 4})], id="zipped by keyword"),
    pytest.param((), {"b": [3, 4]}, [((), {"b": 3}), ((), {"b": 4})], id="by keyword alone"),
    pytest.param((5,), {"b": [3], "c": unmapped((1, 2))}, [((5,), {"b": 3, "c": (1, 2)})], id="mixed"),
    pytest.param(([],), {}, [], id="an empty list makes no call"),
    pytest.param(([[1], [2]],), {}, [(([1],), {}), (([2],), {})], id="a list of lists is spread once"),
]


def spread(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(numbers() if arg == "generator" else arg for arg in args)


@pytest.mark.parametrize(("args", "kwargs", "calls"), MAPS)
def test_s2_2_map_zips_sequences_and_broadcasts_everything_else(
    args: tuple[Any, ...], kwargs: dict[str, Any], calls: list[Any]
) -> None:
    @checkpoint
    def work(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
        return (args, kwargs)

    @flow
    def agent() -> list[Any]:
        return work.map(*spread(args), **kwargs).result()

    assert agent.run().wait(timeout=TIMEOUT) == calls


PRODUCTS: list[Any] = [
    pytest.param((["a", "b"], [1, 2]), {}, [("a", 1), ("a", 2), ("b", 1), ("b", 2)], id="the last varies fastest"),
    pytest.param((["a", "b"], "xy"), {}, [("a", "xy"), ("b", "xy")], id="a string is one value"),
    pytest.param(((1, 2), unmapped([3, 4])), {}, [(1, [3, 4]), (2, [3, 4])], id="unmapped"),
    pytest.param(([1, 2],), {"b": range(2)}, [(1, 0), (1, 1), (2, 0), (2, 1)], id="keywords come last"),
    pytest.param((["a"], "generator"), {}, [("a", 1), ("a", 2)], id="generator"),
    pytest.param(([1, 2], []), {}, [], id="with an empty list there is no combination"),
]


@pytest.mark.parametrize(("args", "kwargs", "calls"), PRODUCTS)
def test_s2_2_product_makes_every_combination(args: tuple[Any, ...], kwargs: dict[str, Any], calls: list[Any]) -> None:
    @checkpoint
    def work(a: Any, b: Any) -> tuple[Any, ...]:
        return (a, b)

    @flow
    async def agent() -> list[Any]:
        return await work.product(*spread(args), **kwargs)

    handle = agent.run()
    assert handle.wait(timeout=TIMEOUT) == calls
    assert [tuple(call.inputs.values()) for call in record(handle).checkpoints] == calls


def test_s2_2_seed_examples_of_map_and_product() -> None:
    @checkpoint
    def fetch_data(url: str) -> str:
        return f"<{url}>"

    @checkpoint
    def my_checkpoint(a: str, b: int) -> str:
        return a * b

    @flow
    def agent() -> list[list[str]]:
        return [
            fetch_data.map(["url1", "url2", "url3"]).result(),
            my_checkpoint.product(["a", "b"], [1, 2]).result(),
        ]

    assert agent.run().wait(timeout=TIMEOUT) == [["<url1>", "<url2>", "<url3>"], ["a", "aa", "b", "bb"]]


def test_s2_2_unequal_lengths_are_refused_before_any_call_is_made() -> None:
    @checkpoint
    def work(a: int, b: int) -> int:
        return a + b

    @flow
    def agent() -> str:
        with pytest.raises(KitaruUsageError, match=r"input 1 has 2, b has 3.*unmapped\(\)"):
            work.map([1, 2], b=[1, 2, 3])
        with pytest.raises(KitaruUsageError, match="different lengths"):
            work.map([], [1])
        return "refused"

    handle = agent.run()
    assert handle.wait(timeout=TIMEOUT) == "refused"
    assert call_ids(handle) == []


def test_s2_2_nothing_to_spread_is_refused() -> None:
    @checkpoint
    def work(a: Any, b: Any = None) -> Any:
        return a

    @flow
    def agent() -> int:
        refused = 0
        for args in ((), ("text",), (unmapped([1]),), ({"a": 1}, {1, 2})):
            for way in (work.map, work.product):
                with pytest.raises(KitaruUsageError, match=r"use submit\(\)"):
                    way(*args)
                refused += 1
        return refused

    handle = agent.run()
    assert handle.wait(timeout=TIMEOUT) == 8
    assert call_ids(handle) == []


def test_s2_2_the_futures_are_a_sequence_in_the_order_of_the_inputs() -> None:
    turns = [threading.Event() for _ in range(4)]

    @checkpoint
    def work(x: int) -> int:
        assert turns[x].wait(TIMEOUT)
        if x:
            turns[x - 1].set()  # the last ends first
        return x * x

    @flow
    def agent() -> list[Any]:
        futures = work.map([0, 1, 2, 3])
        turns[3].set()
        values = futures.result()
        return [
            isinstance(futures, CheckpointFutures), values, len(futures), futures[1].result(), futures[-1].call_id,
            futures[1:3].result(), [future.result() for future in futures], futures.done(), futures.result(timeout=0),
        ]  # fmt: skip

    assert agent.run().wait(timeout=TIMEOUT) == [
        True, [0, 1, 4, 9], 4, 1, "work_4", [1, 4], [0, 1, 4, 9], True, [0, 1, 4, 9],
    ]  # fmt: skip


def test_s2_2_the_result_of_many_raises_the_first_failure_in_the_order_of_the_inputs() -> None:
    later_failed = threading.Event()

    @checkpoint
    def work(x: int) -> int:
        if x == 1:
            assert later_failed.wait(TIMEOUT)
        if x == 2:
            later_failed.set()
        if x:
            raise ValueError(f"no {x}")
        return x

    @flow
    def agent() -> None:
        work.map([0, 1, 2]).result()

    assert repr(failure_of(agent.run()).__cause__) == "ValueError('no 1')"
