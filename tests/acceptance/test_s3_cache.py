"""S3.5: what an execution may reuse of earlier ones."""

from __future__ import annotations

import asyncio

import kitaru
from kitaru import KitaruClient, checkpoint, flow
from tests.acceptance.counted import Work
from tests.acceptance.runs import TIMEOUT, Breakage, failure_of, record, retry


def test_s3_5_an_equal_call_of_a_later_execution_reuses_the_result_and_says_from_where() -> None:
    work = Work()
    first, second = work.agent.run(1), None
    assert first.wait(timeout=TIMEOUT) == "run 1"
    second = work.agent.run(1)
    assert second.wait(timeout=TIMEOUT) == "run 1"
    assert len(work.ran) == 1
    call = record(second).checkpoints[0]
    assert (call.status, call.cached_from, call.cached_from_call) == ("completed", first.exec_id, "work")
    assert call.attempts == ()
    assert call.output == "run 1"
    original = record(first).checkpoints[0]
    assert (original.cached_from, original.cached_from_call) == (None, None)


def test_s3_5_other_inputs_are_not_reused() -> None:
    work = Work()
    assert [work(x) for x in (1, 2, 1.0, True, "1")] == ["run 1", "run 2", "run 3", "run 4", "run 5"]


def test_s3_5_another_flow_may_reuse_the_result() -> None:
    work = Work()
    work(1)

    @flow
    def other() -> list[str]:
        return work.work.map([1, 2]).result()

    assert other.run().wait(timeout=TIMEOUT) == ["run 1", "run 2"]


def test_s3_5_async_and_submitted_calls_reuse_results_too() -> None:
    ran: list[int] = []

    @checkpoint
    async def work(x: int) -> int:
        ran.append(x)
        return x

    @flow
    async def agent() -> list[int]:
        return [await work(1), *await asyncio.gather(work(2), work(3)), await work.submit(4)]

    first, second = agent.run(), None
    assert first.wait(timeout=TIMEOUT) == [1, 2, 3, 4]
    second = agent.run()
    assert second.wait(timeout=TIMEOUT) == [1, 2, 3, 4]
    assert sorted(ran) == [1, 2, 3, 4]
    assert [call.cached_from for call in record(second).checkpoints] == [first.exec_id] * 4


def test_s3_5_two_equal_calls_of_one_execution_are_never_served_from_each_other() -> None:
    work = Work()

    @flow
    def agent() -> list[str]:
        return [work.work(1), work.work(1), *work.work.map([1, 1]).result()]

    assert sorted(agent.run().wait(timeout=TIMEOUT)) == ["run 1", "run 2", "run 3", "run 4"]
    assert sorted(agent.run().wait(timeout=TIMEOUT)) == ["run 1", "run 2", "run 3", "run 4"]
    assert len(work.ran) == 4


def test_s3_5_equal_calls_are_reused_occurrence_by_occurrence() -> None:
    work = Work()

    @flow
    def agent(times: int) -> list[str]:
        return [work.work(1) for _ in range(times)]

    assert agent.run(2).wait(timeout=TIMEOUT) == ["run 1", "run 2"]
    assert agent.run(3).wait(timeout=TIMEOUT) == ["run 1", "run 2", "run 3"]


def test_s3_5_the_newest_success_wins() -> None:
    work = Work()
    assert work() == "run 1"
    assert work(cache=False) == "run 2"
    assert work() == "run 2"


def test_s3_5_failures_are_never_cached() -> None:
    outside = Breakage()
    ran: list[int] = []

    @checkpoint
    def work() -> str:
        ran.append(1)
        outside.check()
        return "good"

    @flow
    def agent() -> str:
        try:
            return work()
        except ConnectionError:
            return "bad"

    assert agent.run().wait(timeout=TIMEOUT) == "bad"
    assert agent.run().wait(timeout=TIMEOUT) == "bad"
    outside.mend()
    assert agent.run().wait(timeout=TIMEOUT) == "good"
    assert len(ran) == 3


def test_s3_5_a_success_of_a_failed_execution_is_reused() -> None:
    outside = Breakage()
    work = Work()

    @flow
    def agent() -> str:
        value = work.work(1)
        outside.check()
        return value

    failure_of(agent.run())
    assert work() == "run 1"


def test_s3_5_cache_false_on_the_checkpoint_neither_uses_nor_feeds_the_cache() -> None:
    work = Work(cache=False)
    assert [work(), work()] == ["run 1", "run 2"]
    handle = work.agent.run(1)
    handle.wait(timeout=TIMEOUT)
    assert record(handle).checkpoints[0].cached_from is None


def test_s3_5_cache_false_for_one_call_by_with_options() -> None:
    work = Work()
    work()

    @flow
    def agent() -> list[str]:
        return [work.work.with_options(cache=False)(1), work.work(2)]

    assert agent.run().wait(timeout=TIMEOUT) == ["run 2", "run 3"]
    assert agent.run().wait(timeout=TIMEOUT) == ["run 4", "run 3"]


def test_s3_5_cache_false_on_the_flow_switches_it_off_for_all_its_checkpoints() -> None:
    work = Work()
    sure = Work(cache=True, name="sure")
    work()
    sure()

    @flow(cache=False)
    def agent() -> list[str]:
        return [work.work(1), sure.work(1)]

    assert agent.run().wait(timeout=TIMEOUT) == ["run 2", "run 2"]
    assert agent.run().wait(timeout=TIMEOUT) == ["run 3", "run 3"]
    assert agent.run(cache=True).wait(timeout=TIMEOUT) == ["run 3", "run 3"], "the run says otherwise"


def test_s3_5_cache_false_on_the_run_switches_it_off_for_that_run() -> None:
    work = Work()
    assert [work(), work(cache=False), work(cache=True)] == ["run 1", "run 2", "run 2"]


def test_s3_5_an_execution_without_the_cache_still_reuses_its_own_records() -> None:
    outside = Breakage()
    work = Work()

    @flow(cache=False)
    def agent() -> str:
        value = work.work(1)
        outside.check()
        return value

    handle = agent.run()
    failure_of(handle)
    outside.mend()
    assert retry(handle).wait(timeout=TIMEOUT) == "run 1"
    assert len(work.ran) == 1


def test_s3_5_a_reused_result_can_be_reused_in_turn() -> None:
    work = Work()
    first = work.agent.run(1)
    first.wait(timeout=TIMEOUT)
    second = work.agent.run(1)
    second.wait(timeout=TIMEOUT)
    KitaruClient().executions.delete(first.exec_id)
    third = work.agent.run(1)
    assert third.wait(timeout=TIMEOUT) == "run 1"
    assert record(third).checkpoints[0].cached_from == second.exec_id


def test_s3_5_a_cached_call_of_a_resumed_execution_is_its_own_record_by_then() -> None:
    work, outside = Work(), Breakage()

    @flow
    def agent() -> str:
        value = work.work(1)
        outside.check()
        return value

    work()
    handle = agent.run()
    failure_of(handle)
    work(cache=False)  # a newer success elsewhere must not change what this execution has seen
    outside.mend()
    assert retry(handle).wait(timeout=TIMEOUT) == "run 1"


def test_s3_5_a_key_does_not_hand_the_result_of_other_inputs_to_another_execution() -> None:
    work = Work()

    @flow
    def agent(x: int) -> str:
        return work.work.with_options(key="the page")(x)

    assert [agent.run(x).wait(timeout=TIMEOUT) for x in (1, 2, 1)] == ["run 1", "run 2", "run 1"]


def test_s3_5_the_label_and_the_policy_are_no_part_of_the_code() -> None:
    work = Work()

    @flow
    def agent() -> str:
        return work.work.with_options(type="tool_call", retries=3, timeout=TIMEOUT)(1)

    work()
    assert agent.run().wait(timeout=TIMEOUT) == "run 1"


def test_s3_5_kitaru_configure_switches_the_cache_off_for_the_process() -> None:
    work = Work()
    work()
    kitaru.configure(cache=False)
    try:
        assert work() == "run 2"
    finally:
        from kitaru.services import wiring

        wiring.overrides.pop("cache")
