"""S8.1: the kind ``process``: each execution in a child process that is killed, restarted and drained."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import kitaru
from kitaru import KitaruClient, KitaruUsageError, flow
from kitaru.services.run_apart import MOST_TAKEOVERS
from tests.acceptance.gates import PATIENCE
from tests.acceptance.processes import Scripts

FLOWS = """
    import atexit, os, signal, subprocess, sys, time
    from pathlib import Path
    import kitaru
    from kitaru import checkpoint, flow
    from kitaru.services.wiring import wiring

    def note(name, text=""):
        with Path(name).open("a") as file:
            file.write(f"{text or os.getpid()}\\n")

    @checkpoint
    def step(number: int) -> int:
        note("steps", str(number))
        return number * 10

    @flow
    def where(number: int) -> list:
        return [os.getpid(), os.getppid(), step(number), os.environ.get("FROM_IMAGE")]

    @flow
    def fails() -> None:
        raise KeyError("lost")

    @flow
    def killed(times: int) -> int:
        step(1)
        note("lives")
        if len(Path("lives").read_text().split()) <= times:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(2)

    @flow
    def asks() -> str:
        note("lives")
        return kitaru.wait("go", schema=str)

    @flow
    def sleeps() -> int:
        step(1)
        note("lives")
        kitaru.sleep(60)
        return step(2)

    @flow
    def hangs() -> None:
        note("lives")
        time.sleep(600)

    @flow
    def slow() -> str:
        note("lives")
        time.sleep(1)
        note("ended")
        return "done"

    @checkpoint
    def held(number: int) -> int:
        note("lives")
        if not Path("go").exists():
            started = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            note("started", str(started.pid))
        while not Path("go").exists():
            time.sleep(0.01)
        while Path("hear").exists() and wiring().runner._leaving is None:  # until this process knows that it is to end
            time.sleep(0.01)
        return step.fn(number)

    @flow
    def holds() -> int:
        return step(held(step(1)))

    def may_end():
        for _ in range(3000):  # no longer than a test has patience
            if Path("may_end").exists():
                return
            time.sleep(0.01)

    @flow
    def lingers() -> str:
        atexit.register(may_end)
        return "done"

    @flow
    def parent() -> int:
        return where.run(7).wait()[2]
"""


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scripts:
    made = Scripts(tmp_path / "work")
    made.write("flows.py", FLOWS)
    monkeypatch.chdir(made.folder)
    kitaru.create_stack("apart", "process")
    return made


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def python(scripts: Scripts, text: str) -> list[str]:
    """Run a script that starts flows of ``flows.py``."""
    scripts.write("main.py", f"import os, kitaru, flows\nfrom kitaru import KitaruClient\n{text}\n")
    return scripts.run("main.py")


def test_s8_1_an_execution_runs_in_a_child_process_with_the_variables_of_its_image(scripts: Scripts) -> None:
    text = """handle = flows.where.run(4, stack="apart", image={"environment": {"FROM_IMAGE": "yes"}})
pid, parent, step, variable = handle.wait(60)
print(pid != os.getpid(), parent == os.getpid(), step, variable, os.environ.get("FROM_IMAGE"))"""
    assert python(scripts, text) == ["True True 40 yes None"]
    (execution,) = KitaruClient().executions.list()
    assert (execution.stack, execution.status) == ("apart", "completed")
    assert kitaru.current_stack().name == "local"


def test_s8_1_secrets_that_the_image_names_become_variables_and_a_missing_one_is_refused(scripts: Scripts) -> None:
    text = """executions = KitaruClient().executions
try:
    flows.where.run(4, stack="apart", image={"secret_environment_from": ["FROM_IMAGE"]})
except kitaru.KitaruNotFoundError as error:
    print("FROM_IMAGE" in str(error), len(executions.list()))
KitaruClient().secrets.set("FROM_IMAGE", "very-secret-value")
flows.where.run(4, stack="apart", image={"secret_environment_from": ["FROM_IMAGE"]}).wait(60)
print(executions.list()[0].result[3])"""
    assert python(scripts, text) == ["True 0", "***FROM_IMAGE***"]


def test_s8_1_a_flow_of_a_store_in_memory_is_refused(scripts: Scripts) -> None:
    text = """from kitaru.testing import fresh_kitaru
with fresh_kitaru():
    kitaru.create_stack("apart", "process")
    try:
        flows.where.run(4, stack="apart")
    except kitaru.KitaruUsageError as error:
        print("store in memory" in str(error))"""
    assert python(scripts, text) == ["True"]


def test_s2_8_isolated_checkpoints_work_in_a_process_of_a_stack(scripts: Scripts) -> None:
    scripts.write("flows.py", FLOWS.replace("@checkpoint\n", '@checkpoint(runtime="isolated")\n'))
    assert python(scripts, 'print(flows.where.run(5, stack="apart").wait(60)[2])') == ["50"]


def test_s8_1_a_failure_comes_back_as_what_was_raised(scripts: Scripts) -> None:
    text = """try:
    flows.fails.run(stack="apart").wait(60)
except kitaru.KitaruUserCodeError as error:
    print(type(error.__cause__).__name__, error.failure_origin)"""
    assert python(scripts, text) == ["KeyError user_code"]


@pytest.mark.parametrize("waited", ["handle.wait(20)", "asyncio.run(awaited(handle))"], ids=["wait", "await"])
def test_s1_4_the_end_of_an_execution_is_seen_while_its_process_still_ends(waited: str, scripts: Scripts) -> None:
    """With the poll put off for an hour: a notification wakes."""
    text = f"""import asyncio
from pathlib import Path
from kitaru.client import handle as handle_module
from kitaru.services.wiring import wiring
handle_module._POLL_SECONDS = 3600.0
async def awaited(handle):
    async with asyncio.timeout(20):
        return await handle
handle = flows.lingers.run(stack="apart")
try:
    print({waited})
    print(wiring().runners.active(handle.exec_id) is not None)
finally:
    Path("may_end").touch()"""
    assert python(scripts, text) == ["done", "True"]


def test_s8_1_a_process_that_dies_is_started_again_and_recorded_work_is_reused(scripts: Scripts) -> None:
    assert python(scripts, 'print(flows.killed.run(2, stack="apart").wait(60))') == ["20"]
    assert scripts.lines("steps") == ["1", "2"]
    assert len(set(scripts.lines("lives"))) == 3


def test_s8_1_an_execution_that_kills_every_process_fails_and_can_be_retried(scripts: Scripts) -> None:
    text = """handle = flows.killed.run(6, stack="apart")
try:
    handle.wait(60)
except kitaru.KitaruExecutionError as error:
    print(error.failure_origin, type(error.__cause__).__name__, str(error))
print(len(open("lives").read().split()))
print(KitaruClient().executions.retry(handle.exec_id).wait(60), len(set(open("lives").read().split())))"""
    told, *counts = python(scripts, text)
    assert told.startswith("infrastructure ChildProcessError ")
    assert f"died {MOST_TAKEOVERS} times in a row, with nothing recorded in between; at last it was ended by" in told
    assert counts == [f"{1 + MOST_TAKEOVERS}", f"20 {2 + MOST_TAKEOVERS}"]
    assert scripts.lines("steps") == ["1", "2"]


def test_s8_1_deaths_before_the_execution_has_begun_count_too(scripts: Scripts) -> None:
    scripts.write("flows.py", FLOWS + """
    if sys.argv[0] != "main.py":  # imported by the process of an execution
        note("lives")
        if len(Path("lives").read_text().split()) <= int(os.environ["DEATHS"]):
            os.kill(os.getpid(), signal.SIGKILL)
    """)  # fmt: skip
    text = """os.environ["DEATHS"] = "1"
print(flows.where.run(1, stack="apart").wait(60)[2])
os.environ["DEATHS"] = "99"
try:
    flows.where.run(2, stack="apart").wait(60)
except kitaru.KitaruExecutionError as error:
    print(error.failure_origin, "was ended by SIGKILL" in str(error))"""
    assert python(scripts, text) == ["10", "infrastructure True"]
    assert len(scripts.lines("lives")) == 2 + 1 + MOST_TAKEOVERS


def test_s8_1_a_suspended_execution_holds_no_process_and_is_started_again_by_its_answer(scripts: Scripts) -> None:
    text = """import time
handle = flows.asks.run(stack="apart")
executions = KitaruClient().executions
while handle.status != "waiting":
    time.sleep(0.01)
pid = int(open("lives").read().split()[0])
while os.path.exists(f"/proc/{pid}") and open(f"/proc/{pid}/stat").read().split()[2] != "Z":
    time.sleep(0.01)
executions.input(handle.exec_id, value="yes")
print(handle.wait(60))"""
    assert python(scripts, text) == ["yes"]
    assert len(set(scripts.lines("lives"))) == 2


def test_s5_8_a_timer_starts_the_process_again(scripts: Scripts) -> None:
    scripts.write("flows.py", FLOWS.replace("kitaru.sleep(60)", "kitaru.sleep(2)"))
    assert python(scripts, 'print(flows.sleeps.run(stack="apart").wait(60))') == ["20"]
    assert scripts.lines("steps") == ["1", "2"]


def test_s6_8_cancelling_kills_the_process(scripts: Scripts) -> None:
    text = """import time
handle = flows.hangs.run(stack="apart")
while not os.path.exists("lives") or not open("lives").read():
    time.sleep(0.01)
handle.cancel()
try:
    handle.wait(60)
except kitaru.KitaruCancelledError:
    print("cancelled")"""
    assert python(scripts, text) == ["cancelled"]
    (pid,) = scripts.lines("lives")
    until(lambda: not Path(f"/proc/{pid}").exists())


def is_gone(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"  # in whose place nobody waits
    except OSError:
        return True


WAITS = """
    import os, flows
    os.setpgrp()
    flows.holds.run(stack="apart", execution_id="a").wait()
"""


@pytest.mark.parametrize("to", ["process", "group"])
def test_s1_6_ctrl_c_kills_the_process_and_its_execution_can_be_resumed_at_once(scripts: Scripts, to: str) -> None:
    scripts.write("main.py", WAITS)
    with scripts.started("main.py") as parent:
        until(lambda: scripts.lines("started"))
        (os.kill if to == "process" else os.killpg)(parent.process.pid, signal.SIGINT)
        _, errors = parent.finish()
        assert parent.process.returncode == -signal.SIGINT
    assert "Exception" not in errors
    until(lambda: all(is_gone(pid) for pid in (*scripts.lines("lives"), *scripts.lines("started"))))
    assert KitaruClient().executions.get("a").status == "pending"  # handed back: it is not to blame
    (scripts.folder / "go").touch()
    assert python(scripts, "print(KitaruClient().executions.resume('a').wait(60))") == ["1000"]
    assert scripts.lines("steps") == ["1", "10", "100"]


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_s6_3_a_process_whose_parent_is_gone_ends_its_call_and_hands_its_execution_back(
    scripts: Scripts, end: signal.Signals
) -> None:
    scripts.write("main.py", WAITS)
    scripts.write("hear", "")
    with scripts.started("main.py") as parent:
        until(lambda: scripts.lines("started"))
        parent.process.send_signal(end)
        parent.process.wait(PATIENCE)
        (scripts.folder / "go").touch()
    until(lambda: all(is_gone(pid) for pid in (*scripts.lines("lives"), *scripts.lines("started"))))
    assert KitaruClient().executions.get("a").status == "pending"
    assert python(scripts, "print(KitaruClient().executions.resume('a').wait(60))") == ["1000"]
    assert scripts.lines("steps") == ["1", "10", "100"]
    assert len(scripts.lines("lives")) == 1  # its call was recorded


def test_s6_3_a_process_whose_parent_is_gone_does_not_wait_for_ever_for_a_call(scripts: Scripts) -> None:
    scripts.write("flows.py", FLOWS + """
    sys.modules["__main__"].GRACE_SECONDS = 0.1  # of the process of an execution
    """)  # fmt: skip
    scripts.write("main.py", WAITS)
    with scripts.started("main.py") as parent:
        until(lambda: scripts.lines("started"))
        parent.kill()
    until(lambda: all(is_gone(pid) for pid in (*scripts.lines("lives"), *scripts.lines("started"))))
    (scripts.folder / "go").touch()
    assert python(scripts, "print(KitaruClient().executions.resume('a').wait(60))") == ["1000"]
    assert scripts.lines("steps") == ["1", "10", "100"]


def test_s1_6_a_process_that_ends_lets_its_children_finish_first(scripts: Scripts) -> None:
    assert python(scripts, 'flows.slow.run(stack="apart")') == []
    assert scripts.lines("ended") != []
    assert [one.status for one in KitaruClient().executions.list()] == ["completed"]


def test_s6_3_what_a_killed_parent_has_left_pending_is_run_by_the_next_process_of_the_stack(scripts: Scripts) -> None:
    scripts.write("main.py", """
        import os, kitaru, flows
        from kitaru.services import runner
        runner.Runner.pick_up = lambda *_: os._exit(9)
        flows.where.run(1, stack="apart", execution_id="left")
    """)  # fmt: skip
    scripts.run("main.py", code=9)
    assert [one.status for one in KitaruClient().executions.list()] == ["pending"]
    python(scripts, 'print(flows.where.run(2, stack="apart").wait(60)[2])')
    assert KitaruClient().executions.get("left").status == "completed"


def test_s6_3_a_worker_of_the_stack_runs_its_executions_in_processes_too(scripts: Scripts) -> None:
    scripts.write("main.py", """
        import os, flows
        from kitaru.services import runner
        runner.Runner.pick_up = lambda *_: os._exit(9)
        flows.where.run(1, stack="apart", execution_id="left")
    """)  # fmt: skip
    scripts.run("main.py", code=9)
    with scripts.started("-m", "kitaru", "worker", "--stack", "apart") as worker:
        until(lambda: KitaruClient().executions.get("left").status == "completed")
        pid, parent, *_ = KitaruClient().executions.get("left").result
        assert (pid != worker.process.pid, parent) == (True, worker.process.pid)
        worker.process.terminate()
        worker.process.wait(PATIENCE)


def test_s8_1_a_script_that_would_start_its_flow_again_in_its_process_is_told_so(scripts: Scripts) -> None:
    scripts.write("main.py", """
        import kitaru
        from kitaru import flow

        @flow
        def agent() -> int:
            return 1

        try:
            print(agent.run(stack="apart").wait(60))
        except kitaru.KitaruExecutionError as error:
            print(error.failure_origin, "could not be loaded" in str(error))
    """)  # fmt: skip
    with scripts.started("main.py") as child:
        printed, errors = child.finish()
    assert printed == ["infrastructure True"]
    assert 'Put it under `if __name__ == "__main__":`' in errors
    assert len(KitaruClient().executions.list()) == 1


def test_s1_10_a_child_flow_runs_in_the_process_of_its_parent_or_on_its_own_stack(scripts: Scripts) -> None:
    assert python(scripts, 'print(flows.parent.run(stack="apart").wait(60))') == ["70"]


def test_s8_1_a_flow_that_no_other_process_could_find_is_refused_before_anything_is_recorded(scripts: Scripts) -> None:
    @flow
    def hidden() -> None: ...

    with pytest.raises(KitaruUsageError, match=r"flow hidden cannot run on stack 'apart'.*inside a function"):
        hidden.run(stack="apart")
    assert len(KitaruClient().executions.list()) == 0


def test_s8_5_an_image_field_that_is_not_applied_is_told_in_one_warning(scripts: Scripts) -> None:
    text = """import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for number in range(2):
        flows.where.run(number, stack="apart", image={"requirements": ["x"], "base_image": "y"}).wait(60)
print([str(one.message)[:31] for one in caught if "image fields base_image, requirements" in str(one.message)])"""
    assert python(scripts, text) == ["[\"a stack of kind 'process' runs \"]"]


@pytest.mark.parametrize(("options", "message"), [
    ({"processes": 0}, "processes=0: a whole number, 1 or more"),
    ({"processes": "3"}, "processes='3': int is expected"),
    ({"process": 2}, "has no option 'process'; did you mean 'processes'"),
])  # fmt: skip
def test_s8_1_a_wrong_option_of_a_process_stack_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(KitaruUsageError, match=message):
        kitaru.create_stack("apart", "process", **options)
    assert len(kitaru.list_stacks()) == 1
