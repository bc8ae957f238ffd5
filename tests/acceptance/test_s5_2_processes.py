"""S5.2, S5.3: who goes on with an execution when its answer comes from another process."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitaru import KitaruClient
from tests.acceptance.gates import until
from tests.acceptance.processes import Scripts

AGENT = """
import os, sys
import kitaru
from kitaru import KitaruClient, checkpoint, flow

@checkpoint
def effect(name: str) -> str:
    with open("effects", "a") as file:
        file.write(f"{name}:{os.getpid()}\\n")
    return name

@flow
def agent() -> str:
    first = effect("before")
    given = kitaru.wait("go", schema=str)
    return " ".join([first, given, effect("after")])

@flow
async def async_agent() -> str:
    first = effect("before")
    given = await kitaru.wait("go", schema=str)
    return " ".join([first, given, effect("after")])

@flow
def quick() -> int:
    return 1
"""
START = """
if __name__ == "__main__":
    handle = globals()[sys.argv[1]].run(execution_id="w")
    if sys.argv[2] == "attached":
        print(handle.wait(), flush=True)
    elif sys.argv[2] == "alive":
        print("started", flush=True)
        sys.stdin.readline()
"""
ANSWER = """
import os, sys
from kitaru import KitaruClient

executions = KitaruClient().executions
executions.input("w", sys.argv[1], by="ada")
print(os.getpid())
"""


@pytest.fixture
def scripts(tmp_path: Path) -> Scripts:
    made = Scripts(tmp_path / "project")
    made.write("agents.py", AGENT)
    made.write("start.py", "from agents import *\nimport sys\n" + START)
    made.write("answer.py", ANSWER)
    return made


def status() -> str | None:
    found = KitaruClient().executions.list(limit=10)
    return next((str(one.status) for one in found if one.exec_id == "w"), None)


def until_waiting() -> None:
    until(lambda: status() == "waiting")


def places(scripts: Scripts) -> dict[str, int]:
    """Which process has run what; each effect must have been made once."""
    lines = [line.split(":") for line in scripts.lines("effects")]
    assert [name for name, _ in lines] == ["before", "after"]
    return {name: int(pid) for name, pid in lines}


BOTH = pytest.mark.parametrize("flow", ["agent", "async_agent"])


@BOTH
def test_s5_3_a_process_whose_flow_waits_is_not_held(scripts: Scripts, flow: str) -> None:
    assert scripts.run("start.py", flow, "leave") == []
    assert status() == "waiting"


@BOTH
@pytest.mark.parametrize("how", ["alive", "attached"])
def test_s5_2_an_answer_from_elsewhere_goes_on_in_the_process_that_runs_it(
    scripts: Scripts, flow: str, how: str
) -> None:
    with scripts.started("start.py", flow, how) as first:
        until_waiting()
        scripts.run("answer.py", "ok")
        until(lambda: status() == "completed")
        assert set(places(scripts).values()) == {first.process.pid}
        if how == "attached":
            assert first.read() == "before ok after"
        else:
            first.tell("end")
        assert first.finish()[1] == ""


@BOTH
def test_s5_2_after_a_clean_end_the_process_that_answers_goes_on(scripts: Scripts, flow: str) -> None:
    scripts.run("start.py", flow, "leave")
    answered_by = scripts.run("answer.py", "ok")
    assert KitaruClient().executions.get("w").result == "before ok after"
    assert places(scripts)["after"] == int(answered_by[0])


@BOTH
def test_s5_2_after_a_kill_the_process_that_answers_goes_on(scripts: Scripts, flow: str) -> None:
    with scripts.started("start.py", flow, "alive") as first:
        until_waiting()
        first.process.kill()
        first.process.wait()
    answered_by = scripts.run("answer.py", "ok")
    assert KitaruClient().executions.get("w").result == "before ok after"
    assert places(scripts)["after"] == int(answered_by[0])


def test_s5_2_an_answer_from_another_folder_finds_the_flow_by_what_was_recorded(
    scripts: Scripts, tmp_path: Path
) -> None:
    scripts.write("alone.py", AGENT + START)
    scripts.run("alone.py", "agent", "leave")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    scripts.run(str(scripts.folder / "answer.py"), "ok", cwd=elsewhere)
    assert status() == "completed"


def test_s5_2_an_answer_that_nobody_could_act_on_is_kept_for_the_next_process(scripts: Scripts) -> None:
    scripts.run("start.py", "agent", "leave")
    hidden = scripts.folder / "agents.py"
    hidden.rename(scripts.folder / "hidden.py")
    scripts.run("answer.py", "ok")
    assert status() == "pending"
    (scripts.folder / "hidden.py").rename(hidden)
    scripts.write("later.py", "import agents\nprint(agents.quick.run().wait())\n")
    assert scripts.run("later.py") == ["1"]
    assert KitaruClient().executions.get("w").result == "before ok after"


def test_s5_2_an_answer_is_kept_where_its_process_is_killed_right_after_it(
    scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts.run("start.py", "agent", "leave")
    monkeypatch.setenv("KITARU_CRASH_AT", "after_claim:1")
    assert scripts.run("answer.py", "ok", code=-9) == []
    monkeypatch.delenv("KITARU_CRASH_AT")
    assert scripts.run("start.py", "agent", "attached") == ["before ok after"]
    assert len(places(scripts)) == 2


def test_s5_2_the_same_script_again_finds_it_waiting_and_does_not_ask_twice(scripts: Scripts) -> None:
    scripts.run("start.py", "agent", "leave")
    scripts.run("start.py", "agent", "leave")
    assert len(KitaruClient().executions.pending_waits()) == 1
    with scripts.started("start.py", "agent", "attached") as second:
        until_waiting()
        scripts.run("answer.py", "ok")
        assert second.read() == "before ok after"
    places(scripts)
