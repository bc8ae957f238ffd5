"""S5.8, S6.2, S7.1: the wall clock is set back, or jumps. Nothing happens twice, nothing is lost, order stays."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

import kitaru
from kitaru import Event, FlowHandle, KitaruClient, checkpoint, flow
from kitaru.core.clock import Microseconds, SystemClock
from kitaru.services.settings import read_settings
from kitaru.services.wiring import Wiring, install, wiring
from tests.acceptance.asking import answer, asked
from tests.acceptance.gates import until
from tests.acceptance.runs import TIMEOUT

SECOND = 1_000_000
HOUR = 3600 * SECOND
effects: Counter[str] = Counter()


class TurnableClock(SystemClock):
    """The machine's clock, whose hands a test can turn. Durations stay what they are."""

    def __init__(self) -> None:
        self.turned = 0

    def now(self) -> Microseconds:
        return super().now() + self.turned


@pytest.fixture
def clock() -> TurnableClock:
    turnable = TurnableClock()
    install(Wiring(read_settings({}), clock=turnable))
    effects.clear()
    return turnable


@checkpoint(cache=False)
def effect(name: str) -> None:
    effects[name] += 1


def events_of(handle: FlowHandle[object]) -> list[Event]:
    return list(KitaruClient().executions.events(handle.exec_id))


def test_s5_8_a_timer_that_has_fired_does_not_fire_again(clock: TurnableClock) -> None:
    @flow
    def agent() -> None:
        kitaru.sleep(0.05)
        effect("after the timer")
        kitaru.wait("go on")

    handle = agent.run()
    asked(handle, "go on")
    clock.turned = -HOUR
    answer(handle)  # the body runs again from its first line
    handle.wait(TIMEOUT)
    assert effects == {"after the timer": 1}
    fired = [one for one in events_of(handle) if one.kind == "call.completed" and one.call_id == "kitaru.sleep"]
    assert len(fired) == 1


def test_s5_8_a_timer_waits_for_its_time_and_is_not_lost(clock: TurnableClock) -> None:
    @flow
    def agent() -> str:
        kitaru.sleep(2 * 3600)
        effect("after the timer")
        return "done"

    handle = agent.run()
    until(lambda: handle.status == "waiting")
    clock.turned = -HOUR
    wiring().runner.beat()
    assert handle.status == "waiting"
    clock.turned = HOUR
    wiring().runner.beat()
    assert handle.status == "waiting"
    clock.turned = 2 * HOUR
    assert handle.wait(TIMEOUT) == "done"
    assert effects == {"after the timer": 1}


def test_s5_6_an_expiry_is_taken_once(clock: TurnableClock) -> None:
    @flow
    def agent() -> str:
        first = kitaru.wait("first", schema=str, expires_in=3600, default="expired")
        kitaru.wait("second")
        return str(first)

    handle = agent.run()
    asked(handle, "first")
    clock.turned = 2 * HOUR
    asked(handle, "second")
    clock.turned = -HOUR
    answer(handle)
    assert handle.wait(TIMEOUT) == "expired"


def test_s6_2_a_clock_that_is_set_back_takes_no_execution_from_its_runner(clock: TurnableClock) -> None:
    at, go_on = threading.Event(), threading.Event()

    @checkpoint(cache=False)
    def long() -> None:
        effects["long"] += 1
        at.set()
        assert go_on.wait(TIMEOUT)

    @flow
    def agent() -> str:
        long()
        effect("after")
        return "done"

    handle = agent.run()
    assert at.wait(TIMEOUT)
    epoch = wiring().store.executions.get(handle.exec_id).epoch  # type: ignore[union-attr]
    runner = wiring().runner
    name = runner.lease.runner_id
    for turned in (-HOUR, -24 * HOUR):
        clock.turned = turned
        assert runner.lease.renew()
        assert not wiring().store.executions.is_orphan(handle.exec_id)
        runner.sweep()
    go_on.set()
    assert handle.wait(TIMEOUT) == "done"
    assert runner.lease.runner_id == name
    assert effects == {"long": 1, "after": 1}
    assert wiring().store.executions.get(handle.exec_id).epoch == epoch  # type: ignore[union-attr]


def test_s6_2_a_jump_over_the_lease_and_back_loses_no_execution_and_repeats_no_record(clock: TurnableClock) -> None:
    at, go_on = threading.Event(), threading.Event()

    @checkpoint(cache=False)
    def held() -> None:
        at.set()
        assert go_on.wait(TIMEOUT)

    @flow
    def agent() -> str:
        effect("recorded")
        held()
        return "done"

    handle = agent.run()
    assert at.wait(TIMEOUT)
    runner = wiring().runner
    name = runner.lease.runner_id
    clock.turned = HOUR  # by the database's clock the lease has run out
    until(lambda: runner.lease.runner_id != name)
    clock.turned = -HOUR
    go_on.set()
    assert handle.wait(TIMEOUT) == "done"
    assert effects == {"recorded": 1}


def test_s7_1_events_and_calls_keep_their_order(clock: TurnableClock) -> None:
    @flow
    def agent() -> None:
        for number in range(5):
            effect(str(number))
            clock.turned -= HOUR

    handle = agent.run()
    handle.wait(TIMEOUT)
    events = events_of(handle)
    assert [one.event_id for one in events] == sorted(one.event_id for one in events)
    completed = [one.call_id for one in events if one.kind == "call.completed"]
    assert completed == ["effect", "effect_2", "effect_3", "effect_4", "effect_5"]
    assert events[-1].kind == "execution.completed"
    calls = KitaruClient().executions.get(handle.exec_id).checkpoints
    assert [call.inputs["name"] for call in calls] == ["0", "1", "2", "3", "4"]


def test_s5_5_an_answer_before_its_question_by_the_clock_counts(clock: TurnableClock) -> None:
    @flow
    def agent() -> str:
        name, _ = kitaru.wait_any(a=None, b=None)
        return str(name)

    handle = agent.run()
    asked(handle, "a", "b")
    clock.turned = -HOUR
    answer(handle, wait="b")
    assert handle.wait(TIMEOUT) == "b"
