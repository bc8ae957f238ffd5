"""``executions.explain``: why an execution is not moving, and why a call was reused or ran."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import kitaru
from kitaru import Explanation, KitaruClient, Reason, Retry, checkpoint, flow
from kitaru.core.explanation import Cause, for_people
from kitaru.core.mutations import Claimed, Commit, ExecutionCreated
from kitaru.core.ports import Ask
from kitaru.core.rows import ExecutionRow, RunnerRow
from kitaru.core.states import Status
from kitaru.services.wiring import wiring
from kitaru.testing import SkippingClock, fresh_kitaru
from tests.acceptance.gates import PATIENCE, Gate, until

broken = False


def explain(handle: kitaru.FlowHandle[Any], call_id: str | None = None) -> Explanation:
    return KitaruClient().executions.explain(handle.exec_id, call_id)


def only(explanation: Explanation, cause: Cause) -> Reason:
    (reason,) = explanation.reasons
    assert reason.cause is cause, explanation
    assert str(explanation) == reason.text
    return reason


def record(status: Status, runner_id: str | None, *, stack: str = "local", claimed: bool = False) -> str:
    """An execution that nobody in this process runs."""
    row = ExecutionRow(
        "other", "project", "other_flow", "m:flow", Status.PENDING, stack, "{}", "d", wiring().clock.now()
    )
    mutations: list[Any] = [ExecutionCreated(row._replace(runner_id=runner_id))]
    if status is Status.RUNNING:
        mutations.append(Claimed(runner_id or "", Status.PENDING, 0, 1))
    assert wiring().store.commit([Commit("other", None, mutations)]) == [None]
    return "other"


# ── an execution ─────────────────────────────────────────────────────────────────────────────────


def test_a_finished_execution_says_that_nothing_is_to_come() -> None:
    @flow
    def agent() -> int:
        return 1

    handle = agent.run()
    handle.wait(PATIENCE)
    reason = only(explain(handle), Cause.FINISHED)
    assert reason.text.startswith("It completed ")
    assert reason.since is not None
    assert explain(handle).status == "completed"


def test_a_failed_execution_names_its_failure_and_what_to_do() -> None:
    @flow
    def agent() -> int:
        raise ValueError("no such page")

    handle = agent.run()
    with pytest.raises(kitaru.KitaruUserCodeError):
        handle.wait(PATIENCE)
    reason = only(explain(handle), Cause.FINISHED)
    assert "ValueError: no such page" in reason.text
    assert reason.text.endswith(f"kitaru executions retry {handle.exec_id}")
    assert reason.failure is not None


def test_a_wait_says_what_is_asked_since_when_and_when_it_expires() -> None:
    @flow
    def agent() -> None:
        kitaru.wait("publish", question="Publish it?", expires_in=3600, default=True, schema=bool)

    handle = agent.run()
    until(lambda: handle.status == "waiting")
    reason = only(explain(handle), Cause.ANSWER)
    assert reason.call_id == "publish"
    assert "for an answer to 'publish' (Publish it?). It expires in 60 min." in reason.text
    assert reason.text.endswith(f"Answer: kitaru executions input {handle.exec_id} --wait publish --value ...")
    assert reason.since is not None
    assert reason.until is not None
    assert reason.until - reason.since == timedelta(hours=1)


def test_a_timer_says_when_it_is_due() -> None:
    with fresh_kitaru(clock=SkippingClock(skip=False)):

        @flow
        def agent() -> None:
            kitaru.sleep(11000)

        handle = agent.run()
        until(lambda: handle.status == "waiting")
        reason = only(explain(handle), Cause.TIMER)
        assert "its timer is due in 3 h" in reason.text
        assert reason.until is not None
        assert reason.until > datetime.now(UTC)


def test_a_parent_says_what_its_child_waits_for() -> None:
    @flow
    def child() -> None:
        kitaru.wait("approve")

    @flow
    def parent() -> None:
        child.run().wait()

    handle = parent.run()
    until(lambda: handle.status == "waiting")
    reason = only(explain(handle), Cause.CHILD)
    assert reason.other_exec_id is not None
    assert "for its child child" in reason.text
    assert "\n  It has waited" in reason.text
    assert "for an answer to 'approve'" in reason.text


def test_a_retry_says_when_it_is_due_and_after_which_failure() -> None:
    with fresh_kitaru(clock=SkippingClock(skip=False)):

        @checkpoint(retry=Retry(attempts=3, delay=3600))
        def shaky() -> None:
            raise ConnectionError("the line is dead")

        @flow
        def agent() -> None:
            shaky()

        handle = agent.run()
        until(lambda: handle.status == "waiting")
        reason = only(explain(handle), Cause.RETRY)
        assert "Attempt 2 of shaky is due in 60 min after ConnectionError: the line is dead" in reason.text
        assert reason.failure is not None
        assert reason.until is not None
        assert [one.cause for one in explain(handle, "shaky").reasons][1:] == [Cause.RETRY]


def test_a_full_limit_is_named_with_those_who_hold_it() -> None:
    client = KitaruClient()
    client.limits.set("openai", at_once=1)
    store = wiring().store
    store.runners.register(RunnerRow("stranger", "local", "elsewhere", 1, 0), lease_seconds=3600)
    holder = record(Status.RUNNING, "stranger")
    assert store.limits.take((), joining=[Ask(holder, "their_call", 1, 0, ("openai",))]).taken

    @checkpoint(limit="openai")
    def ask() -> None: ...

    @flow
    def agent() -> None:
        ask()

    handle = agent.run()
    until(lambda: client.limits.get("openai").waiting)
    reason, running = explain(handle).reasons
    assert (reason.cause, reason.limit, reason.call_id) == (Cause.LIMIT, "openai", "ask")
    assert [(one.exec_id, one.call_id, one.host) for one in reason.holders] == [("other", "their_call", "elsewhere")]
    assert "for a place under limit 'openai': 1 of 1 are held (by their_call of other on elsewhere)." in reason.text
    assert running.cause is Cause.RUNNING
    assert explain(handle, "ask").reasons == (reason,) or explain(handle, "ask").reasons[0].limit == "openai"
    store.limits.leave([Ask(holder, "their_call", 1, 0, ("openai",))])
    handle.wait(PATIENCE)


def test_a_running_execution_names_its_host_lease_and_call() -> None:
    gate = Gate()

    @checkpoint
    def slow() -> None:
        gate.pass_()

    @flow
    def agent() -> None:
        slow()

    handle = agent.run()
    gate.await_reached()
    until(lambda: "slow under way" in str(explain(handle)))  # it is shown once it has lasted a moment
    reason = only(explain(handle), Cause.RUNNING)
    assert reason.host is not None
    assert reason.until is not None
    gate.open()
    handle.wait(PATIENCE)


def test_a_flow_beyond_max_flows_is_queued_in_its_process() -> None:
    kitaru.configure(max_flows=1)
    gate = Gate()

    @flow
    def agent(hold: bool) -> None:
        if hold:
            gate.pass_()

    first = agent.run(True)
    gate.await_reached()
    second = agent.run(False)
    reason = only(explain(second), Cause.QUEUED)
    assert "max_flows" in reason.text
    gate.open()
    first.wait(PATIENCE)
    second.wait(PATIENCE)


def test_a_stack_without_a_runner_is_named() -> None:
    exec_id = record(Status.PENDING, None, stack="gpu")
    reason = only(KitaruClient().executions.explain(exec_id), Cause.NO_RUNNER)
    assert "for a runner of stack 'gpu', and there is none" in reason.text
    assert "kitaru worker --stack gpu" in reason.text
    wiring().store.runners.register(RunnerRow("worker", "gpu", "host", 1, 0), lease_seconds=60)
    assert "with a place for it" in only(KitaruClient().executions.explain(exec_id), Cause.QUEUED).text


def test_what_workers_leave_because_its_flow_is_full_names_the_limit() -> None:
    client = KitaruClient()
    client.limits.set("flow:other_flow", at_once=1)
    store = wiring().store
    store.runners.register(RunnerRow("worker", "gpu", "elsewhere", 1, 0), lease_seconds=60)
    exec_id = record(Status.PENDING, None, stack="gpu")
    only(client.executions.explain(exec_id), Cause.QUEUED)
    row = store.executions.get(exec_id)
    assert row is not None
    first = row._replace(execution_id="first", runner_id="worker")
    mutations = (ExecutionCreated(first), Claimed("worker", Status.PENDING, 0, 1))
    assert store.commit([Commit("first", None, mutations)]) == [None]
    assert store.limits.take((), joining=[Ask("first", "", 1, 0, ("flow:other_flow",))]).taken
    reason = only(client.executions.explain(exec_id), Cause.LIMIT)
    assert "a place under limit 'flow:other_flow': 1 of 1 are held (by first on elsewhere)." in reason.text


@pytest.mark.parametrize("status", [Status.PENDING, Status.RUNNING])
def test_an_orphan_says_how_it_goes_on(status: Status) -> None:
    exec_id = record(status, "gone")
    reason = only(KitaruClient().executions.explain(exec_id), Cause.ORPHAN)
    assert reason.text.endswith("kitaru executions resume other")


def test_an_unknown_execution_or_call_is_not_found() -> None:
    @checkpoint
    def fetch() -> None: ...

    @flow
    def agent() -> None:
        fetch()

    handle = agent.run()
    handle.wait(PATIENCE)
    with pytest.raises(kitaru.KitaruNotFoundError):
        KitaruClient().executions.explain("nothing")
    with pytest.raises(kitaru.KitaruNotFoundError, match="no call 'fetsh'; did you mean 'fetch'"):
        explain(handle, "fetsh")


# ── a call ───────────────────────────────────────────────────────────────────────────────────────


def finished(started: kitaru.FlowHandle[Any]) -> kitaru.FlowHandle[Any]:
    started.wait(PATIENCE)
    return started


@checkpoint
def step(x: int, y: int = 0) -> int:
    return x + y


@flow
def stepping(x: int, y: int = 0) -> int:
    return step(x, y)


def test_the_first_call_of_a_name() -> None:
    reason = only(explain(finished(stepping.run(1)), "step"), Cause.FIRST)
    assert "has recorded a call of step" in reason.text


def test_a_call_from_the_cache_names_its_source() -> None:
    first = finished(stepping.run(1))
    reason = only(explain(finished(stepping.run(1)), "step"), Cause.CACHED)
    assert (reason.other_exec_id, reason.other_call_id) == (first.exec_id, "step")


def test_a_call_that_a_replay_reuses_names_its_source() -> None:
    first = finished(stepping.run(1))
    again = finished(KitaruClient().executions.replay(first.exec_id))
    reason = only(explain(again, "step"), Cause.REUSED)
    assert reason.other_exec_id == first.exec_id


def test_a_call_that_a_replay_runs_again_says_so() -> None:
    first = finished(stepping.run(1))
    again = finished(KitaruClient().executions.replay(first.exec_id, "step"))
    only(explain(again, "step"), Cause.REPLAY)


def test_what_a_replay_was_given_by_hand_says_so() -> None:
    first = finished(stepping.run(1))
    replay = KitaruClient().executions.replay
    given = finished(replay(first.exec_id, overrides={"step": {"output": 5}}))
    assert "its output was given" in only(explain(given, "step"), Cause.GIVEN).text
    given = finished(replay(first.exec_id, overrides={"step": {"input": {"x": 9}}}))
    assert "ran with inputs that were given" in only(explain(given, "step"), Cause.GIVEN).text


def test_other_inputs_are_told_against_the_nearest_record() -> None:
    finished(stepping.run(7, 7))
    near = finished(stepping.run(1, 2))
    reason = only(explain(finished(stepping.run(1, 3)), "step"), Cause.INPUTS)
    assert (reason.other_exec_id, reason.other_call_id) == (near.exec_id, "step")
    assert [(one.input, one.recorded, one.given) for one in reason.changes] == [("y", "2", "3")]
    assert "y was 2 and is 3" in reason.text


def test_changed_code_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    first = finished(stepping.run(1))
    row = wiring().store.calls.of(first.exec_id)[0]
    assert row.code_digest is not None

    @checkpoint(name="step")
    def other(x: int, y: int = 0) -> int:
        return y + x + 0

    @flow(cache=True)
    def stepping_too(x: int, y: int = 0) -> int:
        return other(x, y)

    monkeypatch.setattr(stepping_too, "name", "stepping")
    object.__setattr__(stepping_too.definition, "name", "stepping")
    reason = only(explain(finished(stepping_too.run(1)), "step"), Cause.CODE)
    assert reason.other_exec_id == first.exec_id


def test_a_second_equal_call_is_told() -> None:
    @flow
    def twice(again: bool) -> int:
        return step(1) + (step(1) if again else 0)

    finished(twice.run(False))
    reason = only(explain(finished(twice.run(True)), "step_2"), Cause.REPEATED)
    assert "call number 2 with these inputs" in reason.text


def test_a_cache_that_is_off_is_told() -> None:
    @checkpoint(cache=False)
    def uncached() -> int:
        return 1

    @flow
    def agent() -> int:
        return uncached() + step(1)

    handle = finished(agent.run(cache=False))
    assert "its checkpoint says cache=False" in only(explain(handle, "uncached"), Cause.UNCACHED).text
    assert "off for this execution" in only(explain(handle, "step"), Cause.UNCACHED).text


def test_an_opaque_input_is_told() -> None:
    @checkpoint
    def locked(lock: object, x: int) -> int:
        return x

    @flow
    def agent() -> int:
        return locked(threading.Lock(), 1)

    assert "input lock has no digest" in only(explain(finished(agent.run()), "locked"), Cause.OPAQUE).text


def test_a_failure_is_never_cached() -> None:
    global broken

    @checkpoint
    def shaky() -> int:
        if broken:
            raise ValueError("broken")
        return 1

    @flow
    def agent() -> int:
        return shaky()

    broken = True
    with pytest.raises(kitaru.KitaruUserCodeError):
        agent.run().wait(PATIENCE)
    broken = False
    only(explain(finished(agent.run()), "shaky"), Cause.FAILED)


def test_a_key_is_compared_with_its_inputs() -> None:
    @flow
    def keyed(x: int) -> int:
        return step.with_options(key="k")(x)

    finished(keyed.run(1))
    reason = only(explain(finished(keyed.run(2)), "step"), Cause.INPUTS)
    assert [one.input for one in reason.changes] == ["x"]


def test_a_recorded_value_and_a_wait_are_no_business_of_the_cache() -> None:
    @flow
    def agent() -> None:
        kitaru.now()

    only(explain(finished(agent.run()), "kitaru.now"), Cause.KIND)


def test_a_call_that_drifted_says_what_was_recorded() -> None:
    global broken
    tick = iter(range(100))

    @checkpoint(cache=False)
    def stamp(at: int) -> int:
        return at

    @flow
    def agent() -> int:
        value = stamp(next(tick))
        if broken:
            raise ValueError("broken")
        return value

    broken = True
    failed = agent.run()
    with pytest.raises(kitaru.KitaruUserCodeError):
        failed.wait(PATIENCE)
    broken = False
    handle = finished(KitaruClient().executions.retry(failed.exec_id))
    _, drift = explain(handle, "stamp_2").reasons
    assert [(one.input, one.recorded, one.given) for one in drift.changes] == [("at", "0", "1")]
    assert "kitaru.now()" in drift.text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (2.54, "2.5 s"),
        (59, "59 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7200, "2 h"),
        (200_000, "2 d"),
        (-3, "0.0 s"),
    ],
)
def test_durations_are_written_for_people(seconds: float, text: str) -> None:
    assert for_people(seconds) == text
