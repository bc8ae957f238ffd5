"""S2.5: a failure that the flow body does not catch ends the execution, and nothing begins any more."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import kitaru
from kitaru import KitaruUserCodeError, checkpoint, flow
from kitaru.engine.submitted import Submitted
from kitaru.services import wiring
from kitaru.services.active import Active
from kitaru.services.runner import Runner
from tests.acceptance.runs import TIMEOUT, Breakage, call_ids, failure_of, record, retry


@pytest.fixture
def body_ended(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set once a flow's body has ended and its execution waits for the calls that are under way."""
    ended = threading.Event()
    wait_until_closed = Submitted.wait_until_closed

    def tell_and_wait(submitted: Submitted) -> None:
        ended.set()
        wait_until_closed(submitted)

    monkeypatch.setattr(Submitted, "wait_until_closed", tell_and_wait)
    return ended


def test_s2_5_an_uncaught_failure_ends_the_execution_and_no_later_checkpoint_starts() -> None:
    ran: list[str] = []

    @checkpoint
    def step(name: str) -> str:
        ran.append(name)
        if name == "second":
            raise ValueError("no second")
        return name

    @flow
    def agent() -> None:
        step("first")
        step("second")
        step("third")

    handle = agent.run()
    error = failure_of(handle)
    assert isinstance(error, KitaruUserCodeError)
    assert (error.exec_id, error.status, error.failure_origin) == (handle.exec_id, "failed", "user_code")
    assert isinstance(error.__cause__, ValueError)
    assert ran == ["first", "second"]
    execution = record(handle)
    assert [call.status for call in execution.checkpoints] == ["completed", "failed"]
    assert execution.failure is not None
    assert (execution.failure.type, execution.failure.message) == ("builtins:ValueError", "no second")


def test_s2_5_submitted_calls_that_have_not_begun_are_not_started_once_the_flow_has_failed(
    body_ended: threading.Event,
) -> None:
    ran: list[int] = []
    kitaru.configure(max_threads=2)
    try:
        both_busy = threading.Barrier(3, timeout=TIMEOUT)

        @checkpoint
        def work(x: int) -> int:
            ran.append(x)
            both_busy.wait()
            assert body_ended.wait(TIMEOUT)
            return x

        @flow
        def agent() -> None:
            work.map(range(50))
            both_busy.wait()
            raise ValueError("that is enough")

        handle = agent.run()
        assert isinstance(failure_of(handle).__cause__, ValueError)
    finally:
        wiring.overrides.pop("max_threads")
    assert len(ran) == 2
    assert [call.status for call in record(handle).checkpoints] == ["completed"] * 2


def test_s2_5_async_calls_that_have_not_begun_are_not_started_once_the_flow_has_failed() -> None:
    ran: list[str] = []

    @checkpoint
    async def work(name: str) -> str:
        ran.append(name)
        await asyncio.sleep(0)
        return name

    @flow
    async def agent() -> None:
        async def background() -> None:
            while True:
                await work("background")

        under_way = work.submit("under way")
        task = asyncio.create_task(background())
        await asyncio.sleep(0)
        work.submit("too late")
        assert not under_way.done()
        assert not task.done()
        raise ValueError("that is enough")

    handle = agent.run()
    assert isinstance(failure_of(handle).__cause__, ValueError)
    assert "too late" not in ran
    assert ran.count("background") <= 1, "what was under way may end; nothing new begins"


def test_s2_5_a_submitted_call_is_not_tried_again_once_the_flow_has_failed(body_ended: threading.Event) -> None:
    failed_once = threading.Event()
    ran: list[int] = []

    @checkpoint(retries=1_000)
    def work() -> None:
        ran.append(1)
        failed_once.set()
        assert body_ended.wait(TIMEOUT)
        raise ValueError("again")

    @flow
    def agent() -> None:
        work.submit()
        assert failed_once.wait(TIMEOUT)
        raise LookupError("that is enough")

    handle = agent.run()
    assert isinstance(failure_of(handle).__cause__, LookupError)
    assert len(ran) == 1
    assert record(handle).checkpoints[0].status == "failed"


def test_s2_5_base_exceptions_of_a_checkpoint_end_the_execution_too() -> None:
    class StopNow(BaseException):
        pass

    ran: list[str] = []

    @checkpoint(retries=3)
    def work(way: str) -> None:
        ran.append(way)
        raise StopNow(way)

    @flow
    def agent(way: str) -> None:
        if way == "call":
            work(way)
        else:
            work.submit(way).result()

    for way in ("call", "submit"):
        error = failure_of(agent.run(way))
        assert isinstance(error.__cause__, StopNow)
    assert ran == ["call", "submit"], "and are not tried again"


def test_s2_5_and_seed_what_succeeded_before_the_failure_is_not_run_again() -> None:
    ran: list[str] = []
    outside = Breakage()

    @checkpoint
    def fetch() -> str:
        ran.append("fetch")
        return "page"

    @checkpoint
    def summarise(page: str) -> str:
        ran.append("summarise")
        outside.check()
        return page[:2]

    @flow
    def agent() -> str:
        return summarise(fetch())

    handle = agent.run()
    assert isinstance(failure_of(handle).__cause__, ConnectionError)
    outside.mend()
    assert retry(handle).wait(timeout=TIMEOUT) == "pa"
    assert ran == ["fetch", "summarise", "summarise"]
    assert call_ids(handle) == ["fetch", "summarise"]


def test_s1_5_the_original_exception_is_at_hand_even_where_the_flow_had_failed_before_the_handle_was_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    launch = Runner.launch

    def launch_and_wait(runner: Runner, *args: Any, **options: Any) -> Active:
        active = launch(runner, *args, **options)
        assert active.done.wait(TIMEOUT)
        return active

    monkeypatch.setattr(Runner, "launch", launch_and_wait)
    error = ValueError("the very object")

    @checkpoint
    def work() -> None:
        raise error

    @flow
    def agent() -> None:
        work()

    handle = agent.run()
    assert failure_of(handle).__cause__ is error
    assert failure_of(retry(handle)).__cause__ is error
