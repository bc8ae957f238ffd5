"""Limits of flows and stacks, which bound executions, and priorities."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import kitaru
from kitaru import KitaruClient, KitaruUsageError, checkpoint, flow
from kitaru.services.wiring import wiring
from tests.acceptance.gates import PATIENCE, Gate, until
from tests.acceptance.test_limits import Peak, Stranger


def waiting(name: str) -> list[str]:
    return [slot.exec_id for slot in KitaruClient().limits.get(name).waiting]


@pytest.mark.parametrize("limit", ["flow:agent", "stack:local"])
def test_no_more_executions_run_at_once_than_the_limit(limit: str) -> None:
    KitaruClient().limits.set(limit, at_once=2)
    peak = Peak()
    meeting = threading.Barrier(2)

    @flow
    def agent(x: int) -> int:
        with peak.inside():
            meeting.wait(PATIENCE)
            return x

    handles = [agent.run(x) for x in range(8)]
    assert [handle.wait(PATIENCE) for handle in handles] == list(range(8))
    assert peak.most == 2
    assert KitaruClient().limits.get(limit).holders == ()


def test_a_limit_of_one_flow_lets_others_pass() -> None:
    KitaruClient().limits.set("flow:agent", at_once=1)
    Stranger("flow:agent")

    @flow
    def agent() -> None: ...

    @flow
    def other() -> str:
        return "done"

    agent.run()
    until(lambda: waiting("flow:agent"))
    assert other.run().wait(PATIENCE) == "done"


def test_a_child_flow_runs_under_the_place_of_its_parent() -> None:
    KitaruClient().limits.set("stack:local", at_once=1)
    KitaruClient().limits.set("flow:agent", at_once=1)

    @flow
    def agent(depth: int) -> int:
        return depth + (agent.run(depth - 1).wait() if depth else 0)

    assert agent.run(3).wait(PATIENCE) == 6


@pytest.mark.parametrize("attached", [False, True])
def test_an_execution_that_waits_for_an_answer_holds_no_place_and_asks_for_one_when_it_goes_on(attached: bool) -> None:
    client = KitaruClient()
    client.limits.set("flow:agent", at_once=1)
    gate = Gate()
    peak = Peak()

    @flow
    def agent(asks: bool) -> str:
        if asks:
            kitaru.wait("go")
        with peak.inside():
            if not asks:
                gate.pass_()
            return "done"

    asking = agent.run(True)
    waiter = threading.Thread(target=asking.wait, args=(PATIENCE,), daemon=True)
    if attached:
        waiter.start()
    until(lambda: asking.status == "waiting")
    running = agent.run(False)
    gate.await_reached()
    client.executions.input(asking.exec_id)
    until(lambda: waiting("flow:agent") == [asking.exec_id])
    explained = str(client.executions.explain(asking.exec_id))
    assert "It has waited" in explained
    assert f"for a place under limit 'flow:agent': 1 of 1 are held (by {running.exec_id} on " in explained
    gate.open()
    assert (running.wait(PATIENCE), asking.wait(PATIENCE)) == ("done", "done")
    assert peak.most == 1


def test_a_flow_that_runs_its_body_again_keeps_its_place() -> None:
    client = KitaruClient()
    client.limits.set("flow:agent", at_once=1)
    tries: list[list[str]] = []

    @flow(retries=2)
    def agent() -> str:
        tries.append([slot.exec_id for slot in client.limits.get("flow:agent").holders])
        if len(tries) < 3:
            raise ConnectionError("again")
        return "done"

    handle = agent.run()
    assert handle.wait(PATIENCE) == "done"
    assert tries == [[handle.exec_id]] * 3


def test_an_execution_that_waits_for_its_place_can_be_cancelled() -> None:
    KitaruClient().limits.set("flow:agent", at_once=1)
    Stranger("flow:agent")
    ran: list[int] = []

    @flow
    def agent() -> None:
        ran.append(1)

    handle = agent.run()
    until(lambda: waiting("flow:agent"))
    handle.cancel()
    with pytest.raises(kitaru.KitaruCancelledError):
        handle.wait(PATIENCE)
    until(lambda: not waiting("flow:agent"))
    assert ran == []


def test_a_limit_that_is_deleted_lets_those_go_who_wait() -> None:
    client = KitaruClient()
    client.limits.set("flow:agent", at_once=1)
    Stranger("flow:agent")

    @flow
    def agent() -> str:
        return "done"

    handle = agent.run()
    until(lambda: waiting("flow:agent"))
    client.limits.delete("flow:agent")
    assert handle.wait(PATIENCE) == "done"


def test_limits_of_executions_can_be_declared() -> None:
    kitaru.configure(limits={"flow:agent": {"at_once": 1}})
    peak = Peak()

    @flow
    def agent() -> None:
        with peak.inside():
            threading.Event().wait(0.01)

    for handle in [agent.run() for _ in range(5)]:
        handle.wait(PATIENCE)
    assert peak.most == 1


# ── priorities ───────────────────────────────────────────────────────────────────────────────────


def test_a_higher_priority_gets_a_place_under_a_limit_first() -> None:
    KitaruClient().limits.set("flow:agent", at_once=1)
    stranger = Stranger("flow:agent")
    order: list[str] = []

    @flow
    def agent(name: str) -> None:
        order.append(name)

    handles = [agent.run("low", priority=-1)]
    for name, priority in (("first", 0), ("second", None), ("high", 7)):
        handles.append(agent.run(name, priority=priority))
        until(lambda: len(waiting("flow:agent")) == len(handles))
    stranger.leave()
    for handle in handles:
        handle.wait(PATIENCE)
    assert order == ["high", "first", "second", "low"]


def test_calls_of_a_higher_priority_go_first() -> None:
    client = KitaruClient()
    client.limits.set("api", at_once=1)
    stranger = Stranger("api")
    order: list[str] = []

    @checkpoint(limit="api")
    def step(name: str) -> None:
        order.append(name)

    @flow
    def agent(name: str) -> None:
        step(name)

    handles = [agent.run("early")]
    until(lambda: len(client.limits.get("api").waiting) == 1)
    handles.append(agent.run("urgent", priority=1))
    until(lambda: len(client.limits.get("api").waiting) == 2)
    stranger.leave()
    for handle in handles:
        handle.wait(PATIENCE)
    assert order == ["urgent", "early"]


def test_a_higher_priority_leaves_the_queue_of_its_process_first() -> None:
    kitaru.configure(max_flows=1)
    gate = Gate()
    order: list[str] = []

    @flow
    def agent(name: str) -> None:
        order.append(name)
        if name == "running":
            gate.pass_()

    handles = [agent.run("running")]
    gate.await_reached()
    handles += [agent.run(name, priority=priority) for name, priority in (("a", 0), ("b", 5), ("c", 5), ("d", -5))]
    gate.open()
    for handle in handles:
        handle.wait(PATIENCE)
    assert order == ["running", "b", "c", "a", "d"]


def test_a_child_and_a_replay_have_the_priority_of_their_parent_and_source() -> None:
    @flow
    def child() -> str:
        return kitaru.current_execution_id()

    @flow
    def parent() -> tuple[str, str]:
        return child.run().wait(), child.run(priority=2).wait()

    handle = parent.run(priority=9)
    inherited, own = handle.wait(PATIENCE)
    replay = KitaruClient().executions.replay(handle.exec_id)
    replay.wait(PATIENCE)
    get = wiring().store.executions.get
    found = [get(one) for one in (handle.exec_id, inherited, own, replay.exec_id)]
    assert [row.priority for row in found if row is not None] == [9, 9, 2, 9]


@pytest.mark.parametrize("priority", ["high", 1.5, True, 10**7])
def test_a_priority_that_is_no_whole_number_is_refused(priority: Any) -> None:
    @flow
    def agent() -> None: ...

    with pytest.raises(KitaruUsageError, match="priority="):
        agent.run(priority=priority)
    assert len(KitaruClient().executions.list()) == 0


def test_s1_3_priority_is_a_reserved_name() -> None:
    with pytest.raises(KitaruUsageError, match="'priority'"):

        @flow
        def agent(priority: int) -> None: ...
