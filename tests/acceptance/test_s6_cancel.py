"""S6.8: cancelling, from this process and from another, and against completion."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import Any

import pytest

import kitaru
from kitaru import KitaruClient, checkpoint, flow
from tests.acceptance.gates import PATIENCE, Gate, until


def bodies_have_ended() -> bool:
    return not any(
        thread.name.startswith("kitaru-") and thread.name.endswith("_agent") for thread in threading.enumerate()
    )


def assert_cancelled(handle: kitaru.FlowHandle[Any]) -> None:
    assert handle.status == "cancelled"
    with pytest.raises(kitaru.KitaruCancelledError) as caught:
        handle.wait(PATIENCE)
    assert (caught.value.exec_id, caught.value.status, caught.value.failure_origin) == (
        handle.exec_id,
        "cancelled",
        None,
    )
    until(bodies_have_ended)


# ── sync flows ───────────────────────────────────────────────────────────────────────────────────


def test_s6_8_a_sync_flow_starts_no_new_checkpoint_and_its_body_sees_kitaru_cancelled() -> None:
    gate = Gate()
    seen: list[str] = []

    @checkpoint
    def first() -> str:
        gate.pass_()
        return "too late"

    @checkpoint
    def second() -> None:
        seen.append("second")

    @flow
    def sync_agent() -> None:
        try:
            first()
            second()
        except Exception:
            seen.append("an exception like any other")
        except kitaru.KitaruCancelled as signal:
            seen.append(str(signal))
            raise
        finally:
            seen.append("cleaned up")

    handle = sync_agent.run()
    gate.await_reached()
    KitaruClient().executions.cancel(handle.exec_id)
    gate.open()
    assert_cancelled(handle)
    assert seen == [f"execution {handle.exec_id} was cancelled", "cleaned up"]
    execution = KitaruClient().executions.get(handle.exec_id)
    assert [call.status for call in execution.checkpoints if call.status == "completed"] == []
    assert execution.result is None


def test_s6_8_a_call_that_was_under_way_is_told_as_cancelled_and_not_as_running_for_ever() -> None:
    gate = Gate()

    @checkpoint
    def step() -> None:
        gate.pass_()

    @flow
    def watched_agent() -> None:
        step()

    handle = watched_agent.run()
    executions = KitaruClient().executions
    until(lambda: [call.status for call in executions.get(handle.exec_id).checkpoints] == ["running"])
    handle.cancel()
    gate.open()
    assert_cancelled(handle)
    execution = executions.get(handle.exec_id)
    (call,) = execution.checkpoints
    assert (call.status, call.ended_at) == ("cancelled", execution.ended_at)
    assert [(attempt.number, attempt.status) for attempt in call.attempts] == [(1, "cancelled")]


def test_s6_8_a_body_that_swallows_the_signal_still_starts_no_checkpoint() -> None:
    gate = Gate()
    seen: list[str] = []

    @checkpoint
    def step(name: str) -> None:
        seen.append(name)

    @flow
    def stubborn_agent() -> str:
        gate.pass_()
        for name in ("a", "b"):
            try:
                step(name)
            except BaseException:
                seen.append("swallowed")
        return "done"

    handle = stubborn_agent.run()
    gate.await_reached()
    handle.cancel()
    gate.open()
    assert_cancelled(handle)
    assert seen == ["swallowed", "swallowed"]
    assert KitaruClient().executions.get(handle.exec_id).result is None


def test_s6_8_submitted_calls_that_have_not_begun_never_do_and_late_results_are_not_recorded() -> None:
    kitaru.configure(max_threads=2)
    gate = Gate()
    begun: list[int] = []

    @checkpoint
    def step(number: int) -> int:
        begun.append(number)
        gate.pass_()
        return number

    @flow
    def fan_out_agent() -> list[int]:
        return step.map(range(20)).result()

    handle = fan_out_agent.run()
    until(lambda: len(begun) == 2)
    handle.cancel()
    gate.open()
    assert_cancelled(handle)
    assert sorted(begun) == [0, 1]
    calls = KitaruClient().executions.get(handle.exec_id).checkpoints
    assert [call for call in calls if call.status == "completed"] == []


def test_s6_8_a_retry_that_waits_for_its_next_attempt_is_cut_short() -> None:
    attempts: list[int] = []

    @checkpoint(retry=kitaru.Retry(attempts=5, delay=3600))
    def flaky() -> None:
        attempts.append(1)
        raise ValueError("again")

    @flow
    def patient_agent() -> None:
        flaky()

    handle = patient_agent.run()
    until(lambda: KitaruClient().executions.get(handle.exec_id).checkpoints)
    handle.cancel()
    assert_cancelled(handle)
    assert len(attempts) == 1


def test_s6_8_a_body_may_cancel_its_own_execution() -> None:
    seen: list[str] = []

    @checkpoint
    def step() -> None:
        seen.append("step")

    @flow
    def suicidal_agent() -> None:
        KitaruClient().executions.cancel(kitaru.current_execution_id())
        step()

    handle = suicidal_agent.run()
    with pytest.raises(kitaru.KitaruCancelledError):
        handle.wait(PATIENCE)
    assert_cancelled(handle)
    assert seen == []


# ── async flows ──────────────────────────────────────────────────────────────────────────────────


async def _hang() -> None:
    await asyncio.Event().wait()


async def wait_in(what: str, slow: Any, running: threading.Event, gate: Gate) -> None:
    """Wait for something that does not come."""
    if what == "call":
        await slow()
    elif what == "gather":
        await asyncio.gather(slow(1), slow(2))
    elif what == "group":
        async with asyncio.TaskGroup() as group:
            group.create_task(slow(1))
            group.create_task(slow(2))
    elif what == "submit":
        await slow.submit()
    elif what == "map":
        await slow.map([1, 2])
    elif what == "sleep":
        running.set()
        await asyncio.sleep(3600)
    else:
        running.set()
        await asyncio.to_thread(gate.pass_)


@pytest.mark.parametrize("waits_in", ["call", "gather", "group", "submit", "map", "sleep", "thread"])
def test_s6_8_an_async_flow_is_unwound_at_its_await_and_its_async_checkpoints_are_cancelled(waits_in: str) -> None:
    running = threading.Event()
    seen: list[str] = []
    begun: list[int] = []
    checkpoints = {"call": 1, "gather": 2, "group": 2, "submit": 1, "map": 2, "sleep": 0, "thread": 0}[waits_in]

    @checkpoint
    async def slow(number: int = 0) -> None:
        try:
            begun.append(number)
            if len(begun) == checkpoints:
                running.set()
            await _hang()
        except asyncio.CancelledError:
            seen.append("checkpoint cancelled")
            raise

    @checkpoint
    async def later() -> None:
        seen.append("later")

    gate = Gate()

    @flow
    async def async_agent() -> None:
        try:
            await wait_in(waits_in, slow, running, gate)
        except kitaru.KitaruCancelled:
            seen.append("body")
            try:
                async with asyncio.timeout(0.001):  # a clean-up may wait, and give up waiting
                    await _hang()
            except TimeoutError:
                seen.append("cleaned up")
            await later()

    handle = async_agent.run()
    assert running.wait(PATIENCE)
    handle.cancel()
    gate.open()
    assert_cancelled(handle)
    assert sorted(seen) == ["body", *["checkpoint cancelled"] * checkpoints, "cleaned up"]


def test_s6_8_a_checkpoint_that_ignores_its_cancellation_is_not_recorded() -> None:
    running = threading.Event()
    seen: list[str] = []

    @checkpoint
    async def stubborn() -> str:
        try:
            running.set()
            await _hang()
        except asyncio.CancelledError:
            seen.append("ignored")
        return "late"

    @flow
    async def async_agent() -> str:
        return await stubborn()

    handle = async_agent.run()
    assert running.wait(PATIENCE)
    handle.cancel()
    assert_cancelled(handle)
    assert seen == ["ignored"]
    execution = KitaruClient().executions.get(handle.exec_id)
    assert execution.result is None
    assert [call.output for call in execution.checkpoints] in ([], [None])


# ── what cannot run any more, or has not begun ───────────────────────────────────────────────────


def test_s6_8_a_pending_execution_never_runs() -> None:
    kitaru.configure(max_flows=1)
    gate = Gate()
    seen: list[str] = []

    @flow
    def waiting_agent(name: str) -> str:
        seen.append(name)
        gate.pass_()
        return name

    first = waiting_agent.run("first")
    second = waiting_agent.run("second")
    third = waiting_agent.run("third")
    assert second.status == "pending"
    second.cancel()
    gate.open()
    assert (first.wait(PATIENCE), third.wait(PATIENCE)) == ("first", "third")
    assert_cancelled(second)
    assert seen == ["first", "third"]


def test_s6_8_cancelling_twice_does_nothing_more() -> None:
    gate = Gate()

    @flow
    def my_agent() -> None:
        gate.pass_()

    handle = my_agent.run()
    handle.cancel()
    handle.cancel()
    KitaruClient().executions.cancel(handle.exec_id)
    gate.open()
    assert_cancelled(handle)


@pytest.mark.parametrize("fails", [False, True])
def test_s6_8_what_has_ended_stays_as_it_is(fails: bool) -> None:
    @flow
    def my_agent() -> int:
        if fails:
            raise ValueError("no")
        return 7

    handle = my_agent.run()
    until(lambda: handle.status.finished)
    with pytest.raises(kitaru.KitaruStateError, match=f"{handle.exec_id} is {'failed' if fails else 'completed'}"):
        handle.cancel()
    execution = KitaruClient().executions.get(handle.exec_id)
    assert (execution.status, execution.result) == (("failed", None) if fails else ("completed", 7))


def test_s6_8_a_cancelled_execution_is_final() -> None:
    gate = Gate()

    @flow
    def my_agent() -> None:
        gate.pass_()

    handle = my_agent.run()
    handle.cancel()
    gate.open()
    executions = KitaruClient().executions
    for verb in (executions.retry, executions.resume):
        with pytest.raises(kitaru.KitaruStateError, match=f"{handle.exec_id} is cancelled"):
            verb(handle.exec_id)
    with pytest.raises(kitaru.KitaruCancelledError):
        my_agent.run(execution_id=handle.exec_id).wait(PATIENCE)


def test_s6_8_no_flow_retry_follows_a_cancellation() -> None:
    gate = Gate()
    runs: list[int] = []

    @flow(retries=3)
    def my_agent() -> None:
        runs.append(1)
        gate.pass_()
        raise ValueError("because of the cancellation")

    handle = my_agent.run()
    gate.await_reached()
    handle.cancel()
    gate.open()
    assert_cancelled(handle)
    assert runs == [1]


# ── against completion ───────────────────────────────────────────────────────────────────────────


def test_s6_8_a_cancellation_that_commits_first_stands_and_the_result_is_not_recorded() -> None:
    gate = Gate()

    @flow
    def last_line_agent() -> int:
        gate.pass_()
        return 7

    handle = last_line_agent.run()
    gate.await_reached()
    handle.cancel()
    gate.open()
    assert_cancelled(handle)
    assert KitaruClient().executions.get(handle.exec_id).result is None


def test_s6_8_whichever_of_cancel_and_completion_commits_first_stands_whatever_the_timing() -> None:
    @checkpoint(cache=False)
    def step(number: int) -> int:
        return number

    @flow
    def racing_agent() -> int:
        return step(1) + step(2)

    outcomes: set[str] = set()
    chance = random.Random(7)
    for _ in range(60):
        handle = racing_agent.run()
        for _ in range(chance.randrange(4)):
            _ = handle.status
        try:
            handle.cancel()
            told = "cancelled"
        except kitaru.KitaruStateError:
            told = "completed"
        execution = KitaruClient().executions.get(handle.exec_id)
        assert (execution.status, execution.result) == (told, None if told == "cancelled" else 3)
        until(bodies_have_ended)
        assert handle.status == told
        outcomes.add(told)
    assert "cancelled" in outcomes
