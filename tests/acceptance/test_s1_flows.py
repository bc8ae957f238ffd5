"""S1.1 to S1.5, S1.7, S1.9: what a flow is, how it is started, and what its handle tells."""

from __future__ import annotations

import asyncio
import inspect
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

import kitaru
from kitaru import KitaruClient, KitaruUsageError, checkpoint, flow
from kitaru.client import handle as handle_module
from kitaru.sdk.flow import RESERVED, Flow
from tests.acceptance.gates import PATIENCE, Gate


def recorded() -> list[str]:
    """The ids of all executions that are recorded."""
    return [execution.exec_id for execution in KitaruClient().executions.list()]


@dataclass(frozen=True)
class Invoice:
    number: int
    total: Decimal


class OutOfMoney(Exception):
    def __init__(self, missing: int) -> None:
        super().__init__(f"{missing} missing")
        self.missing = missing


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


# ── S1.4 ─────────────────────────────────────────────────────────────────────────────────────────


def test_s1_4_status_is_fresh_on_each_access_and_get_does_not_wait() -> None:
    gate = Gate()

    @flow
    def my_agent() -> int:
        gate.pass_()
        return 7

    handle = my_agent.run()
    assert handle.status == "running"
    with pytest.raises(kitaru.KitaruStateError, match=rf"{handle.exec_id} is running.*wait\(\)"):
        handle.get()
    gate.open()
    assert handle.wait(PATIENCE) == 7
    assert handle.status == "completed"
    assert handle.get() == 7


def test_s1_4_wait_gives_up_after_its_timeout_and_the_execution_goes_on() -> None:
    gate = Gate()

    @flow
    def my_agent() -> int:
        gate.pass_()
        return 7

    handle = my_agent.run()
    for timeout in (0, 0.01):
        with pytest.raises(TimeoutError, match=f"{handle.exec_id}.*goes on"):
            handle.wait(timeout)
    gate.open()
    assert handle.wait(PATIENCE) == 7
    assert handle.wait(0) == 7


def test_s1_4_wait_is_woken_by_the_end_and_not_by_a_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several waiters, with the poll put off for an hour."""
    monkeypatch.setattr(handle_module, "_POLL_SECONDS", 3600.0)
    gate = Gate()

    @flow
    def my_agent() -> int:
        gate.pass_()
        return 7

    handle = my_agent.run()
    results: list[int] = []
    waiters = [
        threading.Thread(target=lambda: results.append(handle.wait(PATIENCE))),
        threading.Thread(
            target=lambda: results.append(KitaruClient().executions.handle(handle.exec_id).wait(PATIENCE))
        ),
    ]
    for waiter in waiters:
        waiter.start()
    gate.open()
    for waiter in waiters:
        waiter.join(PATIENCE)
    assert results == [7, 7]


def test_s1_4_a_handle_can_be_awaited_again_and_again() -> None:
    gate = Gate()

    @flow
    def my_agent() -> int:
        gate.pass_()
        return 7

    @flow
    def fails() -> int:
        raise OutOfMoney(3)

    async def main() -> None:
        handle = my_agent.run()
        waiting = [asyncio.ensure_future(_awaited(handle)) for _ in range(2)]
        await asyncio.sleep(0)
        gate.open()
        assert await asyncio.gather(*waiting) == [7, 7]
        assert await handle == 7
        assert await KitaruClient().executions.handle(handle.exec_id) == 7
        with pytest.raises(kitaru.KitaruUserCodeError, match="3 missing"):
            await fails.run()

    async def _awaited(handle: kitaru.FlowHandle[int]) -> int:
        return await handle

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


def test_s1_4_a_thousand_handles_are_awaited_in_one_event_loop() -> None:
    @flow
    async def square(number: int) -> int:
        return number * number

    async def main() -> list[int]:
        handles = [square.run(number) for number in range(1000)]
        return await asyncio.gather(*handles)

    assert asyncio.run(asyncio.wait_for(main(), 4 * PATIENCE)) == [number * number for number in range(1000)]


def test_s1_4_awaiting_gives_up_when_its_task_is_cancelled_and_the_execution_goes_on() -> None:
    gate = Gate()

    @flow
    def my_agent() -> int:
        gate.pass_()
        return 7

    async def main() -> None:
        handle = my_agent.run()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await handle
        gate.open()
        assert await handle == 7

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


def test_s1_4_cancel_through_the_handle() -> None:
    gate = Gate()

    @flow
    def my_agent() -> int:
        gate.pass_()
        return 7

    handle = my_agent.run()
    handle.cancel()
    assert handle.status == "cancelled"
    gate.open()
    with pytest.raises(kitaru.KitaruCancelledError):
        handle.wait(PATIENCE)


# ── S1.5 ─────────────────────────────────────────────────────────────────────────────────────────


@flow
def spends(amount: int) -> None:
    charge(amount)


def charge(amount: int) -> None:
    raise OutOfMoney(amount)


def test_s1_5_a_failed_execution_raises_what_failed_where_and_in_which_execution() -> None:
    handle = spends.run(5)
    for ask in (lambda: handle.wait(PATIENCE), handle.get, lambda: asyncio.run(_await(handle))):
        with pytest.raises(kitaru.KitaruExecutionError) as caught:
            ask()
        error = caught.value
        assert type(error) is kitaru.KitaruUserCodeError
        assert error.exec_id == handle.exec_id
        assert error.status == "failed"
        assert error.failure_origin is kitaru.FailureOrigin.USER_CODE
        assert all(part in str(error) for part in (handle.exec_id, "spends", "OutOfMoney", "5 missing"))
        assert isinstance(error.__cause__, OutOfMoney)
        assert error.__cause__.missing == 5
        assert any("in charge" in note and "OutOfMoney: 5 missing" in note for note in error.__notes__)


async def _await(handle: kitaru.FlowHandle[Any]) -> Any:
    return await handle


def test_s1_5_the_cause_is_the_original_exception_in_its_own_process_and_an_equal_one_elsewhere() -> None:
    raised = OutOfMoney(9)

    @flow
    def my_agent() -> None:
        raise raised

    handle = my_agent.run()
    with pytest.raises(kitaru.KitaruUserCodeError) as caught:
        handle.wait(PATIENCE)
    assert caught.value.__cause__ is raised
    with pytest.raises(kitaru.KitaruUserCodeError) as caught:
        KitaruClient().executions.handle(handle.exec_id).wait(PATIENCE)  # knows only what is recorded
    restored = caught.value.__cause__
    assert restored is not raised
    assert isinstance(restored, OutOfMoney)
    assert (restored.args, restored.missing) == (("9 missing",), 9)


def test_s1_5_an_exception_whose_class_no_other_process_can_find_is_told_without_a_cause() -> None:
    class Local(Exception): ...

    @flow
    def my_agent() -> None:
        raise Local("only here")

    handle = my_agent.run()
    with pytest.raises(kitaru.KitaruUserCodeError):
        handle.wait(PATIENCE)
    with pytest.raises(kitaru.KitaruUserCodeError, match="Local: only here") as caught:
        KitaruClient().executions.handle(handle.exec_id).get()
    assert caught.value.__cause__ is None
    assert any("Local: only here" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_s1_5_a_body_that_leaves_by_another_base_exception_has_failed(error: BaseException) -> None:
    @flow(retries=2)
    def my_agent() -> None:
        raise error

    handle = my_agent.run()
    with pytest.raises(kitaru.KitaruUserCodeError, match=type(error).__name__) as caught:
        handle.wait(PATIENCE)
    assert caught.value.__cause__ is error
    assert handle.status == "failed"


def test_s1_5_a_cancelled_execution_raises_cancelled() -> None:
    gate = Gate()

    @flow
    def my_agent() -> None:
        gate.pass_()

    handle = my_agent.run()
    handle.cancel()
    gate.open()
    for ask in (lambda: handle.wait(PATIENCE), handle.get, lambda: asyncio.run(_await(handle))):
        with pytest.raises(kitaru.KitaruCancelledError, match=handle.exec_id) as caught:
            ask()
        assert (caught.value.exec_id, caught.value.status) == (handle.exec_id, "cancelled")
        assert caught.value.failure_origin is None


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
