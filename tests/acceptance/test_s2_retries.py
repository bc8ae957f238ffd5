"""S2.4: retries of a checkpoint: how often, how long apart, for what, and what is recorded of them."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from kitaru import KitaruClient, KitaruUsageError, Retry, checkpoint, current_execution_id, flow
from tests.acceptance.runs import TIMEOUT, Breakage, failure_of, record, retry, use_skipping_clock


class Throttled(Exception):
    pass


class Forbidden(Throttled):
    pass


def test_s2_4_retries_is_the_number_of_further_attempts() -> None:
    ran: list[int] = []

    @checkpoint(retries=3)
    def work(good_from: int) -> int:
        ran.append(1)
        if len(ran) < good_from:
            raise Throttled(f"attempt {len(ran)}")
        return len(ran)

    @flow
    def agent(good_from: int) -> int:
        return work(good_from)

    assert agent.run(4).wait(timeout=TIMEOUT) == 4
    ran.clear()
    handle = agent.run(5)
    error = failure_of(handle)
    assert repr(error.__cause__) == "Throttled('attempt 4')"
    assert len(ran) == 4
    call = record(handle).checkpoints[0]
    assert (call.status, [attempt.number for attempt in call.attempts]) == ("failed", [1, 2, 3, 4])


def test_s2_4_without_retries_there_is_one_attempt() -> None:
    ran: list[int] = []

    @checkpoint
    def work() -> None:
        ran.append(1)
        raise Throttled

    @flow
    def agent() -> None:
        work()

    failure_of(agent.run())
    assert ran == [1]


def test_s2_4_each_attempt_is_recorded_with_times_status_and_failure() -> None:
    clock = use_skipping_clock()
    ran: list[int] = []

    @checkpoint(retry=Retry(attempts=3, delay=60, backoff=1))
    def work() -> str:
        ran.append(1)
        if len(ran) < 3:
            raise Throttled(f"attempt {len(ran)}")
        return "third time lucky"

    @flow
    def agent() -> str:
        return work()

    handle = agent.run()
    assert handle.wait() == "third time lucky"
    assert clock.pauses == [60, 60]
    call = record(handle).checkpoints[0]
    first, second, third = call.attempts
    assert [attempt.status for attempt in call.attempts] == ["failed", "failed", "completed"]
    assert first.failure is not None
    assert (first.failure.type.rpartition(":")[2], first.failure.message) == ("Throttled", "attempt 1")
    assert first.failure.traceback is not None
    assert 'raise Throttled(f"attempt {len(ran)}")' in first.failure.traceback
    assert first.failure.origin == "user_code"
    assert third.failure is None
    for attempt in call.attempts:
        assert attempt.ended_at is not None
        assert attempt.started_at <= attempt.ended_at
    assert first.ended_at is not None
    assert (second.started_at - first.ended_at).total_seconds() >= 60


@pytest.mark.parametrize("submitted", [False, True])
def test_s2_4_an_attempt_is_recorded_before_the_next_one_starts(submitted: bool) -> None:
    seen: list[list[tuple[int, str, str | None]]] = []

    @checkpoint(retries=2)
    def work() -> int:
        calls = KitaruClient().executions.get(current_execution_id()).checkpoints
        attempts = [attempt for call in calls for attempt in call.attempts if attempt.status != "running"]
        seen.append([(one.number, one.status, one.failure and one.failure.message) for one in attempts])
        if len(seen) < 3:
            raise Throttled(f"attempt {len(seen)}")
        return len(seen)

    @flow
    def agent() -> int:
        return work.submit().result() if submitted else work()

    assert agent.run().wait() == 3
    assert seen == [
        [],
        [(1, "failed", "attempt 1")],
        [(1, "failed", "attempt 1"), (2, "failed", "attempt 2")],
    ]


def test_s2_4_an_attempt_of_an_async_checkpoint_is_recorded_before_the_next_one_starts() -> None:
    seen: list[int] = []

    @checkpoint(retries=2)
    async def work() -> int:
        await asyncio.sleep(0)
        calls = KitaruClient().executions.get(current_execution_id()).checkpoints
        seen.append(sum(attempt.status == "failed" for call in calls for attempt in call.attempts))
        if len(seen) < 3:
            raise Throttled
        return len(seen)

    @flow
    async def agent() -> int:
        return await work()

    assert agent.run().wait() == 3
    assert seen == [0, 1, 2]


def test_s2_4_while_a_later_attempt_runs_people_see_it_running_and_the_earlier_ones_failed() -> None:
    second_runs, may_end = threading.Event(), threading.Event()
    ran: list[int] = []

    @checkpoint(retries=1)
    def work() -> int:
        ran.append(1)
        if len(ran) == 1:
            raise Throttled
        second_runs.set()
        assert may_end.wait(TIMEOUT)
        return 2

    @flow
    def agent() -> int:
        return work()

    handle = agent.run()
    assert second_runs.wait(TIMEOUT)
    call = record(handle).checkpoints[0]
    assert (call.call_id, call.status) == ("work", "running")
    assert [(attempt.number, attempt.status) for attempt in call.attempts] == [(1, "failed"), (2, "running")]
    assert call.attempts[1].ended_at is None
    may_end.set()
    assert handle.wait(timeout=TIMEOUT) == 2
    assert [one.status for one in record(handle).checkpoints[0].attempts] == ["failed", "completed"]


@pytest.mark.parametrize("way", ["call", "submit", "async"])
def test_s2_4_the_delays_grow_by_the_backoff_up_to_the_longest(way: str) -> None:
    clock = use_skipping_clock()
    policy = Retry(attempts=6, delay=10, backoff=3, max_delay=200)

    @checkpoint(retry=policy)
    def work() -> None:
        raise Throttled

    @checkpoint(retry=policy)
    async def awork() -> None:
        raise Throttled

    @flow
    def agent() -> None:
        work() if way == "call" else work.submit().result()

    @flow
    async def async_agent() -> None:
        await awork()

    handle = (async_agent if way == "async" else agent).run()
    assert isinstance(failure_of(handle).__cause__, Throttled)
    assert clock.pauses == [10, 30, 90, 200, 200]


def test_s2_4_jitter_takes_a_random_part_off_the_delay() -> None:
    clock = use_skipping_clock()

    @checkpoint(retry=Retry(attempts=21, delay=100, backoff=1, jitter=0.5))
    def work() -> None:
        raise Throttled

    @flow
    def agent() -> None:
        work()

    failure_of(agent.run())
    assert len(clock.pauses) == 20
    assert all(50 <= pause <= 100 for pause in clock.pauses)
    assert len(set(clock.pauses)) > 10


@pytest.mark.parametrize(
    ("error", "policy", "attempts"),
    [
        (Throttled(), Retry(attempts=3), 3),
        (Throttled(), Retry(attempts=3, retry_on=Throttled), 3),
        (Forbidden(), Retry(attempts=3, retry_on=Throttled), 3),
        (Throttled(), Retry(attempts=3, retry_on=(OSError, Throttled)), 3),
        (ValueError(), Retry(attempts=3, retry_on=Throttled), 1),
        (Forbidden(), Retry(attempts=3, retry_on=Throttled, give_up_on=Forbidden), 1),
        (Throttled(), Retry(attempts=3, retry_on=Throttled, give_up_on=Forbidden), 3),
        (KeyError(), Retry(attempts=3, give_up_on=(LookupError, ValueError)), 1),
        (Throttled(), Retry(attempts=1), 1),
    ],
)
def test_s2_4_retry_on_and_give_up_on_choose_by_type(error: Exception, policy: Retry, attempts: int) -> None:
    ran: list[int] = []

    @checkpoint(retry=policy)
    def work() -> None:
        ran.append(1)
        raise error

    @flow
    def agent() -> None:
        work()

    handle = agent.run()
    assert failure_of(handle).__cause__ is error
    assert len(ran) == attempts
    assert len(record(handle).checkpoints[0].attempts) == attempts


def test_s2_4_a_value_that_cannot_be_recorded_is_not_tried_again() -> None:
    ran: list[int] = []

    @checkpoint(retries=5)
    def work() -> Any:
        ran.append(1)
        return threading.Lock()

    @flow
    def agent() -> None:
        work()

    failure_of(agent.run())
    assert ran == [1]


def test_s2_4_a_retried_execution_counts_attempts_on_and_has_its_full_number_again() -> None:
    outside = Breakage()
    ran: list[int] = []

    @checkpoint(retries=1)
    def work() -> str:
        ran.append(1)
        if len(ran) == 3:
            raise Throttled("once more")
        outside.check()
        return "done"

    @flow
    def agent() -> str:
        return work()

    handle = agent.run()
    failure_of(handle)
    assert len(ran) == 2
    outside.mend()
    assert retry(handle).wait(timeout=TIMEOUT) == "done"
    attempts = record(handle).checkpoints[0].attempts
    assert [(attempt.number, attempt.status) for attempt in attempts] == [
        (1, "failed"), (2, "failed"), (3, "failed"), (4, "completed"),
    ]  # fmt: skip


def test_s2_4_reuse_makes_no_new_attempt() -> None:
    outside = Breakage()

    @checkpoint(retries=2)
    def work() -> int:
        return 1

    @flow
    def agent() -> int:
        value = work()
        outside.check()
        return value

    handle = agent.run()
    failure_of(handle)
    before = record(handle).checkpoints[0]
    outside.mend()
    assert retry(handle).wait(timeout=TIMEOUT) == 1
    after = record(handle).checkpoints[0]
    assert after.attempts == before.attempts
    assert (after.started_at, after.ended_at) == (before.started_at, before.ended_at)


def test_s2_4_with_options_can_set_the_policy_of_one_call() -> None:
    ran: list[str] = []

    @checkpoint
    def work(name: str) -> None:
        ran.append(name)
        raise Throttled

    @flow
    def agent() -> None:
        for call in (work, work.with_options(retries=1), work.with_options(retry=Retry(attempts=3))):
            with pytest.raises(Throttled):
                call("x")

    agent.run().wait(timeout=TIMEOUT)
    assert len(ran) == 1 + 2 + 3


def test_s2_4_what_an_attempt_logged_is_kept_with_the_call_even_where_it_failed() -> None:
    from kitaru import log

    ran: list[int] = []

    @checkpoint(retries=1)
    def work() -> None:
        ran.append(1)
        log(tokens=len(ran), **{f"attempt_{len(ran)}": True})
        if len(ran) == 1:
            raise Throttled

    @flow
    def agent() -> None:
        work()

    handle = agent.run()
    handle.wait(timeout=TIMEOUT)
    assert record(handle).checkpoints[0].metadata == {"tokens": 2, "attempt_1": True, "attempt_2": True}


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts": 0}, {"attempts": 2.0}, {"attempts": True}, {"delay": -1}, {"backoff": 0.5}, {"jitter": 1.5},
        {"jitter": -0.1}, {"max_delay": -1},
    ],
)  # fmt: skip
def test_s2_4_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(KitaruUsageError, match=rf"Retry\({next(iter(wrong))}="):
        Retry(**wrong)


def test_s2_4_a_number_is_no_policy() -> None:
    with pytest.raises(KitaruUsageError, match="retry=3: a Retry"):
        checkpoint(retry=3)(lambda: None)  # type: ignore[call-overload]
