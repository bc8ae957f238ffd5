"""S1.10: a flow that is run inside another flow."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

import kitaru
from kitaru import KitaruClient, checkpoint, flow
from kitaru.core.states import CallKind
from tests.acceptance.gates import PATIENCE, Gate, until
from tests.acceptance.processes import Scripts


def test_s1_10_a_child_is_an_execution_of_its_own_that_is_linked_to_its_parent() -> None:
    @checkpoint
    def double(x: int) -> int:
        return 2 * x

    @flow
    def child(x: int) -> int:
        return double(x)

    @flow
    def parent() -> int:
        return child.run(3, tags=["small"]).wait()

    handle = parent.run()
    assert handle.wait(PATIENCE) == 6
    executions = KitaruClient().executions
    (linked,) = executions.list(parent_id=handle.exec_id)
    assert (linked.flow, linked.parent_id, linked.result, linked.tags) == ("child", handle.exec_id, 6, ("small",))
    (call,) = executions.get(handle.exec_id).checkpoints
    assert (call.kind, call.name, call.status, call.child_exec_id) == (
        CallKind.FLOW,
        "child",
        "completed",
        linked.exec_id,
    )
    assert call.inputs == {"x": 3}
    assert [call.name for call in linked.checkpoints] == ["double"]


def test_s1_10_children_of_an_async_flow_run_side_by_side() -> None:
    gates = [Gate(), Gate()]

    @flow
    async def child(number: int) -> int:
        await asyncio.to_thread(gates[number].pass_)
        return number

    @flow
    async def parent() -> list[int]:
        first, second = child.run(0), child.run(1)
        return await asyncio.gather(first, second)

    handle = parent.run()
    for gate in gates:
        gate.await_reached()
    for gate in gates:
        gate.open()
    assert handle.wait(PATIENCE) == [0, 1]


def test_s1_10_equal_children_are_two_executions() -> None:
    runs: list[int] = []

    @flow
    def child() -> int:
        runs.append(1)
        return len(runs)

    @flow
    def parent() -> list[int]:
        return [child.run().wait(), child.run().wait()]

    handle = parent.run()
    assert handle.wait(PATIENCE) == [1, 2]
    assert len(KitaruClient().executions.list(parent_id=handle.exec_id)) == 2


@pytest.mark.parametrize("how", ["retry", "flow retry"])
def test_s1_10_a_child_that_has_completed_is_reused_when_its_parent_runs_again(how: str) -> None:
    runs: list[str] = []

    @flow
    def child() -> str:
        runs.append("child")
        return "page"

    @flow(retries=1 if how == "flow retry" else 0)
    def parent() -> str:
        runs.append("parent")
        page = child.run().wait()
        if runs.count("parent") == 1:
            raise ValueError("once")
        return page.upper()

    handle = parent.run()
    if how == "retry":
        with pytest.raises(kitaru.KitaruUserCodeError):
            handle.wait(PATIENCE)
        handle = KitaruClient().executions.retry(handle.exec_id)
    assert handle.wait(PATIENCE) == "PAGE"
    assert runs == ["parent", "child", "parent"]
    assert len(KitaruClient().executions.list(flow="child")) == 1


def test_s1_10_a_childs_failure_that_ended_its_parent_is_retried_with_it_and_its_work_reused() -> None:
    steps: list[str] = []

    @checkpoint
    def fetch() -> str:
        steps.append("fetch")
        return "page"

    @checkpoint
    def parse(page: str) -> str:
        steps.append("parse")
        if steps.count("parse") == 1:
            raise ValueError("bad page")
        return page.upper()

    @flow
    def child() -> str:
        return parse(fetch())

    @flow
    def parent() -> str:
        return child.run().wait() + "!"

    handle = parent.run()
    with pytest.raises(kitaru.KitaruUserCodeError, match="bad page") as caught:
        handle.wait(PATIENCE)
    assert caught.value.exec_id == handle.exec_id
    assert isinstance(caught.value.__cause__, kitaru.KitaruUserCodeError)
    assert KitaruClient().executions.retry(handle.exec_id).wait(PATIENCE) == "PAGE!"
    assert steps == ["fetch", "parse", "parse"]
    assert len(KitaruClient().executions.list(flow="child")) == 1


def test_s1_10_a_childs_failure_that_its_parent_has_handled_is_raised_again_and_not_run_again() -> None:
    runs: list[str] = []

    @flow
    def child() -> None:
        runs.append("child")
        raise ValueError("no")

    @flow
    def parent() -> str:
        runs.append("parent")
        try:
            child.run().wait()
        except kitaru.KitaruUserCodeError as error:
            seen = str(error.__cause__)
        if runs.count("parent") == 1:
            raise RuntimeError("later")
        return seen

    handle = parent.run()
    with pytest.raises(kitaru.KitaruUserCodeError, match="later"):
        handle.wait(PATIENCE)
    assert KitaruClient().executions.retry(handle.exec_id).wait(PATIENCE) == "no"
    assert runs == ["parent", "child", "parent"]


@pytest.mark.parametrize("is_async", [False, True])
def test_s1_10_children_and_grandchildren_are_cancelled_with_their_parent(is_async: bool) -> None:
    gate = Gate()
    seen: list[str] = []

    @flow
    def grandchild() -> None:
        gate.pass_()
        touch()

    @checkpoint
    def touch() -> None:
        seen.append("touched")

    @flow
    def child() -> None:
        grandchild.run().wait()

    @flow
    def parent() -> None:
        try:
            child.run().wait()
        except kitaru.KitaruCancelled:
            seen.append("parent unwound")
            raise

    @flow
    async def async_parent() -> None:
        try:
            await child.run()
        except kitaru.KitaruCancelled:
            seen.append("parent unwound")
            raise

    handle = (async_parent if is_async else parent).run()
    gate.await_reached()
    handle.cancel()
    executions = KitaruClient().executions
    assert [executions.latest(name).status for name in ("child", "grandchild")] == ["cancelled", "cancelled"]
    with pytest.raises(kitaru.KitaruCancelledError):
        handle.wait(PATIENCE)
    until(lambda: seen)
    gate.open()
    until(lambda: "kitaru-grandchild" not in running_threads())
    assert seen == ["parent unwound"]
    assert executions.latest("grandchild").checkpoints == ()


def running_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


def test_s1_10_a_cancelled_child_is_an_error_in_its_parent_which_may_go_on() -> None:
    gate = Gate()

    @flow
    def child() -> None:
        gate.pass_()

    @flow
    def parent() -> str:
        handle = child.run(execution_id="child")
        try:
            handle.wait()
        except kitaru.KitaruCancelledError as error:
            return f"{error.exec_id} {error.status}"
        return "?"

    handle = parent.run()
    gate.await_reached()
    KitaruClient().executions.cancel("child")
    gate.open()
    assert handle.wait(PATIENCE) == "child cancelled"


def test_s1_10_a_child_does_not_need_a_place_that_its_parents_hold() -> None:
    kitaru.configure(max_flows=1)

    @flow
    def child(depth: int) -> int:
        return depth if depth == 0 else child.run(depth - 1).wait()

    assert child.run(5).wait(PATIENCE) == 0


def test_s1_10_a_child_keeps_the_id_that_it_is_given() -> None:
    @flow
    def child() -> str:
        return kitaru.current_execution_id()

    @flow
    def parent() -> str:
        return child.run(execution_id="of-my-own").wait()

    assert parent.run().wait(PATIENCE) == "of-my-own"


def test_s1_10_a_flow_can_be_run_in_a_checkpoint_too_and_is_linked_to_the_execution() -> None:
    @flow
    def child(x: int) -> int:
        return 2 * x

    @checkpoint
    def step() -> int:
        return child.run(4).wait()

    @flow
    def parent() -> int:
        return step()

    handle = parent.run()
    assert handle.wait(PATIENCE) == 8
    (linked,) = KitaruClient().executions.list(parent_id=handle.exec_id)
    assert linked.flow == "child"


SCRIPT = """
import os, sys, threading
from kitaru import checkpoint, flow

@checkpoint
def effect(name: str) -> str:
    with open("effects", "a") as file:
        file.write(name + "\\n")
    return name

@flow
def child(name: str) -> str:
    one = effect(name + "1")
    if name == os.environ.get("STOP_IN"):
        print("stopped", flush=True)
        threading.Event().wait()
    return one + effect(name + "2")

@flow
def parent() -> str:
    a = child.run("a").wait()
    b = child.run("b").wait()
    return a + b

print(parent.run(execution_id="parent").wait())
"""


@pytest.mark.parametrize("killed_in", ["a", "b"])
def test_s1_10_when_a_killed_parent_goes_on_its_children_do_too_and_nothing_is_done_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_in: str
) -> None:
    scripts = Scripts(tmp_path / "project")
    scripts.write("agent.py", SCRIPT)
    monkeypatch.setenv("STOP_IN", killed_in)
    scripts.kill_at("stopped", "agent.py")
    monkeypatch.delenv("STOP_IN")
    assert scripts.run("agent.py") == ["a1a2b1b2"]
    assert scripts.lines("effects") == ["a1", "a2", "b1", "b2"]
    children = KitaruClient().executions.list(parent_id="parent")
    assert [(child.flow, child.status) for child in children] == [("child", "completed")] * 2
