"""S2.6: a timeout bounds one attempt; what comes late is not recorded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

import kitaru
from kitaru import KitaruContextError, checkpoint, flow
from kitaru.services import wiring
from tests.acceptance.runs import TIMEOUT, Breakage, call_ids, failure_of, record, retry

SHORT = 0.02
"""Seconds: a timeout that is meant to run out."""

ROOMY = 0.6
"""The same, where something has to be done before it does: enough for a machine that is busy."""


class Late:
    """An attempt that outlives its timeout; ``wait`` returns what it did afterwards."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self._ended = threading.Event()
        self._after: Any = None

    def hold(self, after: Callable[[], Any] = lambda: None) -> None:
        assert self.go_on.wait(TIMEOUT)
        try:
            self._after = after()
        except BaseException as error:  # pytest's own failures derive from BaseException
            self._after = error
        self._ended.set()

    def wait(self) -> Any:
        self.go_on.set()
        assert self._ended.wait(TIMEOUT)
        if isinstance(self._after, BaseException):
            raise self._after
        return self._after


@pytest.mark.parametrize("submitted", [False, True])
@pytest.mark.parametrize("timeout", [SHORT, timedelta(seconds=SHORT)])
def test_s2_6_a_sync_attempt_that_takes_too_long_is_recorded_as_timed_out(
    submitted: bool, timeout: float | timedelta
) -> None:
    late = Late()

    @checkpoint(timeout=timeout)
    def slow() -> str:
        late.hold()
        return "too late"

    @flow
    def agent() -> str:
        return slow.submit().result() if submitted else slow()

    handle = agent.run()
    error = failure_of(handle)
    assert error.failure_origin == "timeout"
    assert isinstance(error.__cause__, TimeoutError)
    assert str(error.__cause__) == "slow took longer than 0.02 s"
    late.wait()
    call = record(handle).checkpoints[0]
    assert (call.status, call.output) == ("timed_out", None)
    assert [attempt.status for attempt in call.attempts] == ["timed_out"]
    assert call.failure is not None
    assert call.failure.origin == "timeout"


@pytest.mark.parametrize("submitted", [False, True])
def test_s2_6_an_async_attempt_that_takes_too_long_is_stopped(submitted: bool) -> None:
    cleaned_up: list[str] = []

    @checkpoint(timeout=SHORT)
    async def slow() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned_up.append("yes")
        return "never"

    @flow
    async def agent() -> str:
        return await (slow.submit() if submitted else slow())

    handle = agent.run()
    assert isinstance(failure_of(handle).__cause__, TimeoutError)
    assert cleaned_up == ["yes"]
    assert [call.status for call in record(handle).checkpoints] == ["timed_out"]


def test_s2_6_an_async_attempt_in_a_sync_flow_is_bounded_too() -> None:
    @checkpoint(timeout=SHORT)
    async def slow() -> None:
        await asyncio.Event().wait()

    @flow
    def agent() -> None:
        slow.submit().result()

    handle = agent.run()
    assert failure_of(handle).failure_origin == "timeout"
    assert [call.status for call in record(handle).checkpoints] == ["timed_out"]


def test_s2_6_what_an_async_attempt_still_returns_after_its_time_is_not_recorded() -> None:
    @checkpoint(timeout=SHORT)
    async def stubborn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "too late"
        return "never"

    @flow
    async def agent() -> str:
        return await stubborn()

    handle = agent.run()
    assert failure_of(handle).failure_origin == "timeout"
    assert [(call.status, call.output) for call in record(handle).checkpoints] == [("timed_out", None)]


def test_s2_6_what_an_async_attempt_raises_while_it_is_stopped_does_not_hide_the_timeout() -> None:
    @checkpoint(timeout=SHORT)
    async def clumsy() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("in the clean-up")

    @flow
    async def agent() -> None:
        await clumsy()

    handle = agent.run()
    error = failure_of(handle)
    assert error.failure_origin == "timeout"
    assert [call.status for call in record(handle).checkpoints] == ["timed_out"]


def test_s2_6_a_timeout_error_that_the_code_raises_itself_is_its_own() -> None:
    @checkpoint(timeout=TIMEOUT)
    def sync_work() -> None:
        raise TimeoutError("the socket's")

    @checkpoint(timeout=TIMEOUT)
    async def async_work() -> None:
        raise TimeoutError("the socket's")

    @flow
    def agent() -> None:
        sync_work()

    @flow
    async def async_agent() -> None:
        await async_work()

    for handle in (agent.run(), async_agent.run()):
        error = failure_of(handle)
        assert (error.failure_origin, str(error.__cause__)) == ("user_code", "the socket's")
        assert [call.status for call in record(handle).checkpoints] == ["failed"]


@pytest.mark.parametrize("submitted", [False, True])
def test_s2_6_an_attempt_that_is_quick_enough_is_recorded_as_ever(submitted: bool) -> None:
    @checkpoint(timeout=TIMEOUT)
    def quick(x: int) -> int:
        if x < 0:
            raise ValueError("negative")
        return x + 1

    @flow
    def agent() -> int:
        with pytest.raises(ValueError, match="negative"):
            quick.submit(-1).result() if submitted else quick(-1)
        return quick.submit(1).result() if submitted else quick(1)

    assert agent.run().wait(timeout=TIMEOUT) == 2


def test_s2_6_the_timeout_bounds_each_attempt_and_a_timed_out_one_is_tried_again() -> None:
    lates = [Late(), Late()]
    ran: list[int] = []

    @checkpoint(timeout=ROOMY, retries=2)
    def slow() -> str:
        ran.append(1)
        if len(ran) <= 2:
            lates[len(ran) - 1].hold()
            return f"late {len(ran)}"
        return "in time"

    @flow
    def agent() -> str:
        return slow()

    handle = agent.run()
    assert handle.wait(timeout=TIMEOUT) == "in time"
    for late in lates:
        late.wait()
    call = record(handle).checkpoints[0]
    assert call.output == "in time"
    assert [attempt.status for attempt in call.attempts] == ["timed_out", "timed_out", "completed"]


def test_s2_6_a_late_thread_can_neither_log_nor_save_nor_start_a_flow() -> None:
    late = Late()

    @flow
    def child() -> int:
        return 1

    def after() -> list[str]:
        messages: list[str] = []
        for what in (lambda: kitaru.log(cost=1), lambda: kitaru.save("report", 1), child.run):
            with pytest.raises(KitaruContextError, match="timed out") as caught:
                what()
            messages.append(str(caught.value))
        return messages

    @checkpoint(timeout=ROOMY)
    def slow() -> None:
        kitaru.log(before="kept")
        late.hold(after)

    @flow
    def agent() -> str:
        with pytest.raises(TimeoutError):
            slow()
        after_it()  # the body goes on, so its commits could take late rows along
        return "went on"

    @checkpoint
    def after_it() -> None:
        refused = [message.partition(" ")[0] for message in late.wait()]
        assert refused == ["kitaru.log()", "kitaru.save()", "child.run()"]

    handle = agent.run()
    assert handle.wait(timeout=TIMEOUT) == "went on"
    execution = record(handle)
    assert execution.checkpoints[0].metadata == {"before": "kept"}
    assert execution.metadata == {}
    client = kitaru.KitaruClient()
    assert client.artifacts.list(handle.exec_id) == ()
    assert len(client.executions.list()) == 1


def test_s2_6_a_caught_timeout_is_raised_again_on_resume_without_running() -> None:
    ran: list[int] = []
    late = Late()
    outside = Breakage()

    @checkpoint(timeout=SHORT)
    def slow() -> None:
        ran.append(1)
        late.hold()

    @flow
    def agent() -> str:
        try:
            slow()
        except TimeoutError as error:
            message = str(error)
        outside.check()
        return message

    handle = agent.run()
    failure_of(handle)
    outside.mend()
    assert retry(handle).wait(timeout=TIMEOUT) == "slow took longer than 0.02 s"
    assert ran == [1]
    late.wait()


def test_s2_6_a_late_result_does_not_replace_that_of_the_retried_execution() -> None:
    late = Late()
    ran: list[int] = []

    @checkpoint(timeout=ROOMY)
    def slow() -> str:
        ran.append(1)
        if len(ran) == 1:
            late.hold()
            return "late"
        return "second"

    @flow
    def agent() -> str:
        return slow()

    handle = agent.run()
    failure_of(handle)
    assert retry(handle).wait(timeout=TIMEOUT) == "second"
    late.wait()
    assert record(handle).checkpoints[0].output == "second"
    assert call_ids(handle) == ["slow"]


def test_s2_6_more_calls_than_threads_may_be_late_at_once() -> None:
    """Threads that were left behind are not the pool's, so they cannot fill it."""
    kitaru.configure(max_threads=2)
    late = threading.Event()
    try:

        @checkpoint(timeout=SHORT)
        def slow(x: int) -> None:
            assert late.wait(TIMEOUT)

        @checkpoint
        def quick(x: int) -> int:
            return x

        @flow
        def agent() -> list[int]:
            errors = [future.exception() for future in slow.map(range(6))]
            assert all(isinstance(error, TimeoutError) for error in errors)
            return quick.map(range(6)).result()

        assert agent.run().wait(timeout=TIMEOUT) == list(range(6))
    finally:
        late.set()
        wiring.overrides.pop("max_threads")


def test_s2_6_the_docs_say_that_threads_cannot_be_killed() -> None:
    assert "Python" in (checkpoint.__doc__ or "")
    assert "cannot end it" in (checkpoint.__doc__ or "")
