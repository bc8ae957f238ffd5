"""S3.2: failures that nobody looked at run again, and so do calls that were cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from kitaru import checkpoint, flow
from kitaru.core.mutations import CallRecorded, Commit, Refusal
from kitaru.core.ports import Store
from kitaru.core.states import CallStatus
from kitaru.services.settings import read_settings
from kitaru.services.wiring import Wiring, install
from tests.acceptance.asking import threads_of
from tests.acceptance.failing import Calls, Failing
from tests.acceptance.gates import until
from tests.acceptance.runs import TIMEOUT, failure_of, record


@pytest.fixture
def calls() -> Calls:
    return Calls()


def test_s3_2_a_submitted_failure_that_nobody_asked_for_runs_again(calls: Calls) -> None:
    @flow
    def agent() -> list[str]:
        forgotten = calls.fail.submit("forgotten")
        calls.good("between")
        while not forgotten.done():
            assert not threading.Event().wait(0.001)
        calls.outside.check()
        return [forgotten.result()]

    assert calls.again(agent.run()) == ["forgotten"]
    assert calls.ran == ["forgotten"]


@pytest.mark.parametrize("asks", [False, True])
def test_s2_5_a_flow_that_completes_without_asking_for_a_failed_call_says_so(
    calls: Calls, caplog: pytest.LogCaptureFixture, asks: bool
) -> None:
    @flow
    def agent() -> str:
        forgotten = calls.fail.submit("forgotten")
        if asks:
            forgotten.exception()
        return "completed"

    assert agent.run().wait(timeout=TIMEOUT) == "completed"
    told = [entry.getMessage() for entry in caplog.records if "has not asked" in entry.getMessage()]
    assert len(told) == (0 if asks else 1)


def test_s3_2_of_a_fan_out_all_failures_run_again_not_just_the_one_that_was_raised(calls: Calls) -> None:
    @flow
    def agent() -> list[str]:
        return calls.fail.map(["a", "b", "c"]).result()

    assert calls.again(agent.run()) == ["a", "b", "c"]
    assert sorted(calls.ran) == ["a", "b", "c"]


def test_s3_2_of_a_fan_out_only_the_failures_that_the_body_asked_for_are_kept(calls: Calls) -> None:
    @flow
    def agent() -> list[str]:
        futures = calls.fail.map(["asked", "unasked"])
        seen = ["failed" if futures[0].exception() else "went well"]
        while not futures.done():
            assert not threading.Event().wait(0.001)
        calls.outside.check()
        return [*seen, futures[1].result()]

    assert calls.again(agent.run()) == ["failed", "unasked"]
    assert calls.ran == ["unasked"]


def test_s3_2_asking_whether_a_future_is_done_is_not_looking_at_its_failure(calls: Calls) -> None:
    @flow
    def agent() -> str:
        future = calls.fail.submit("a")
        while not future.done():
            assert not threading.Event().wait(0.001)
        calls.outside.check()
        return future.result()

    assert calls.again(agent.run()) == "a"
    assert calls.ran == ["a"]


Branch = Callable[[Calls, str], Awaitable[str]]


async def direct(calls: Calls, name: str) -> str:
    return await calls.afail(name)


async def submitted(calls: Calls, name: str) -> str:
    return await calls.afail.submit(name)


async def submitted_sync(calls: Calls, name: str) -> str:
    return await calls.fail.submit(name)


async def called_sync(calls: Calls, name: str) -> str:
    await asyncio.sleep(0)
    return calls.fail(name)


async def after_a_good_step(calls: Calls, name: str) -> str:
    return await calls.afail(await calls.agood(name))


async def translated(calls: Calls, name: str) -> str:
    try:
        return await calls.afail(name)
    except Failing as error:
        raise ValueError("translated") from error


async def in_a_task_of_its_own(calls: Calls, name: str) -> str:
    return await asyncio.create_task(calls.afail(name))  # type: ignore[arg-type]


async def in_an_inner_gather(calls: Calls, name: str) -> str:
    return (await asyncio.gather(calls.afail(name), calls.agood("inner " + name)))[0]


async def in_an_inner_group(calls: Calls, name: str) -> str:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(calls.afail(name))  # type: ignore[arg-type]
    return task.result()


BRANCHES = [
    direct, submitted, submitted_sync, called_sync, after_a_good_step, translated, in_a_task_of_its_own,
    in_an_inner_gather, in_an_inner_group,
]  # fmt: skip


@pytest.mark.parametrize("branch", BRANCHES)
def test_s3_2_gather_hands_over_one_failure_and_the_siblings_that_it_drops_run_again(
    calls: Calls, branch: Branch
) -> None:
    @flow
    async def agent() -> list[str]:
        return await asyncio.gather(branch(calls, "a"), branch(calls, "b"), branch(calls, "c"))

    assert calls.again(agent.run()) == ["a", "b", "c"]
    assert {"a", "b", "c"} <= set(calls.ran)


@pytest.mark.parametrize("branch", BRANCHES)
def test_s3_2_all_failures_and_all_cancelled_siblings_of_a_task_group_run_again(calls: Calls, branch: Branch) -> None:
    @flow
    async def agent() -> list[str]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(branch(calls, name)) for name in "abc"]  # type: ignore[arg-type]
        return [task.result() for task in tasks]

    handle = agent.run()
    assert isinstance(failure_of(handle).__cause__, ExceptionGroup)
    assert calls.again(handle) == ["a", "b", "c"]
    assert {"a", "b", "c"} <= set(calls.ran)


@pytest.mark.parametrize("branch", BRANCHES[:6])
def test_s3_2_gather_with_return_exceptions_gives_all_failures_to_the_body(calls: Calls, branch: Branch) -> None:
    @flow
    async def agent() -> list[str]:
        results = await asyncio.gather(*(branch(calls, name) for name in "abc"), return_exceptions=True)
        await calls.agood("after")
        calls.outside.check()
        return [type(result).__name__ for result in results]

    assert set(calls.again(agent.run())) <= {"Failing", "ValueError"}
    assert calls.ran == []


@pytest.mark.xfail(
    strict=True,
    reason="a failure that leaves its task while the body is inside a step cannot be told from one that the body "
    "collects later with return_exceptions; it counts as seen once the body makes another step",
)
def test_s3_2_a_failure_that_gather_dropped_while_the_body_went_on_runs_again(calls: Calls) -> None:
    """The body handled the first failure and made further steps; the second one it never got to see."""
    second_may_fail = asyncio.Event()
    ran: list[str] = []

    @checkpoint
    async def second() -> str:
        await second_may_fail.wait()
        ran.append("second")
        if not calls.outside.mended:
            raise Failing("second")
        return "second"

    @flow
    async def agent() -> str:
        task = asyncio.ensure_future(second())  # type: ignore[arg-type]
        with pytest.raises(Failing, match="first"):
            await asyncio.gather(calls.afail("first"), task)
        second_may_fail.set()
        await calls.agood("one step")
        await asyncio.wait([task])
        await calls.agood("another step")
        calls.outside.check()
        return task.result()

    assert calls.again(agent.run()) == "second"
    assert ran == ["second", "second"]


def test_s3_2_a_sibling_that_is_cancelled_by_its_task_group_runs_again(calls: Calls) -> None:
    started = threading.Event()

    @checkpoint
    async def long() -> str:
        calls.ran.append("long")
        started.set()
        if not calls.outside.mended:
            await asyncio.Event().wait()
        return "long"

    @flow
    async def agent() -> list[str]:
        async def later() -> str:
            await reached(started)
            return await calls.afail("a")

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(long()), group.create_task(later())]  # type: ignore[arg-type]
        return [task.result() for task in tasks]

    handle = agent.run()
    failure_of(handle)
    assert [(call.call_id, call.status) for call in record(handle).checkpoints] == [
        ("long", "cancelled"), ("afail", "failed"),
    ]  # fmt: skip
    assert calls.again(handle) == ["long", "a"]
    assert sorted(calls.ran) == ["a", "long"]


# ── cancelled at the worst moment ────────────────────────────────────────────────────────────────


class HoldingStore:
    """A real store that holds the first commit of a chosen call's outcome until it is let go."""

    def __init__(self, store: Store, name: str, status: CallStatus) -> None:
        self._store = store
        self._chosen = (name, status)
        self.reached, self.let_go = threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(self, commits: Sequence[Commit]) -> Sequence[Refusal | None]:
        rows = [one.row for commit in commits for one in commit.mutations if isinstance(one, CallRecorded)]
        if self._chosen in [(row.name, row.status) for row in rows] and not self.reached.is_set():
            self.reached.set()
            assert self.let_go.wait(TIMEOUT)
        return self._store.commit(commits)


def hold(name: str, status: CallStatus) -> HoldingStore:
    plain = Wiring(read_settings({}))
    store = HoldingStore(plain.store, name, status)
    install(Wiring(read_settings({}), store=store))  # type: ignore[arg-type]
    return store


async def reached(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, TIMEOUT)


def test_s3_2_a_call_that_is_cancelled_while_its_success_is_written_stays_a_success(calls: Calls) -> None:
    """``asyncio.wait_for`` and task groups cancel at any moment; the flow must survive it."""
    store = hold("agood", CallStatus.COMPLETED)

    @flow
    async def agent() -> list[str]:
        task = asyncio.create_task(calls.agood("a"))  # type: ignore[arg-type]
        await reached(store.reached)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        store.let_go.set()
        return [await calls.agood("b"), await calls.agood("a")]

    handle = agent.run()
    assert handle.wait(timeout=TIMEOUT) == ["b", "a"]
    assert [call.status for call in record(handle).checkpoints] == ["completed"] * 3


def test_s3_2_a_call_that_is_cancelled_while_its_failure_is_written_runs_again(calls: Calls) -> None:
    """The body saw a cancellation, not the failure."""
    store = hold("afail", CallStatus.FAILED)

    @flow
    async def agent() -> str:
        task = asyncio.create_task(calls.afail("a"))  # type: ignore[arg-type]
        if not calls.outside.mended:
            await reached(store.reached)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            store.let_go.set()
            await calls.agood("after")
        calls.outside.check()
        return await task

    assert calls.again(agent.run()) == "a"
    assert calls.ran == ["a"]


@pytest.mark.parametrize("submit", [False, True])
def test_s6_8_a_flow_that_is_cancelled_before_its_submitted_task_takes_a_step_ends(calls: Calls, submit: bool) -> None:
    """Else its thread would wait for ever for a call that never began."""
    ended = threading.Event()

    @flow
    async def agent(submit: bool) -> None:
        from kitaru import KitaruClient, current_execution_id

        try:
            calls.agood.submit("never") if submit else None
            KitaruClient().executions.cancel(current_execution_id())
            calls.good("never either")
        finally:
            ended.set()

    until(lambda: not threads_of("agent"))  # those of the tests before this one
    handle = agent.run(submit)
    assert ended.wait(TIMEOUT)
    with pytest.raises(Exception, match="cancelled"):
        handle.wait(timeout=TIMEOUT)
    until(lambda: not threads_of("agent"))
    assert calls.ran == []
