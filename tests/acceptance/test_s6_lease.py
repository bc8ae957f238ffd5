"""S6.2: one owner at a time, by a lease with an epoch."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import kitaru
from kitaru import KitaruClient, checkpoint, flow
from kitaru.core.clock import Microseconds, SystemClock
from kitaru.core.states import Status
from kitaru.engine.signals import LeaseLost
from kitaru.services import wiring as process
from kitaru.services.recover import recover
from kitaru.services.run_apart import MOST_TAKEOVERS
from kitaru.services.settings import read_settings
from kitaru.services.wiring import Wiring
from tests.acceptance.gates import PATIENCE, Gate, until
from tests.acceptance.processes import Scripts

LEASE = 15.0


class SteppedClock:
    """The machine's clock, set forward by hand. A frozen one never lets a wait end, so no heartbeat follows."""

    def __init__(self, *, frozen: bool) -> None:
        self._frozen = frozen
        self._machine = SystemClock()
        self._ahead = 0.0

    def now(self) -> Microseconds:
        return self._machine.now() + round(self._ahead * 1_000_000)

    def monotonic(self) -> float:
        return self._machine.monotonic() + self._ahead

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return event.wait(PATIENCE if self._frozen else seconds)

    async def sleep(self, seconds: float) -> None:
        await self._machine.sleep(seconds)

    def idle_until(self, at: Microseconds) -> None:
        pass

    def pass_(self, seconds: float) -> None:
        self._ahead += seconds


@pytest.fixture
def clock() -> SteppedClock:
    """Of a machine that stands still: its heartbeat does not come."""
    clock = SteppedClock(frozen=True)
    process.install(Wiring(read_settings({}), clock=clock, lease_seconds=LEASE))
    return clock


@pytest.fixture
def other(clock: SteppedClock) -> Iterator[Wiring]:
    """A second runner on the same store and the same time."""
    wiring = Wiring(read_settings({}), clock=clock, lease_seconds=LEASE)
    yield wiring
    wiring.close()


class Agent:
    """A flow of two checkpoints that its first run holds in one place; ``seen`` tells what happened."""

    def __init__(self, hold_in: str) -> None:
        self.gate = Gate()
        self.seen: list[str] = []
        held = threading.Lock()

        def hold(place: str) -> None:
            if place == hold_in and held.acquire(blocking=False):
                self.gate.pass_()

        @checkpoint
        def step(name: str) -> str:
            self.seen.append(name)
            hold(name)
            return f"{name} of run {self.seen.count(name)}"

        @flow
        def leased_agent() -> list[str]:
            try:
                first = step("first")
                hold("body")
                return [first, step("second")]
            except BaseException as signal:
                self.seen.append(type(signal).__name__)
                raise

        self.flow = leased_agent
        self.handle = leased_agent.run()
        self.gate.await_reached()

    @property
    def record(self) -> kitaru.Execution:
        return KitaruClient().executions.get(self.handle.exec_id)


def take_over(other: Wiring, agent: Agent) -> bool:
    row = other.store.executions.get(agent.handle.exec_id)
    assert row is not None
    return recover(other, row, agent.flow.definition)


def body_has_ended() -> bool:
    return all(thread.name != "kitaru-leased_agent" for thread in threading.enumerate())


def test_s6_2_a_run_whose_lease_has_run_out_stops_at_its_next_call_and_records_nothing(clock: SteppedClock) -> None:
    agent = Agent("body")
    clock.pass_(LEASE + 1)
    agent.gate.open()
    until(body_has_ended)
    assert agent.seen == ["first", "LeaseLost"]
    assert issubclass(LeaseLost, BaseException)
    assert not issubclass(LeaseLost, Exception)
    assert agent.record.status == "running"  # an orphan, for others to go on with
    assert [call.output for call in agent.record.checkpoints] == ["first of run 1"]
    assert agent.record.attempts == ()


def test_s6_2_a_submitted_call_does_not_begin_once_the_lease_has_run_out() -> None:
    """It stood in the queue of a machine that has slept since."""
    clock = SteppedClock(frozen=True)
    process.install(Wiring(read_settings({"max_threads": 1}), clock=clock, lease_seconds=LEASE))
    gate = Gate()
    begun: list[int] = []

    @checkpoint
    def step(number: int) -> None:
        begun.append(number)
        gate.pass_()

    @flow
    def leased_agent() -> None:
        step.map(range(3)).result()

    leased_agent.run()
    gate.await_reached()
    clock.pass_(LEASE + 1)
    gate.open()
    until(body_has_ended)
    assert begun == [0]


def test_s6_2_a_lease_that_is_nearly_over_still_holds(clock: SteppedClock, other: Wiring) -> None:
    agent = Agent("body")
    clock.pass_(LEASE - 1)
    assert not take_over(other, agent)
    agent.gate.open()
    assert agent.handle.wait(PATIENCE) == ["first of run 1", "second of run 1"]


def test_s6_2_a_heartbeat_renews_the_lease(clock: SteppedClock, other: Wiring) -> None:
    agent = Agent("body")
    for _ in range(4):
        clock.pass_(LEASE - 1)
        process.wiring().runner.beat()
    assert not take_over(other, agent)
    agent.gate.open()
    assert agent.handle.wait(PATIENCE) == ["first of run 1", "second of run 1"]


def test_s6_2_once_another_runner_has_taken_over_no_write_of_the_first_is_accepted(
    clock: SteppedClock, other: Wiring
) -> None:
    """The first runner is inside a checkpoint when its lease runs out, and comes back late with a result."""
    agent = Agent("first")
    clock.pass_(LEASE + 1)
    assert take_over(other, agent)
    until(lambda: agent.record.status == "completed")
    taken_over = agent.record
    agent.gate.open()
    until(body_has_ended)
    assert taken_over.result == ["first of run 2", "second of run 1"]
    assert agent.seen == ["first", "first", "second", "LeaseLost"]
    assert agent.record.result == taken_over.result
    assert [call.output for call in agent.record.checkpoints] == ["first of run 2", "second of run 1"]
    assert agent.handle.wait(PATIENCE) == taken_over.result


def test_s6_2_a_run_that_was_taken_over_cannot_end_the_execution(clock: SteppedClock, other: Wiring) -> None:
    """It is behind its last call, so nothing but the commit of its end can stop it."""
    gates = [Gate(), Gate()]
    runs: list[int] = []

    @flow
    def leased_agent() -> str:
        runs.append(len(runs))
        number = runs[-1]
        gates[number].pass_()
        return f"run {number}"

    handle = leased_agent.run()
    gates[0].await_reached()
    clock.pass_(LEASE + 1)
    row = other.store.executions.get(handle.exec_id)
    assert row is not None
    assert recover(other, row, leased_agent.definition)
    gates[1].await_reached()
    gates[0].open()
    until(lambda: sum(thread.name == "kitaru-leased_agent" for thread in threading.enumerate()) == 1)
    assert handle.status == "running"
    gates[1].open()
    assert handle.wait(PATIENCE) == "run 1"


def test_s6_2_each_takeover_has_an_epoch_of_its_own(clock: SteppedClock, other: Wiring) -> None:
    agent = Agent("body")
    epochs = [row.epoch for row in [other.store.executions.get(agent.handle.exec_id)] if row]
    clock.pass_(LEASE + 1)
    assert take_over(other, agent)
    until(lambda: agent.record.status == "completed")
    row = other.store.executions.get(agent.handle.exec_id)
    assert row is not None
    assert epochs == [row.epoch - 1]
    agent.gate.open()
    until(body_has_ended)


def test_s6_2_a_process_that_has_lost_its_lease_goes_on_with_its_orphan_under_a_new_one() -> None:
    """A laptop that has slept: nobody else was there, and its heart beats again."""
    clock = SteppedClock(frozen=False)
    process.install(Wiring(read_settings({}), clock=clock, lease_seconds=LEASE))
    agent = Agent("body")
    first = process.wiring().store.executions.get(agent.handle.exec_id)
    clock.pass_(LEASE + 1)
    until(lambda: process.wiring().store.executions.is_orphan(agent.handle.exec_id))
    agent.gate.open()
    until(lambda: "LeaseLost" in agent.seen)
    clock.pass_(LEASE / 2)  # the heartbeat looks for orphans from time to time
    assert agent.handle.wait(PATIENCE) == ["first of run 1", "second of run 1"]
    assert agent.seen == ["first", "LeaseLost", "second"]
    row = process.wiring().store.executions.get(agent.handle.exec_id)
    assert row is not None
    assert first is not None
    assert (row.status, row.epoch) == (Status.COMPLETED, first.epoch + 1)


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGSTOP")
def test_s6_2_a_process_that_stood_still_for_longer_than_its_lease_records_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the machine's own clock, and a lease of half a second."""
    scripts = Scripts(tmp_path / "project")
    monkeypatch.setenv("EFFECTS", str(scripts.folder / "effects"))
    scripts.write(
        "agent.py",
        """
        import os, sys
        from kitaru import checkpoint, flow
        from kitaru.services import wiring
        from kitaru.services.settings import read_settings

        @checkpoint
        def effect(name: str) -> str:
            with open(os.environ["EFFECTS"], "a") as file:
                file.write(f"{name}-{os.environ['WHO']}\\n")
            return f"{name}-{os.environ['WHO']}"

        @flow
        def agent() -> list[str]:
            first = effect("first")
            if os.environ["WHO"] == "stopped":
                print("ready", flush=True)
                sys.stdin.readline()
            return [first, effect("second")]

        if __name__ == "__main__":
            wiring.install(wiring.Wiring(read_settings({}), lease_seconds=0.5))
            print(agent.run(execution_id="a").wait(), flush=True)
        """,
    )
    scripts.write("resume.py", "from kitaru import KitaruClient\nprint(KitaruClient().executions.resume('a').wait())")
    monkeypatch.setenv("WHO", "stopped")
    with scripts.started("agent.py") as owner:
        owner.expect("ready")
        os.kill(owner.process.pid, signal.SIGSTOP)
        until(lambda: process.wiring().store.executions.is_orphan("a"))
        monkeypatch.setenv("WHO", "other")
        assert scripts.run("resume.py") == ["['first-stopped', 'second-other']"]
        os.kill(owner.process.pid, signal.SIGCONT)
        owner.tell("go on")
        printed, errors = owner.finish()
    assert printed == ["['first-stopped', 'second-other']"], errors
    assert scripts.lines("effects") == ["first-stopped", "second-other"]


def test_s6_3_a_pause_in_a_long_call_loses_nothing_where_nobody_has_taken_over(clock: SteppedClock) -> None:
    """A laptop that sleeps. However often it does in one call, it is not taken for a process that dies on it."""
    agent = Agent("first")
    for _ in range(MOST_TAKEOVERS + 1):
        clock.pass_(LEASE + 1)
        process.wiring().runner.beat()
    agent.gate.open()
    until(lambda: process.wiring().runner.sweep() or agent.record.status == "completed")
    assert agent.handle.wait(PATIENCE) == ["first of run 1", "second of run 1"]
