"""S6.5: what a replay can change in calls, each kind of it, and what is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import kitaru
from kitaru import Execution, FlowHandle, KitaruClient, KitaruExecutionError, KitaruUsageError, checkpoint, flow
from kitaru.services.wiring import wiring

pytestmark = pytest.mark.usefixtures("home")

PATIENCE = 30.0
RAN: list[str] = []
HERE = __name__


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    RAN.clear()


@checkpoint
def step(number: int, factor: int = 1) -> int:
    RAN.append(f"step {number} {factor}")
    return number * factor


@checkpoint
def total(numbers: list[int]) -> int:
    RAN.append(f"total {numbers}")
    return sum(numbers)


@flow
def work(count: int = 3, factor: int = 1) -> int:
    return total([step(number, factor) for number in range(1, count + 1)])


def triple(number: int, factor: int = 1) -> int:
    RAN.append(f"triple {number} {factor}")
    return number * 3


@checkpoint
def other_step(number: int, factor: int = 1) -> int:
    return number * 100


async def async_step(number: int, factor: int = 1) -> int:
    return number


def one_argument(number: int) -> int:
    return number


def raises(number: int, factor: int = 1) -> int:
    raise ValueError(f"no {number}")


NOT_A_FUNCTION = 3


def client() -> Any:
    return KitaruClient().executions


def record(handle: FlowHandle[Any]) -> Execution:
    return KitaruClient().executions.get(handle.exec_id)


def done(handle: FlowHandle[Any]) -> Any:
    """The result; what ran on the way there stands in ``RAN``."""
    return handle.wait(timeout=PATIENCE)


def source(**inputs: int) -> str:
    handle = work.run(**inputs)
    done(handle)
    RAN.clear()
    return handle.exec_id


def replayed(exec_id: str, **arguments: Any) -> Any:
    RAN.clear()
    return done(client().replay(exec_id, **arguments))


# ── output ───────────────────────────────────────────────────────────────────────────────────────


def test_an_output_by_name_is_given_to_all_its_calls() -> None:
    assert replayed(source(), overrides={"step": {"output": 7}}) == 21
    assert RAN == ["total [7, 7, 7]"]


def test_an_output_by_call_id_is_given_to_that_call() -> None:
    assert replayed(source(), overrides={"step_2": {"output": 10}}) == 14
    assert RAN == ["total [1, 10, 3]"]


def test_the_first_call_of_a_name_alone_is_its_name_with_1() -> None:
    assert replayed(source(), overrides={"step_1": {"output": 10}}) == 15


def test_the_override_of_a_call_id_counts_before_that_of_its_name() -> None:
    for overrides in (
        {"step": {"output": 0}, "step_3": {"output": 5}},
        {"step_3": {"output": 5}, "step": {"output": 0}},
    ):
        assert replayed(source(), overrides=overrides) == 5


def test_a_given_output_is_recorded_as_a_success_without_an_attempt() -> None:
    handle = client().replay(source(), overrides={"step_2": {"output": 10}})
    done(handle)
    call = record(handle).checkpoints[1]
    assert (call.call_id, call.status, call.output, call.attempts) == ("step_2", "completed", 10, ())
    assert (call.inputs, call.cached_from) == ({"number": 2, "factor": 1}, None)
    row = next(row for row in wiring().store.calls.of(handle.exec_id) if row.call_id == "step_2")
    assert (row.code_digest, row.cache_key) == (None, None)  # no code has run


def test_s3_3_what_was_changed_by_hand_is_no_drift() -> None:
    handle = client().replay(source(), overrides={"step_1": {"input": {"factor": 5}}}, count=2)
    assert done(handle) == 7
    assert {drift.call_id for drift in record(handle).drift} == {"total"}


def test_s4_1_a_given_output_comes_as_it_was_given() -> None:
    @flow
    def body() -> str:
        return repr(total([]))

    first = body.run()
    done(first)
    assert replayed(first.exec_id, overrides={"total": {"output": (1, {2})}}) == "(1, {2})"


def test_an_output_of_none_is_an_output() -> None:
    @flow
    def body() -> bool:
        return total([1]) is None

    first = body.run()
    assert done(first) is False
    assert replayed(first.exec_id, overrides={"total": {"output": None}}) is True


def test_an_output_is_given_to_submitted_and_async_calls() -> None:
    @checkpoint
    async def aget(number: int) -> int:
        return number

    @flow
    async def body() -> list[int]:
        direct = await asyncio.gather(aget(1), aget(2))
        return [*direct, await aget.submit(3), *(await step.map([4, 5]))]

    first = body.run()
    assert done(first) == [1, 2, 3, 4, 5]
    overrides = {"aget_2": {"output": 20}, "aget_3": {"output": 30}, "step_2": {"output": 50}}
    assert replayed(first.exec_id, overrides=overrides) == [1, 20, 30, 4, 50]


def test_s3_5_a_given_output_never_reaches_the_cache_of_later_executions() -> None:
    assert replayed(source(), overrides={"step": {"output": 7}}) == 21
    assert done(work.run()) == 6


def test_an_output_is_given_to_a_recorded_value() -> None:
    @flow
    def body() -> Any:
        return [kitaru.random(), kitaru.random()]

    first = body.run()
    before = done(first)
    assert replayed(first.exec_id, overrides={"kitaru.random_2": {"output": 0.5}}) == [before[0], 0.5]
    assert replayed(first.exec_id, overrides={"kitaru.random": {"output": 0.5}}) == [0.5, 0.5]


def test_a_failure_is_replaced_by_an_output() -> None:
    @checkpoint
    def down() -> int:
        raise ConnectionError

    @flow
    def body() -> int:
        return down() + step(1)

    first = body.run()
    with pytest.raises(KitaruExecutionError):
        done(first)
    assert replayed(first.exec_id, overrides={"down": {"output": 1}}) == 2


def test_an_override_of_a_call_is_found_where_all_inputs_of_the_flow_have_changed() -> None:
    # No call has its record any more, so it cannot be found by that: it is the second call of its name.
    handle = client().replay(source(), overrides={"step_2": {"output": 0}}, factor=10)
    assert done(handle) == 40
    assert [call.output for call in record(handle).checkpoints if call.name == "step"] == [10, 0, 30]
    assert record(handle).checkpoints[1].call_id == "step_2"


def test_with_from_a_call_before_it_can_be_overridden_too() -> None:
    assert (
        replayed(source(), from_="step_3", overrides={"step": {"input": {"factor": 2}}, "step_3": {"output": 0}}) == 6
    )
    assert RAN == ["step 1 2", "step 2 2", "total [2, 4, 0]"]


# ── input ────────────────────────────────────────────────────────────────────────────────────────


def test_changed_inputs_replace_some_arguments_and_the_record_shows_them() -> None:
    handle = client().replay(source(), overrides={"step_2": {"input": {"factor": 5}}})
    assert done(handle) == 14
    assert RAN == ["step 2 5", "total [1, 10, 3]"]
    call = record(handle).checkpoints[1]
    assert (call.call_id, call.inputs, call.output) == ("step_2", {"number": 2, "factor": 5}, 10)


def test_inputs_changed_by_name_change_all_its_calls() -> None:
    assert replayed(source(), overrides={"step": {"input": {"number": 9}}}) == 27
    assert RAN == ["step 9 1"] * 3 + ["total [9, 9, 9]"]


def test_inputs_changed_to_those_of_another_call_leave_its_record_alone() -> None:
    handle = client().replay(source(), overrides={"step_1": {"input": {"number": 2}}})
    assert done(handle) == 7
    assert RAN == ["step 2 1", "total [2, 2, 3]"]
    assert [call.cached_from is None for call in record(handle).checkpoints] == [True, False, False, True]


def test_s3_3_a_result_for_changed_inputs_does_not_stand_for_the_call_itself() -> None:
    handle = client().replay(source(), overrides={"step_2": {"input": {"factor": 5}}})
    done(handle)
    assert replayed(handle.exec_id) == 6
    assert RAN == ["step 2 1", "total [1, 2, 3]"]


# ── code ─────────────────────────────────────────────────────────────────────────────────────────


def test_code_runs_another_function_under_the_same_call() -> None:
    handle = client().replay(source(), overrides={"step_2": {"code": f"{HERE}:triple"}})
    assert done(handle) == 10
    assert RAN == ["triple 2 1", "total [1, 6, 3]"]
    call = record(handle).checkpoints[1]
    assert (call.call_id, call.name, call.output, len(call.attempts)) == ("step_2", "step", 6, 1)


def test_code_may_be_another_checkpoint() -> None:
    assert replayed(source(), overrides={"step": {"code": f"{HERE}:other_step"}}) == 600


def test_code_and_inputs_may_be_changed_together() -> None:
    overrides = {"step_2": {"code": f"{HERE}:triple", "input": {"number": 5}}}
    assert replayed(source(), overrides=overrides) == 19
    assert RAN == ["triple 5 1", "total [1, 15, 3]"]


def test_s3_5_what_other_code_returned_never_reaches_the_cache_of_later_executions() -> None:
    assert replayed(source(), overrides={"step": {"code": f"{HERE}:triple"}}) == 18
    assert done(work.run()) == 6


def test_other_code_that_fails_is_tried_again_on_retry() -> None:
    handle = client().replay(source(), overrides={"step_2": {"code": f"{HERE}:raises"}})
    with pytest.raises(KitaruExecutionError, match="no 2"):
        done(handle)
    again = client().retry(handle.exec_id)
    with pytest.raises(KitaruExecutionError, match="no 2"):
        done(again)
    call = record(handle).checkpoints[1]
    assert (call.call_id, [attempt.number for attempt in call.attempts]) == ("step_2", [1, 2])


def test_other_code_of_an_async_checkpoint() -> None:
    @checkpoint(name="aget")
    async def aget(number: int) -> int:
        return number

    @flow
    async def body() -> int:
        return await aget(1) + await aget(2)

    first = body.run()
    assert done(first) == 3
    assert replayed(first.exec_id, overrides={"aget": {"code": f"{HERE}:replacement"}}) == 30
    handle = client().replay(first.exec_id, overrides={"aget": {"code": f"{HERE}:one_argument"}})
    with pytest.raises(KitaruExecutionError, match="which takes an async function"):
        done(handle)


async def replacement(number: int) -> int:
    return number * 10


def test_async_code_for_a_sync_checkpoint_fails_and_says_why() -> None:
    handle = client().replay(source(), overrides={"step": {"code": f"{HERE}:async_step"}})
    with pytest.raises(KitaruExecutionError, match="which takes a sync function"):
        done(handle)


# ── child flows ──────────────────────────────────────────────────────────────────────────────────


@flow
def child(number: int) -> int:
    RAN.append(f"child {number}")
    return number


@flow
def parent() -> int:
    return child.run(1).wait() + child.run(2, execution_id="a-child").wait()


def test_s1_10_the_result_of_a_child_flow_is_given() -> None:
    first = parent.run()
    assert done(first) == 3
    assert replayed(first.exec_id, overrides={"child_1": {"output": 10}}) == 12
    assert RAN == []
    handle = client().replay(first.exec_id, overrides={"child": {"output": 10}})
    assert done(handle) == 20
    assert client().get("a-child").result == 2
    given = client().get(record(handle).checkpoints[0].child_exec_id)
    assert (given.status, given.result, given.checkpoints) == ("completed", 10, ())


def test_s1_10_a_child_flow_runs_with_other_inputs() -> None:
    first = parent.run()
    assert done(first) == 3
    handle = client().replay(first.exec_id, overrides={"child_2": {"input": {"number": 7}}})
    RAN.clear()
    assert done(handle) == 8
    assert record(handle).checkpoints[1].inputs == {"number": 7}
    assert client().get("a-child").inputs == {"number": 2}


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"stepp": {"output": 1}}, "no such call; did you mean 'step'"),
        ({"step_9": {"output": 1}}, "no such call; did you mean 'step_"),
        ({"wait.step": {"output": 1}}, "no such wait"),
        ({"step": {"output": 1, "input": {"number": 1}}}, "'output' beside 'input'"),
        ({"step": {"outptu": 1}}, "unknown key 'outptu'; did you mean 'output'"),
        ({"step": {"input": {"nummer": 1}}}, "no parameter 'nummer'; did you mean 'number'"),
        ({"step": {"code": f"{HERE}:nothing"}}, "cannot be found here"),
        ({"step": {"code": "no.such.module:f"}}, "cannot be found here"),
        ({"step": {"code": f"{HERE}:NOT_A_FUNCTION"}}, "is no function but an object of type int"),
        ({"step": 3}, "a mapping is expected"),
        ([("step", 3)], "a mapping from calls to what is changed in them is expected"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_recorded(overrides: Any, message: str) -> None:
    first = source()
    for dry_run in (True, False):
        with pytest.raises(KitaruUsageError, match=message):
            client().replay(first, overrides=overrides, dry_run=dry_run)
    assert len(client().list()) == 1


def test_s4_2_an_output_that_cannot_be_recorded_is_refused_with_its_path() -> None:
    first = source()
    with pytest.raises(kitaru.KitaruSerializationError, match=r"overrides\['step'\]\['output'\]\[1\]"):
        client().replay(first, overrides={"step": {"output": [1, object()]}})
    assert len(client().list()) == 1


def test_code_of_a_child_flow_or_a_recorded_value_is_refused() -> None:
    @flow
    def body() -> int:
        kitaru.now()
        return child.run(1).wait()

    first = body.run()
    done(first)
    with pytest.raises(
        KitaruUsageError, match="child is a flow, and 'code' cannot be changed in one. Possible is output or"
    ):
        client().replay(first.exec_id, overrides={"child": {"code": f"{HERE}:triple"}})
    with pytest.raises(
        KitaruUsageError, match="now is a value, and 'input' cannot be changed in one. Possible is output"
    ):
        client().replay(first.exec_id, overrides={"kitaru.now": {"input": {"x": 1}}})
