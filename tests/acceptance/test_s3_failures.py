"""S3.2: the failure that ended an execution runs again; one that the body handled is raised again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import pytest

from kitaru import checkpoint, flow
from tests.acceptance.failing import Calls, Failing
from tests.acceptance.runs import TIMEOUT, Breakage, failure_of, retry


@pytest.fixture
def calls() -> Calls:
    return Calls()


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
