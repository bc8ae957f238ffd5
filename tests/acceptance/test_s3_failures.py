"""S3.2: which recorded failures are raised again, and which calls run again."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from kitaru import FlowHandle, checkpoint, flow
from kitaru.core.mutations import CallRecorded, Commit, Refusal
from kitaru.core.ports import Store
from kitaru.core.states import CallStatus
from kitaru.services.settings import read_settings
from kitaru.services.wiring import Wiring, install
from tests.acceptance.runs import TIMEOUT, Breakage, failure_of, record, retry


class Failing(Exception):
    pass


class Calls:
    """Checkpoints that fail until they are mended, and what they ran."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.outside = outside = Breakage()
        ran = self.ran

        @checkpoint
        def fail(name: str) -> str:
            ran.append(name)
            if not outside.mended:
                raise Failing(name)
            return name

        @checkpoint
        async def afail(name: str) -> str:
            ran.append(name)
            if not outside.mended:
                raise Failing(name)
            return name

        @checkpoint
        def good(name: str) -> str:
            ran.append(name)
            return name

        @checkpoint
        async def agood(name: str) -> str:
            ran.append(name)
            return name

        self.fail, self.afail, self.good, self.agood = fail, afail, good, agood

    def again(self, handle: FlowHandle[Any]) -> Any:
        """Let the execution fail, mend what was broken, retry it; the result. ``ran`` is what the retry ran."""
        failure_of(handle)
        self.ran.clear()
        self.outside.mend()
        return retry(handle).wait(timeout=TIMEOUT)


@pytest.fixture
def calls() -> Calls:
    return Calls()


# ── the failure that ended the execution ─────────────────────────────────────────────────────────


def test_s3_2_the_failure_that_ended_the_execution_runs_again(calls: Calls) -> None:
    @flow
    def agent() -> str:
        return calls.good("a") + calls.fail("b")

    assert calls.again(agent.run()) == "ab"
    assert calls.ran == ["b"]


def raise_from(error: Failing) -> None:
    raise ValueError("translated") from error


def raise_without_from(error: Failing) -> None:
    raise ValueError("translated")


def raise_from_none(error: Failing) -> None:
    raise ValueError("translated") from None


def raise_in_two_steps(error: Failing) -> None:
    try:
        raise ValueError("once") from error
    except ValueError as first:
        raise RuntimeError("twice") from first


def raise_in_a_group(error: Failing) -> None:
    raise ExceptionGroup("all of them", [ValueError("another"), error])


def raise_from_a_group(error: Failing) -> None:
    raise ValueError("translated") from ExceptionGroup("all of them", [ValueError("another"), error])


def raise_again(error: Failing) -> None:
    raise error


@pytest.mark.parametrize(
    "reraise",
    [raise_from, raise_without_from, raise_from_none, raise_in_two_steps, raise_in_a_group, raise_from_a_group,
     raise_again],
)  # fmt: skip
def test_s3_2_a_failure_that_was_turned_into_another_one_has_ended_the_execution_too(
    calls: Calls, reraise: Callable[[Failing], None]
) -> None:
    @flow
    def agent() -> str:
        try:
            return calls.fail("a")
        except Failing as error:
            reraise(error)
            raise AssertionError from None

    handle = agent.run()
    assert calls.again(handle) == "a"
    assert calls.ran == ["a"]


def test_s3_2_a_turned_failure_of_a_submitted_call_has_ended_the_execution_too(calls: Calls) -> None:
    @flow
    def agent() -> str:
        future = calls.fail.submit("a")
        error = future.exception()
        if error is not None:
            raise ValueError("translated") from error
        return future.result()

    assert calls.again(agent.run()) == "a"
    assert calls.ran == ["a"]


def test_s3_2_an_exception_group_that_one_checkpoint_raised_runs_again(calls: Calls) -> None:
    @checkpoint
    async def grouped() -> str:
        calls.ran.append("grouped")
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))
            group.create_task(broken())
        return "grouped"

    async def broken() -> None:
        calls.outside.check()

    @flow
    async def agent() -> str:
        return await grouped()

    handle = agent.run()
    assert isinstance(failure_of(handle).__cause__, ExceptionGroup)
    assert calls.again(handle) == "grouped"
    assert calls.ran == ["grouped"]


def test_s3_2_in_an_except_block_a_failed_group_does_not_lead_back_to_the_handled_failure(calls: Calls) -> None:
    @flow
    async def agent() -> str:
        try:
            await calls.afail("first")
        except Failing:
            async with asyncio.TaskGroup() as group:
                task = group.create_task(calls.afail("second"))  # type: ignore[arg-type]
            return task.result()
        return "first went well"

    assert calls.again(agent.run()) == "second"
    assert calls.ran == ["second"]


def test_s3_2_a_failure_inside_an_except_block_ends_alone_the_first_one_was_handled(calls: Calls) -> None:
    seen: list[str] = []

    @flow
    def agent() -> str:
        try:
            calls.fail("first")
        except Failing as error:
            seen.append(str(error))
            return calls.fail("second")
        return "unreachable"

    assert calls.again(agent.run()) == "second"
    assert calls.ran == ["second"]
    assert seen == ["first", "first"]


def test_s3_2_a_failure_in_a_chain_of_fallbacks_runs_only_the_last_again(calls: Calls) -> None:
    @flow
    def agent() -> str:
        for name in ("a", "b"):
            try:
                return calls.fail(name)
            except Failing:
                continue
        return calls.fail("c")

    assert calls.again(agent.run()) == "c"
    assert calls.ran == ["c"]


def test_s3_2_a_handled_failure_is_raised_again_even_where_the_cause_is_gone(calls: Calls) -> None:
    @flow
    def agent() -> str:
        try:
            result = calls.fail("a")
        except Failing:
            result = "fallback"
        calls.outside.check()
        return result

    assert calls.again(agent.run()) == "fallback"
    assert calls.ran == []


def test_s3_2_a_handled_failure_that_ends_a_later_run_after_all_runs_again_then(calls: Calls) -> None:
    """The body was edited: it no longer catches. The recorded failure ends the run, so it is not kept for ever."""
    careful = Breakage()

    @flow
    def agent() -> str:
        if careful.mended:
            return calls.fail("a")
        with contextlib.suppress(Failing):
            calls.fail("a")
        raise LookupError("not yet")

    handle = agent.run()
    failure_of(handle)
    calls.ran.clear()
    careful.mend()
    calls.outside.mend()
    second = retry(handle)
    assert isinstance(failure_of(second).__cause__, Failing)
    assert calls.ran == []
    assert retry(handle).wait(timeout=TIMEOUT) == "a"
    assert calls.ran == ["a"]


def test_s3_2_a_flow_retry_runs_the_ending_failure_again_and_raises_the_handled_one(calls: Calls) -> None:
    runs: list[int] = []

    @flow(retries=1)
    def agent() -> str:
        runs.append(1)
        if len(runs) == 2:
            calls.outside.mend()
        with contextlib.suppress(Failing):
            calls.fail("handled")
        return calls.fail("ending")

    assert agent.run().wait(timeout=TIMEOUT) == "ending"
    assert calls.ran == ["handled", "ending", "ending"]


# ── failures that nobody looked at ───────────────────────────────────────────────────────────────


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

    before = {thread.name for thread in threading.enumerate()}
    handle = agent.run(submit)
    assert ended.wait(TIMEOUT)
    with pytest.raises(Exception, match="cancelled"):
        handle.wait(timeout=TIMEOUT)
    assert "kitaru-agent" not in before
    for thread in threading.enumerate():
        if thread.name == "kitaru-agent":
            thread.join(TIMEOUT)
            assert not thread.is_alive()
    assert calls.ran == []
