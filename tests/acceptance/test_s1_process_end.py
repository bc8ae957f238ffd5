"""S1.6: the end of a process that runs flows."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from kitaru import KitaruClient
from tests.acceptance.gates import PATIENCE, until
from tests.acceptance.processes import Scripts

HEAD = """
import asyncio, os, sys, threading
from concurrent.futures import ThreadPoolExecutor
from kitaru import KitaruClient, checkpoint, flow

_ended = threading.Event()
main_has_ended = _ended.wait

def the_end():
    # The last line of a script. What is registered last is called first: before anybody waits for flows.
    threading._register_atexit(_ended.set)

@checkpoint
def double(x: int) -> int:
    return 2 * x

@checkpoint
async def treble(x: int) -> int:
    await asyncio.sleep(0)
    return 3 * x
"""


@pytest.fixture
def scripts(tmp_path: Path) -> Scripts:
    return Scripts(tmp_path / "project")


BODIES = {
    "sync": """
@flow
def my_agent() -> object:
    main_has_ended()
    return double(double(3))
""",
    "async": """
@flow
async def my_agent() -> object:
    main_has_ended()
    return await treble(4)
""",
    "fan-out": """
@flow
def my_agent() -> object:
    main_has_ended()
    return sum(double.map([0, 1, 2, 3]).result())
""",
    "to_thread": """
@flow
async def my_agent() -> object:
    main_has_ended()
    return await asyncio.to_thread(lambda: 12)
""",
    "ThreadPoolExecutor": """
@checkpoint
def pooled() -> int:
    with ThreadPoolExecutor() as pool:
        return sum(pool.map(lambda x: 2 * x, [0, 1, 2, 3]))

@flow
def my_agent() -> object:
    main_has_ended()
    return pooled()
""",
    "child": """
@flow
def child(x: int) -> int:
    return double(x)

@flow
def my_agent() -> object:
    main_has_ended()
    return child.run(6).wait()
""",
    "timeout": """
@checkpoint(timeout=60)
def bounded() -> int:
    return 12

@flow
def my_agent() -> object:
    main_has_ended()
    return bounded()
""",
}


@pytest.mark.parametrize("body", BODIES)
def test_s1_6_a_process_that_ends_without_wait_lets_its_running_flow_finish_first(scripts: Scripts, body: str) -> None:
    """The body begins its work only when the main thread has ended."""
    scripts.write("agent.py", HEAD + BODIES[body] + "print(my_agent.run().exec_id); the_end()")
    (exec_id,) = scripts.run("agent.py")
    execution = KitaruClient().executions.get(exec_id)
    assert execution.status == "completed", execution.failure
    assert execution.result == 12


def test_s1_6_flows_that_are_still_pending_finish_too(scripts: Scripts) -> None:
    scripts.write(
        "agent.py",
        HEAD
        + """
import kitaru
kitaru.configure(max_flows=1)

@flow
def my_agent(x: int) -> int:
    if x == 0:
        main_has_ended()
    return double(x)

for x in range(5):
    print(my_agent.run(x).exec_id)
the_end()
""",
    )
    ids = scripts.run("agent.py")
    executions = [KitaruClient().executions.get(exec_id) for exec_id in ids]
    assert [execution.result for execution in executions] == [0, 2, 4, 6, 8]


def test_s1_6_a_failing_flow_does_not_hold_or_break_the_end(scripts: Scripts) -> None:
    scripts.write(
        "agent.py",
        HEAD
        + """
@flow
def my_agent() -> None:
    main_has_ended()
    raise ValueError("late")

print(my_agent.run().exec_id)
the_end()
""",
    )
    with scripts.started("agent.py") as child:
        (exec_id,), errors = child.finish()
    assert child.process.returncode == 0
    assert f"kitaru executions get {exec_id}" in errors
    execution = KitaruClient().executions.get(exec_id)
    assert execution.status == "failed"
    assert execution.failure is not None
    assert execution.failure.message == "late"


@pytest.mark.parametrize("end", ["sys.exit(3)", "raise SystemExit(3)"])
def test_s1_6_the_exit_code_stays_the_scripts_own(scripts: Scripts, end: str) -> None:
    scripts.write("agent.py", HEAD + BODIES["sync"] + f"print(my_agent.run().exec_id); the_end()\n{end}")
    (exec_id,) = scripts.run("agent.py", code=3)
    assert KitaruClient().executions.get(exec_id).status == "completed"


def test_s1_6_a_script_that_dies_of_an_exception_lets_its_flow_finish(scripts: Scripts) -> None:
    scripts.write("agent.py", HEAD + BODIES["sync"] + "print(my_agent.run().exec_id); the_end()\n1 / 0")
    (exec_id,) = scripts.run("agent.py", code=1)
    assert KitaruClient().executions.get(exec_id).status == "completed"


def test_s1_6_a_thread_that_outlives_the_main_thread_can_still_start_flows(scripts: Scripts) -> None:
    """The end of the process has begun when it makes its first run."""
    scripts.write(
        "agent.py",
        HEAD
        + """
@flow
def my_agent(x: int) -> int:
    return double(x)

def work() -> None:
    main_has_ended()
    print(my_agent.run(4).wait(), flush=True)
    print(my_agent.run(5).exec_id, flush=True)

if "warm" in sys.argv:
    print(my_agent.run(1).wait())
threading.Thread(target=work).start()
the_end()
""",
    )
    *_, result, exec_id = scripts.run("agent.py")
    assert (result, KitaruClient().executions.get(exec_id).result) == ("8", 10)
    *_, result, exec_id = scripts.run("agent.py", "warm")
    assert (result, KitaruClient().executions.get(exec_id).result) == ("8", 10)


def test_s1_6_ctrl_c_ends_a_process_that_waits_for_its_flows_and_the_execution_can_go_on(scripts: Scripts) -> None:
    scripts.write(
        "agent.py",
        HEAD
        + """
@flow
def my_agent() -> int:
    x = double(3)
    main_has_ended()
    if "slow" in sys.argv:
        print("holding", flush=True)
        threading.Event().wait()
    return double(x)

print(my_agent.run(execution_id="held").exec_id)
the_end()
""",
    )
    with scripts.started("agent.py", "slow") as child:
        child.expect("holding")
        child.process.send_signal(signal.SIGINT)
        _, errors = child.finish()
    assert "kitaru executions resume" in errors
    assert "Traceback" not in errors
    execution = KitaruClient().executions.get("held")
    assert execution.status == "pending"
    assert [call.output for call in execution.checkpoints] == [6]
    scripts.run("agent.py")
    again = KitaruClient().executions.get("held")
    assert (again.status, again.result) == ("completed", 12)
    assert [len(call.attempts) for call in again.checkpoints] == [1, 1]


@pytest.mark.parametrize("wait", ["handle.wait()", "asyncio.run(on_a_loop())", "threading.Event().wait()"])
def test_s1_6_ctrl_c_ends_the_process_wherever_it_waits_and_the_execution_can_go_on(
    scripts: Scripts, wait: str
) -> None:
    scripts.write(
        "agent.py",
        HEAD
        + """
@flow
def my_agent() -> int:
    if "slow" in sys.argv:
        print("holding", flush=True)
        threading.Event().wait()
    return double(6)

async def on_a_loop() -> None:
    await handle

handle = my_agent.run(execution_id="waited")
if "slow" in sys.argv:
"""
        + f"    {wait}",
    )
    with scripts.started("agent.py", "slow") as child:
        child.expect("holding")
        child.process.send_signal(signal.SIGINT)
        _, errors = child.finish()
    assert child.process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in errors
    assert KitaruClient().executions.get("waited").status == "pending"
    scripts.run("agent.py")
    assert KitaruClient().executions.get("waited").result == 12


def test_s1_6_flows_that_are_started_after_a_ctrl_c_are_let_finish_again(scripts: Scripts) -> None:
    scripts.write(
        "agent.py",
        HEAD
        + """
@flow
def my_agent(x: int) -> int:
    print("holding", flush=True)
    main_has_ended()
    return double(x)

try:
    my_agent.run(1).wait()
except KeyboardInterrupt:
    print(my_agent.run(6, execution_id="later").exec_id)
the_end()
""",
    )
    with scripts.started("agent.py") as child:
        child.expect("holding")
        child.process.send_signal(signal.SIGINT)
        child.finish()
    assert KitaruClient().executions.get("later").result == 12


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_s1_6_a_process_that_was_forked_inside_a_flow_ends_by_itself(scripts: Scripts) -> None:
    """A forked child has its parent's flows in memory, but not the threads that run them."""
    scripts.write(
        "agent.py",
        "import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n"
        + HEAD
        + """
import multiprocessing

def in_child(queue) -> None:
    queue.put(os.getpid())

@checkpoint
def forks() -> bool:
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=in_child, args=(queue,))
    process.start()
    other = queue.get(timeout=30)
    process.join(20)
    if process.exitcode is None:
        process.kill()
    return process.exitcode == 0 and other != os.getpid()

@flow
def my_agent() -> bool:
    return forks()

print(my_agent.run().wait())
""",
    )
    assert scripts.run("agent.py") == ["True"]


def test_s1_6_a_forked_child_can_run_flows_of_its_own(scripts: Scripts) -> None:
    scripts.write(
        "agent.py",
        "import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n"
        + HEAD
        + """
@flow
def my_agent(x: int) -> int:
    return double(x)

print(my_agent.run(1).wait(), flush=True)
pid = os.fork()
if pid == 0:
    my_agent.run(2, execution_id="of-the-child")  # and ends without waiting
else:
    assert os.waitpid(pid, 0)[1] == 0
    print(my_agent.run(3).wait())
""",
    )
    assert scripts.run("agent.py") == ["2", "6"]
    assert KitaruClient().executions.get("of-the-child").result == 4


def test_s6_8_the_body_of_a_cancelled_flow_may_clean_up_while_the_process_ends(scripts: Scripts) -> None:
    scripts.write(
        "agent.py",
        HEAD
        + """
import kitaru

@flow
def my_agent() -> None:
    try:
        KitaruClient().executions.cancel(kitaru.current_execution_id())
        double(1)
    except kitaru.KitaruCancelled:
        main_has_ended()
        sys.stdout.write("cleaned up\\n")

handle = my_agent.run()
try:
    handle.wait()
except kitaru.KitaruCancelledError:
    the_end()
""",
    )
    assert scripts.run("agent.py") == ["cleaned up"]


def test_s1_6_a_cancelled_flow_does_not_hold_the_process(scripts: Scripts) -> None:
    """Its body hangs in a thread that Python cannot end; the execution has ended."""
    scripts.write(
        "agent.py",
        HEAD
        + """
@flow
def my_agent() -> None:
    print("hanging", flush=True)
    threading.Event().wait()

my_agent.run(execution_id="hung")
""",
    )
    with scripts.started("agent.py") as child:
        child.expect("hanging")
        until(lambda: KitaruClient().executions.get("hung").status == "running")
        KitaruClient().executions.cancel("hung")
        child.process.wait(PATIENCE)
    assert child.process.returncode == 0
    assert KitaruClient().executions.get("hung").status == "cancelled"
