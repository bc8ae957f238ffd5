"""S1.1 to S1.3, S1.7, S1.9: what a flow is, how it is started, and how often its body runs."""

from __future__ import annotations

import inspect
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

import kitaru
from kitaru import KitaruClient, KitaruUsageError, checkpoint, flow
from kitaru.sdk.flow import RESERVED, Flow
from tests.acceptance.gates import PATIENCE, Gate


def recorded() -> list[str]:
    """The ids of all executions that are recorded."""
    return [execution.exec_id for execution in KitaruClient().executions.list()]


@dataclass(frozen=True)
class Invoice:
    number: int
    total: Decimal


# ── S1.1 ─────────────────────────────────────────────────────────────────────────────────────────


def test_s1_1_a_decorated_function_is_a_flow_with_or_without_options() -> None:
    @flow
    def bare(url: str) -> str:
        """Reads a page."""
        return url

    @flow(retries=1, cache=False, stack="local", image="python:3.12")
    def with_options(url: str) -> str:
        return url

    assert isinstance(bare, Flow)
    assert isinstance(with_options, Flow)
    assert (bare.name, bare.__name__, bare.__doc__) == ("bare", "bare", "Reads a page.")
    assert list(inspect.signature(bare).parameters) == ["url"]
    assert bare.run("a").wait(PATIENCE) == "a"
    assert with_options.run(url="b").wait(PATIENCE) == "b"


def test_s1_1_an_async_function_is_a_flow_too() -> None:
    @checkpoint
    async def shout(word: str) -> str:
        return word.upper()

    @flow
    async def bare(word: str) -> str:
        return await shout(word)

    @flow(retries=1)
    async def with_options(word: str) -> str:
        return await shout(word + "!")

    assert bare.run("a").wait(PATIENCE) == "A"
    assert with_options.run("a").wait(PATIENCE) == "A!"


def test_s1_1_calling_a_flow_directly_names_run_and_invoke() -> None:
    @flow
    def my_agent(url: str) -> str:
        return url

    @flow
    async def my_async_agent(url: str) -> str:
        return url

    for made in (my_agent, my_async_agent):
        with pytest.raises(KitaruUsageError, match=rf"{made.name}\.run\(.*{made.name}\.invoke\("):
            made("x")
    assert recorded() == []


def test_s1_1_fn_is_the_bare_function_for_unit_tests() -> None:
    @flow
    def double(x: int) -> int:
        return 2 * x

    assert double.fn(3) == 6
    assert recorded() == []


def _generator() -> Any:
    yield 1


async def _async_generator() -> Any:
    yield 1


@pytest.mark.parametrize("wrong", [_generator, _async_generator, Invoice, 5, print])
def test_s1_1_only_a_plain_function_becomes_a_flow(wrong: Any) -> None:
    with pytest.raises(KitaruUsageError, match="@flow"):
        flow(wrong)


@pytest.mark.parametrize("retries", [-1, 1.0, 1.5, "1", True, False])
def test_s1_1_retries_that_are_no_count_are_refused_at_decoration_and_at_run(retries: Any) -> None:
    with pytest.raises(KitaruUsageError, match=r"@flow body: retries="):

        @flow(retries=retries)
        def body() -> None: ...

    @flow
    def plain() -> None: ...

    with pytest.raises(KitaruUsageError, match="retries="):
        plain.run(retries=retries)
    assert recorded() == []


# ── S1.2 ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("args", "kwargs", "said"),
    [
        ((), {}, "'url'"),
        (("a", 1, 2), {}, "too many"),
        (("a",), {"url": "b"}, "'url'"),
        (("a",), {"limt": 3}, "'limt'"),
    ],
)
def test_s1_2_arguments_are_checked_against_the_signature_before_anything_is_recorded(
    args: tuple[Any, ...], kwargs: dict[str, Any], said: str
) -> None:
    @flow
    def my_agent(url: str, limit: int = 3) -> str:
        return url

    with pytest.raises(KitaruUsageError, match=said) as caught:
        my_agent.run(*args, **kwargs)
    assert "my_agent(url: 'str', limit: 'int' = 3)" in str(caught.value)
    assert recorded() == []


@pytest.mark.parametrize("kind", ["positional", "keyword", "mixed"])
def test_s1_2_arguments_reach_the_body_however_they_are_given(kind: str) -> None:
    @flow
    def my_agent(a: int, /, b: int, *rest: int, c: int = 4, **more: int) -> tuple[Any, ...]:
        return a, b, rest, c, more

    handle, expected = {
        "positional": (my_agent.run(1, 2, 3, 5), (1, 2, (3, 5), 4, {})),
        "keyword": (my_agent.run(1, b=2, c=3, z=1, y=2), (1, 2, (), 3, {"y": 2, "z": 1})),
        "mixed": (my_agent.run(1, 2, c=9), (1, 2, (), 9, {})),
    }[kind]
    assert handle.wait(PATIENCE) == expected


def test_s1_2_run_records_the_execution_and_returns_before_the_body_has_run() -> None:
    gate = Gate()
    steps: list[str] = []

    @flow
    def my_agent(url: str) -> str:
        gate.pass_()
        steps.append("body")
        return url

    handle = my_agent.run("x", tags=["red", "blue"])
    seen = KitaruClient().executions.get(handle.exec_id)
    assert steps == []
    assert seen.flow == "my_agent"
    assert seen.status == "running"
    assert seen.inputs == {"url": "x"}
    assert seen.tags == ("red", "blue")
    gate.open()
    assert handle.wait(PATIENCE) == "x"


def test_s1_2_a_second_run_with_the_same_id_is_the_first_execution() -> None:
    gate = Gate()
    runs: list[int] = []

    @flow
    def my_agent(url: str) -> str:
        runs.append(1)
        gate.pass_()
        return url

    first = my_agent.run("x", execution_id="order-17")
    gate.await_reached()
    while_it_runs = my_agent.run("x", execution_id="order-17")
    gate.open()
    assert first.wait(PATIENCE) == "x"
    after_its_end = my_agent.run(url="x", execution_id="order-17")
    assert first.exec_id == while_it_runs.exec_id == after_its_end.exec_id == "order-17"
    assert while_it_runs.wait(PATIENCE) == after_its_end.wait(PATIENCE) == "x"
    assert runs == [1]
    assert recorded() == ["order-17"]


def test_s1_2_a_second_run_of_a_failed_execution_returns_its_handle_and_does_not_run_it_again() -> None:
    runs: list[int] = []

    @flow
    def my_agent() -> None:
        runs.append(1)
        raise ValueError("no")

    for _ in range(2):
        with pytest.raises(kitaru.KitaruUserCodeError, match="no"):
            my_agent.run(execution_id="once").wait(PATIENCE)
    assert runs == [1]


def test_s1_2_an_id_that_is_taken_by_other_inputs_or_another_flow_is_refused() -> None:
    @flow
    def my_agent(url: str) -> str:
        return url

    @flow
    def other(url: str) -> str:
        return url

    my_agent.run("x", execution_id="one").wait(PATIENCE)
    with pytest.raises(KitaruUsageError, match=r"'one'.*other inputs"):
        my_agent.run("y", execution_id="one")
    with pytest.raises(KitaruUsageError, match=r"'one'.*my_agent"):
        other.run("x", execution_id="one")
    assert recorded() == ["one"]


@pytest.mark.parametrize("wrong", ["", "-a", "a b", "a/b", "ä", "a" * 129, "a\n", 5, b"a"])
def test_s1_2_an_id_that_cannot_be_stored_and_typed_is_refused(wrong: Any) -> None:
    @flow
    def my_agent() -> None: ...

    with pytest.raises(KitaruUsageError, match="execution_id="):
        my_agent.run(execution_id=wrong)
    assert recorded() == []


def test_s1_2_an_argument_that_cannot_be_carried_is_refused_with_its_path_and_nothing_is_recorded() -> None:
    @flow
    def my_agent(options: dict[str, Any]) -> None: ...

    with pytest.raises(kitaru.KitaruSerializationError, match=r'options\["locks"\]\[1\]'):
        my_agent.run({"locks": [1, threading.Lock()]})
    assert recorded() == []


# ── S1.3 ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["stack", "retries", "cache", "image", "execution_id", "tags"])
def test_s1_3_a_parameter_with_a_reserved_name_is_refused_at_decoration(name: str) -> None:
    assert name in RESERVED
    for signature in (f"{name}=None", f"a, *, {name}", f"*{name}", f"**{name}"):
        scope: dict[str, Any] = {}
        exec(f"def body({signature}): pass", scope)
        with pytest.raises(KitaruUsageError, match=rf"body.*'{name}'"):
            flow(scope["body"])


# ── S1.7 ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("is_async", [False, True])
def test_s1_7_retries_run_the_body_again_and_reuse_what_succeeded(is_async: bool) -> None:
    steps: list[str] = []

    @checkpoint
    def fetch() -> str:
        steps.append("fetch")
        return "page"

    @checkpoint
    def parse(page: str) -> str:
        steps.append("parse")
        if steps.count("parse") < 3:
            raise ValueError(f"bad {page} {steps.count('parse')}")
        return page.upper()

    @flow(retries=2)
    def my_agent() -> str:
        return parse(fetch())

    @flow(retries=2)
    async def my_async_agent() -> str:
        return parse(fetch())

    handle = (my_async_agent if is_async else my_agent).run()
    assert handle.wait(PATIENCE) == "PAGE"
    assert steps == ["fetch", "parse", "parse", "parse"]
    execution = KitaruClient().executions.get(handle.exec_id)
    assert [(a.number, a.status, a.failure and a.failure.message) for a in execution.attempts] == [
        (1, "failed", "bad page 1"),
        (2, "failed", "bad page 2"),
    ]
    assert [call.call_id for call in execution.checkpoints] == ["fetch", "parse"]
    assert [attempt.number for attempt in execution.checkpoints[1].attempts] == [1, 2, 3]


def test_s1_7_after_its_retries_an_execution_has_failed_with_the_last_failure() -> None:
    runs: list[int] = []

    @flow(retries=5)
    def my_agent() -> None:
        runs.append(1)
        raise ValueError(f"run {len(runs)}")

    handle = my_agent.run(retries=1)
    with pytest.raises(kitaru.KitaruUserCodeError, match="run 2"):
        handle.wait(PATIENCE)
    assert len(runs) == 2
    execution = KitaruClient().executions.get(handle.exec_id)
    assert execution.retries == 1
    assert execution.failure is not None
    assert execution.failure.message == "run 2"
    assert len(execution.attempts) == 2


# ── S1.9 ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"nested": [(1, 2), {3, 4}, b"\x00\xff", 10**40]},
        Invoice(1, Decimal("9.90")),
        datetime(2024, 5, 6, 7, 8, 9, 10, tzinfo=UTC),
        ["x" * 200_000],
        {(1, "a"): frozenset({1})},
    ],
    ids=["none", "nested", "dataclass", "datetime", "large", "odd keys"],
)
def test_s1_9_arguments_and_results_are_any_value_that_can_be_carried(value: Any) -> None:
    seen: list[Any] = []

    @flow
    def my_agent(value: Any) -> Any:
        seen.append(value)
        return value

    handle = my_agent.run(value)
    result = handle.wait(PATIENCE)
    execution = KitaruClient().executions.get(handle.exec_id)
    for one in (seen[0], result, execution.result, execution.inputs["value"]):
        assert one == value
        assert type(one) is type(value)


def test_s1_9_a_result_that_cannot_be_carried_fails_the_execution_with_its_path() -> None:
    @flow
    def my_agent() -> Any:
        return {"items": [1, threading.Lock()]}

    with pytest.raises(kitaru.KitaruExecutionError, match=r'result\["items"\]\[1\]') as caught:
        my_agent.run().wait(PATIENCE)
    assert caught.value.failure_origin is kitaru.FailureOrigin.RUNTIME
    assert isinstance(caught.value.__cause__, kitaru.KitaruSerializationError)
