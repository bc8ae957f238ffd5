"""Limits hold across processes, and a killed process holds nothing up."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from kitaru import KitaruClient, checkpoint, flow
from tests.acceptance.gates import PATIENCE, until
from tests.acceptance.processes import Child, Scripts

# Each call notes in one file when it comes in and when it goes out; appended lines stay whole and in order.
WORK = """
    import os
    import sys
    import time

    import kitaru

    kitaru.configure(limits={"api": {"at_once": 2}, "flow:bounded": {"at_once": 1}})
    NOTES = os.open("notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT)


    def noted(sign: str) -> None:
        os.write(NOTES, f"{sign}\\n".encode())


    @kitaru.checkpoint(limit="api", cache=False)
    def step(x: int) -> int:
        noted("+1")
        time.sleep(0.005)
        noted("-1")
        return x


    @kitaru.checkpoint(cache=False)
    def free(x: int) -> int:
        noted("+1")
        time.sleep(0.005)
        noted("-1")
        return x


    @kitaru.flow
    def unbounded(number: int) -> int:
        return sum(step.map([number * 100 + x for x in range(8)]).result())


    @kitaru.flow
    def bounded(number: int) -> int:
        return free(number) + free(number + 1)


    if __name__ == "__main__":
        print("ready", flush=True)
        sys.stdin.readline()
        flow = {"unbounded": unbounded, "bounded": bounded}[sys.argv[1]]
        for handle in [flow.run(int(sys.argv[2]) * 10 + x) for x in range(3)]:
            handle.wait(60)
"""

HOLD = """
    import threading

    import kitaru


    @kitaru.checkpoint(limit="api")
    def hold() -> None:
        print("holds", flush=True)
        threading.Event().wait(600)


    @kitaru.flow
    def holding() -> None:
        hold()


    if __name__ == "__main__":
        holding.run().wait()
"""


@pytest.fixture
def scripts(tmp_path: Path, home: Path) -> Scripts:
    return Scripts(tmp_path / "scripts")


@pytest.mark.parametrize(("name", "most", "calls"), [("unbounded", 2, 72), ("bounded", 1, 18)])
def test_several_processes_never_do_more_at_once_than_the_limit(
    scripts: Scripts, name: str, most: int, calls: int
) -> None:
    scripts.write("work.py", WORK)
    with ExitStack() as stack:
        children: list[Child] = [
            stack.enter_context(scripts.started("work.py", name, str(number))) for number in range(3)
        ]
        for child in children:
            child.expect("ready")
        for child in children:
            child.tell("go")
        for child in children:
            _, errors = child.finish()
            assert child.process.returncode == 0, errors
    inside = highest = 0
    notes = scripts.lines("notes")
    for note in notes:
        inside += int(note)
        highest = max(highest, inside)
    assert highest <= most  # that so many meet is chance: tests of one process make them
    assert len(notes) == 2 * calls


def test_a_killed_process_frees_its_places(scripts: Scripts) -> None:
    scripts.write("holder.py", HOLD)
    client = KitaruClient()
    client.limits.set("api", at_once=1)

    @checkpoint(limit="api")
    def step() -> str:
        return "done"

    @flow
    def agent() -> str:
        return step()

    with scripts.started("holder.py") as holder:
        holder.expect("holds")
        handle = agent.run()
        (slot,) = until(lambda: client.limits.get("api").waiting)
        assert slot.exec_id == handle.exec_id
        (held,) = client.limits.get("api").holders
        assert held.call_id == "hold"
        assert client.executions.get(handle.exec_id).status == "running"
        holder.kill()
        assert handle.wait(PATIENCE) == "done"
    assert client.limits.get("api").holders == ()
