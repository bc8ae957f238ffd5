"""``SkippingClock``: days pass at once, and seconds of the machine stay what they are."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import kitaru
from kitaru.testing import SkippingClock, answer_waits, fresh_kitaru
from tests.acceptance.gates import until

DAY = 86_400_000_000


def test_a_flow_that_sleeps_three_days_ends_at_once() -> None:
    """S5.8"""

    @kitaru.flow
    def reminder() -> float:
        before = kitaru.now()
        kitaru.sleep(timedelta(days=3))
        return (kitaru.now() - before).total_seconds()

    with fresh_kitaru():
        assert 3 * 86_400 <= reminder.run().wait(timeout=30) < 3 * 86_400 + 60


def test_a_retry_after_an_hour_comes_at_once() -> None:
    tries: list[int] = []

    @kitaru.checkpoint(retry=kitaru.Retry(attempts=3, delay=3600))
    def flaky() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError("not yet")
        return "done"

    @kitaru.flow
    def patient() -> str:
        return flaky()

    with fresh_kitaru():
        assert patient.run().wait(timeout=30) == "done"
    assert len(tries) == 3


def test_the_timeout_of_a_handle_is_not_skipped() -> None:
    clock = SkippingClock()
    before = clock.monotonic()
    clock.idle_until(clock.now() + DAY)
    assert clock.monotonic() - before < 3_600


def test_without_skipping_time_stands_until_it_is_advanced() -> None:
    """S5.6: the expiry comes when the test says so."""

    @kitaru.flow
    def asks() -> Any:
        return kitaru.wait("go", expires_in=timedelta(days=3), default=True, schema=bool)

    clock = SkippingClock(skip=False)
    with fresh_kitaru(clock=clock) as client:
        handle = asks.run()
        until(lambda: handle.status == "waiting")
        clock.advance(timedelta(days=2))
        assert len(client.executions.pending_waits()) == 1
        clock.advance(86_400)
        assert handle.wait(timeout=30) is True


def test_a_wait_that_expires_is_answered_before_time_is_skipped() -> None:
    """S5.6: whoever answers is there, so the expiry must not be faster."""

    @kitaru.flow
    def asks(number: int) -> Any:
        return kitaru.wait("go", question=str(number), schema=str, expires_in=timedelta(days=3), default="nobody")

    with fresh_kitaru(), answer_waits({"go": "somebody"}):
        handles = [asks.run(number) for number in range(20)]
        assert {handle.wait(timeout=30) for handle in handles} == {"somebody"}


def test_a_wait_that_nobody_answers_expires_while_others_are_answered() -> None:
    """S5.6"""

    @kitaru.flow
    def asks() -> tuple[Any, Any]:
        first = kitaru.wait("first", schema=int)
        return first, kitaru.wait("second", schema=int, expires_in=60, default=2)

    with fresh_kitaru(), answer_waits({"first": 1}):
        assert asks.run().wait(timeout=30) == (1, 2)


def test_times_that_were_seen_are_skipped_and_later_ones_are_not() -> None:
    clock = SkippingClock()
    start = clock.now()
    with clock.answering():
        clock.idle_until(start + DAY)
        seen = clock.seen()
        clock.idle_until(start + 3 * DAY)
        assert clock.now() < start + DAY
        clock.skip_seen(seen)
        assert start + DAY <= clock.now() < start + 2 * DAY
    assert clock.now() >= start + 3 * DAY


def test_threads_that_advance_at_once_lose_nothing() -> None:
    clock = SkippingClock(skip=False)
    start = clock.now()
    threads = [threading.Thread(target=clock.advance, args=(86_400,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert clock.now() - start >= 8 * DAY
