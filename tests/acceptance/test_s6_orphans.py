"""S6.3: an execution whose process was killed, taken up by others."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

import kitaru
from kitaru import KitaruClient
from tests.acceptance.gates import until
from tests.acceptance.processes import Scripts

AGENT = """
import os, sys, threading
from kitaru import KitaruClient, checkpoint, flow

@checkpoint
def effect(name: str) -> str:
    with open(os.environ["EFFECTS"], "a") as file:
        file.write(name + "\\n")
    return name

def say(line: str) -> None:
    sys.stdout.write(line + "\\n")  # as one write: threads say things at once
    sys.stdout.flush()

def stop_where_asked(place: str) -> None:
    if os.environ.get("STOP_AT") == place:
        say("stopped")
        threading.Event().wait()

@checkpoint
def last(name: str) -> str:
    stop_where_asked("checkpoint")
    return effect.fn(name)

@flow
def agent(name: str) -> str:
    first = effect(name + "-1")
    second = effect(name + "-2")
    stop_where_asked("body")
    return " ".join([first, second, last(name + "-3")])

@flow
async def async_agent(name: str) -> str:
    first, second = effect(name + "-1"), effect(name + "-2")
    stop_where_asked("body")
    return " ".join([first, second, last(name + "-3")])
"""
MAIN = """
if __name__ == "__main__":
    print(globals()[sys.argv[1]].run(sys.argv[2], execution_id=sys.argv[2]).wait())
"""


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scripts:
    made = Scripts(tmp_path / "project")
    monkeypatch.setenv("EFFECTS", str(made.folder / "effects"))
    made.write("agent.py", AGENT + MAIN)
    return made


def kill_midway(scripts: Scripts, monkeypatch: pytest.MonkeyPatch, *command: str, place: str = "body") -> None:
    monkeypatch.setenv("STOP_AT", place)
    scripts.kill_at("stopped", *command)
    monkeypatch.delenv("STOP_AT")


def assert_completed_once(scripts: Scripts, exec_id: str) -> None:
    """It has its result, and each of its effects was made once."""
    execution = KitaruClient().executions.get(exec_id)
    assert (execution.status, execution.result) == ("completed", f"{exec_id}-1 {exec_id}-2 {exec_id}-3")
    own = [line for line in scripts.lines("effects") if line.startswith(f"{exec_id}-")]
    assert own == [f"{exec_id}-1", f"{exec_id}-2", f"{exec_id}-3"]
    assert [call.call_id for call in execution.checkpoints] == ["effect", "effect_2", "last"]


def test_s6_3_a_killed_process_leaves_its_execution_running_with_what_was_recorded(
    scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_midway(scripts, monkeypatch, "agent.py", "agent", "a")
    execution = KitaruClient().executions.get("a")
    assert execution.status == "running"
    assert [call.output for call in execution.checkpoints] == ["a-1", "a-2"]


@pytest.mark.parametrize("place", ["body", "checkpoint"])
@pytest.mark.parametrize("which", ["agent", "async_agent"])
def test_s6_3_the_next_process_that_runs_the_script_takes_it_up_with_no_call_by_hand(
    scripts: Scripts, monkeypatch: pytest.MonkeyPatch, which: str, place: str
) -> None:
    """The next process runs something else of its own, which is over in no time."""
    kill_midway(scripts, monkeypatch, "agent.py", which, "orphan", place=place)
    assert scripts.run("agent.py", "agent", "other") == ["other-1 other-2 other-3"]
    assert_completed_once(scripts, "orphan")
    assert_completed_once(scripts, "other")


def test_s6_3_all_orphans_of_a_script_are_taken_up(scripts: Scripts, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"n{number}" for number in range(5)]
    scripts.write(
        "many.py",
        AGENT
        + """
import kitaru
kitaru.configure(max_flows=2)  # so that some are orphaned while they are pending
handles = [agent.run(name, execution_id=name) for name in sys.argv[1:]]
say("recorded")
for handle in handles:
    handle.wait()
""",
    )
    monkeypatch.setenv("STOP_AT", "body")
    with scripts.started("many.py", *names) as child:
        assert sorted(child.read() for _ in range(3)) == ["recorded", "stopped", "stopped"]
    monkeypatch.delenv("STOP_AT")
    statuses = [KitaruClient().executions.get(name).status for name in names]
    assert statuses == ["running", "running", "pending", "pending", "pending"]
    scripts.run("many.py", "other")
    for name in names:
        assert_completed_once(scripts, name)


def test_s6_3_a_process_of_another_project_leaves_it_alone(
    scripts: Scripts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kill_midway(scripts, monkeypatch, "agent.py", "agent", "a")
    other = Scripts(tmp_path / "other")
    other.write("agent.py", AGENT + MAIN)
    assert other.run("agent.py", "agent", "b") == ["b-1 b-2 b-3"]
    assert KitaruClient().executions.get("a").status == "running"


def test_s6_3_run_with_the_same_id_takes_it_up(scripts: Scripts, monkeypatch: pytest.MonkeyPatch) -> None:
    kill_midway(scripts, monkeypatch, "agent.py", "agent", "a")
    assert scripts.run("agent.py", "agent", "a") == ["a-1 a-2 a-3"]
    assert_completed_once(scripts, "a")


def test_s6_3_it_can_be_killed_again_and_again(scripts: Scripts, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("body", "checkpoint", "checkpoint", "body"):
        kill_midway(scripts, monkeypatch, "agent.py", "agent", "a", place=place)
    assert scripts.run("agent.py", "agent", "a") == ["a-1 a-2 a-3"]
    assert_completed_once(scripts, "a")


RESUME = """
import sys
from kitaru import KitaruClient
assert not any("agent" in name for name in sys.modules), "it is to be found by the record alone"
print(KitaruClient().executions.resume(sys.argv[1]).wait())
"""


@pytest.mark.parametrize("command", ["agent.py", "./agent.py", "../project/agent.py"])
def test_s6_3_resume_finds_the_flow_of_a_script_in_a_process_that_has_never_seen_it(
    scripts: Scripts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    """From another folder, by the script's path; its ``__main__`` block is not run."""
    kill_midway(scripts, monkeypatch, command, "agent", "a")
    elsewhere = Scripts(tmp_path / "elsewhere")
    elsewhere.write("resume.py", RESUME)
    assert elsewhere.run("resume.py", "a") == ["a-1 a-2 a-3"]
    assert_completed_once(scripts, "a")


def test_s6_3_resume_finds_the_flow_of_a_module(scripts: Scripts, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts.write("package/__init__.py", "")
    scripts.write("package/agents.py", AGENT + MAIN)
    scripts.write("start.py", "import sys\nfrom package.agents import agent\nagent.run('a', execution_id='a').wait()")
    scripts.write("resume.py", RESUME)
    kill_midway(scripts, monkeypatch, "start.py")
    assert scripts.run("resume.py", "a") == ["a-1 a-2 a-3"]
    assert_completed_once(scripts, "a")


def test_s6_3_resume_finds_the_flow_of_a_module_that_was_started_with_m(
    scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts.write("package/__init__.py", "")
    scripts.write("package/agents.py", AGENT + MAIN)
    scripts.write("resume.py", RESUME)
    kill_midway(scripts, monkeypatch, "-m", "package.agents", "agent", "a")
    assert scripts.run("resume.py", "a") == ["a-1 a-2 a-3"]
    assert_completed_once(scripts, "a")


def test_s6_3_a_script_imports_its_neighbours_when_it_is_resumed_from_elsewhere(
    scripts: Scripts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scripts.write("tools.py", AGENT)
    scripts.write("start.py", "from tools import *\nfrom tools import effect, flow, stop_where_asked\n" + SPLIT)
    kill_midway(scripts, monkeypatch, "start.py")
    elsewhere = Scripts(tmp_path / "elsewhere")
    elsewhere.write("resume.py", RESUME)
    assert elsewhere.run("resume.py", "a") == ["a-1"]


SPLIT = """
@flow
def split(name: str) -> str:
    first = effect(name + "-1")
    stop_where_asked("body")
    return first

if __name__ == "__main__":
    split.run("a", execution_id="a").wait()
"""


def test_s6_3_resume_says_what_is_missing_and_changes_nothing(
    scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_midway(scripts, monkeypatch, "agent.py", "agent", "a")
    path = scripts.folder / "agent.py"
    source = path.read_text()
    executions = KitaruClient().executions
    path.unlink()
    with pytest.raises(kitaru.KitaruNotFoundError, match=r"agent\.py.*no longer there"):
        executions.resume("a")
    path.write_text(source.replace("def agent(", "def renamed("))
    with pytest.raises(kitaru.KitaruNotFoundError, match=r"agent\.py.*'agent'"):
        executions.resume("a")
    assert executions.get("a").status == "running"
    path.write_text(source)
    scripts.write("resume.py", RESUME)
    assert scripts.run("resume.py", "a") == ["a-1 a-2 a-3"]


def test_s6_3_the_flow_may_have_gained_a_parameter_with_a_default(
    scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_midway(scripts, monkeypatch, "agent.py", "agent", "a")
    path = scripts.folder / "agent.py"
    path.write_text(path.read_text().replace("def agent(name: str)", "def agent(name: str, more: int = 1)"))
    scripts.write("resume.py", RESUME)
    assert scripts.run("resume.py", "a") == ["a-1 a-2 a-3"]


def test_s6_4a_resuming_an_execution_whose_owner_lives_is_a_no_op_that_returns_its_handle(
    scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does another process of the script take it up, nor a second run with its id."""
    scripts.write("resume.py", RESUME.replace(".wait()", ".status"))
    monkeypatch.setenv("STOP_AT", "checkpoint")
    with scripts.started("agent.py", "agent", "a") as owner:
        owner.expect("stopped")
        monkeypatch.delenv("STOP_AT")
        handle = KitaruClient().executions.resume("a")
        assert (handle.exec_id, handle.status) == ("a", "running")
        assert scripts.run("resume.py", "a") == ["running"]
        assert scripts.run("agent.py", "agent", "b") == ["b-1 b-2 b-3"]
        scripts.write("again.py", "from agent import agent\nprint(agent.run('a', execution_id='a').status)")
        assert "a-3" not in scripts.lines("effects")
        assert KitaruClient().executions.get("a").status == "running"
        os.kill(owner.process.pid, signal.SIGKILL)
    assert scripts.run("agent.py", "agent", "a") == ["a-1 a-2 a-3"]
    assert_completed_once(scripts, "a")


def test_s6_3_only_one_of_several_processes_takes_an_orphan_up(
    scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_midway(scripts, monkeypatch, "agent.py", "agent", "a")
    scripts.write(
        "resume.py",
        """
        import sys
        from kitaru import KitaruClient, KitaruStateError
        executions = KitaruClient().executions
        print("ready", flush=True)
        sys.stdin.readline()
        try:
            handle = executions.resume("a")
        except KitaruStateError:  # another one has completed it already
            handle = executions.handle("a")
        print(handle.wait())
        """,
    )
    processes = [scripts.popen("resume.py") for _ in range(4)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    printed = [process.communicate("go\n", timeout=60) for process in processes]
    assert [out for out, _ in printed] == ["a-1 a-2 a-3\n"] * 4, printed
    assert_completed_once(scripts, "a")


def test_s1_4_a_handle_in_one_process_is_woken_by_the_completion_in_another(
    scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the poll put off for an hour: a notification wakes it."""
    scripts.write(
        "waiter.py",
        """
        import asyncio, sys
        from kitaru import KitaruClient
        from kitaru.client import handle as handle_module
        handle_module._POLL_SECONDS = 3600.0
        handle = KitaruClient().executions.handle("a")
        async def awaiting():
            return await handle
        print("waiting", flush=True)
        print(asyncio.run(awaiting()) if sys.argv[1] == "async" else handle.wait(), flush=True)
        """,
    )
    scripts.write(
        "owner.py",
        """
        import sys
        from kitaru import flow
        @flow
        def agent() -> str:
            print("running", flush=True)
            sys.stdin.readline()
            return "done"
        agent.run(execution_id="a").wait()
        """,
    )
    with scripts.started("owner.py") as owner:
        owner.expect("running")
        with scripts.started("waiter.py", "sync") as sync_waiter, scripts.started("waiter.py", "async") as async_waiter:
            sync_waiter.expect("waiting")
            async_waiter.expect("waiting")
            owner.tell("go on")
            assert sync_waiter.finish()[0] == ["done"]
            assert async_waiter.finish()[0] == ["done"]
    until(lambda: KitaruClient().executions.get("a").status == "completed")
