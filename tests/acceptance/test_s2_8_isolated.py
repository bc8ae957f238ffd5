"""S2.8: isolated checkpoints run in a child process; what becomes of it is no end of the flow."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kitaru
from kitaru import FailureOrigin, FlowHandle, Isolated, KitaruClient, KitaruUsageError, checkpoint, flow
from kitaru.core.states import CallStatus
from kitaru.engine import isolation
from tests.acceptance import apart
from tests.acceptance.gates import PATIENCE
from tests.acceptance.processes import Scripts
from tests.acceptance.runs import failure_of, record


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def run(body: Callable[[], Any]) -> FlowHandle[Any]:
    """An execution of a flow with this body."""
    return flow(body).run()


def test_s2_8_it_runs_in_another_process_which_stays_warm() -> None:
    def body() -> list[int]:
        return [apart.pid(), apart.pid()]

    first, second = run(body).wait(PATIENCE)
    assert first == second != os.getpid()


@pytest.mark.parametrize(
    "value", [None, (1, [2.5]), {"a": {1, 2}}, "x" * 200_000, apart.Point(1, 2), b"\0", float("inf")]
)
def test_s2_8_arguments_and_results_are_any_value(value: Any) -> None:
    def body() -> Any:
        return apart.echo(value)

    assert run(body).wait(PATIENCE) == value


def test_s2_8_keyword_arguments_and_defaults_reach_it() -> None:
    def body() -> list[apart.Point]:
        return [apart.move(apart.Point(1, 2)), apart.move(point=apart.Point(1, 2), by=5)]

    assert run(body).wait(PATIENCE) == [apart.Point(2, 3), apart.Point(6, 7)]


def test_s2_8_submit_and_map_run_in_several_children() -> None:
    def body() -> tuple[list[int], int]:
        numbers = apart.slowly.map(range(8)).result()
        return numbers, len({future.result() for future in [apart.pid.submit() for _ in range(3)]})

    numbers, children = run(body).wait(PATIENCE)
    assert numbers == list(range(8))
    assert 1 <= children <= 3


def test_s2_8_sync_and_async_checkpoints_run_from_sync_and_async_flows() -> None:
    async def body() -> list[Any]:
        gathered = await asyncio.gather(apart.echo_async(1), apart.echo_async(2))
        return [*gathered, await apart.echo.submit(3), apart.echo(4)]

    def sync_body() -> Any:
        return apart.echo_async.submit(5).result()

    assert run(body).wait(PATIENCE) == [1, 2, 3, 4]
    assert run(sync_body).wait(PATIENCE) == 5


def test_s2_8_what_it_logs_saves_and_prints_is_kept_with_its_call() -> None:
    def body() -> Any:
        return apart.inside("it")

    handle = run(body)
    exec_id, key, is_replay = handle.wait(PATIENCE)
    (call,) = record(handle).checkpoints
    assert (exec_id, is_replay) == (handle.exec_id, False)
    assert len(key) > 10
    assert call.metadata == {"tokens": 7}
    assert kitaru.load(exec_id, "report") == {"of": "it"}
    logs = {(one.level, one.message, one.call_id, one.attempt) for one in KitaruClient().executions.logs(exec_id)}
    assert logs == {
        ("stdout", "printed", "inside", 1),
        ("stderr", "no newline", "inside", 1),
        ("WARNING", "logged it", "inside", 1),
    }
    kinds = [event.kind for event in KitaruClient().executions.events(exec_id)]
    assert any("progress" in str(kind).lower() for kind in kinds)


def test_s2_8_an_exception_comes_back_as_what_was_raised() -> None:
    def body() -> Any:
        try:
            apart.refuse(3)
        except apart.Refused as error:
            return type(error) is apart.Refused, str(error), error.code
        return None

    handle = run(body)
    assert handle.wait(PATIENCE) == (True, "3: no", 3)
    (attempt,) = record(handle).checkpoints[0].attempts
    assert attempt.failure is not None
    assert attempt.failure.origin is FailureOrigin.USER_CODE
    assert attempt.failure.traceback is not None
    assert "apart.py" in attempt.failure.traceback
    assert "worker" not in attempt.failure.traceback


def test_s2_8_an_exception_that_ends_the_flow_tells_where_it_was_raised() -> None:
    def body() -> None:
        apart.refuse(3)

    error = failure_of(run(body))
    assert error.failure_origin is FailureOrigin.USER_CODE
    assert any("In the child process" in note and "apart.py" in note for note in error.__notes__)


def test_s2_8_a_result_that_cannot_be_recorded_is_refused_and_not_retried() -> None:
    def body() -> None:
        apart.returns_a_lock()

    handle = run(body)
    error = failure_of(handle)
    assert error.failure_origin is FailureOrigin.RUNTIME
    assert "returns_a_lock" in str(error)
    assert len(record(handle).checkpoints[0].attempts) == 1


DEATHS = {
    "segfault": "was ended by SIGSEGV",
    "kill": "was ended by SIGKILL (where nobody sent it, the machine had run out of memory)",
    "_exit": "ended with exit code 7",
    "exit": "ended with exit code 5",
    "abort": "was ended by SIGABRT",
}


@pytest.mark.parametrize("how", DEATHS)
def test_s2_8_a_death_of_the_child_is_a_failed_attempt_that_the_flow_may_catch(how: str) -> None:
    def body() -> tuple[str, int]:
        try:
            apart.die(how)
        except ChildProcessError as error:
            return str(error), apart.echo(1)
        return "", 0

    handle = run(body)
    assert handle.wait(PATIENCE) == (f"the process of die {DEATHS[how]}", 1)
    (attempt,) = record(handle).checkpoints[0].attempts
    assert attempt.status is CallStatus.FAILED
    assert attempt.failure is not None
    assert attempt.failure.origin is FailureOrigin.INFRASTRUCTURE
    assert [one.message for one in KitaruClient().executions.logs(handle.exec_id)] == ["last words"]


def test_s2_8_a_death_that_the_flow_does_not_catch_names_its_origin() -> None:
    def body() -> None:
        apart.die("_exit")

    error = failure_of(run(body))
    assert error.failure_origin is FailureOrigin.INFRASTRUCTURE
    assert "ended with exit code 7" in str(error)


def test_s2_4_a_child_that_dies_is_retried_under_the_same_idempotency_key(tmp_path: Path) -> None:
    marks = tmp_path / "marks"

    def body() -> int:
        return apart.die_until(str(marks), 2)

    handle = run(body)
    assert handle.wait(PATIENCE) == 2
    assert len(record(handle).checkpoints[0].attempts) == 3
    keys = marks.read_text().split()
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_s2_4_the_retry_policy_decides_on_deaths_too() -> None:
    def body() -> None:
        apart.not_retried()

    handle = run(body)
    failure_of(handle)
    assert len(record(handle).checkpoints[0].attempts) == 1


def test_s2_8_memory_is_bounded_and_the_next_attempt_is_not_harmed() -> None:
    def body() -> list[Any]:
        results: list[Any] = []
        for megabytes in (1, 4000, 1):
            try:
                results.append(apart.eat(megabytes) >> 20)
            except MemoryError:
                results.append("too much")
        return results

    assert run(body).wait(PATIENCE) == [1, "too much", 1]


def test_s2_6_a_timeout_kills_the_child_and_what_it_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = tmp_path / "marks"

    def once_it_has_started_both() -> float:
        until(lambda: marks.exists() and len(marks.read_text().split()) == 2)
        return time.monotonic()

    monkeypatch.setattr(isolation, "monotonic", once_it_has_started_both)  # its time counts from there on

    def body() -> str:
        try:
            apart.overruns(str(marks))
        except TimeoutError as error:
            return str(error)
        return ""

    handle = run(body)
    assert handle.wait(PATIENCE) == "overruns took longer than 0.3 s"
    (attempt,) = record(handle).checkpoints[0].attempts
    assert attempt.status is CallStatus.TIMED_OUT
    for pid in marks.read_text().split():
        until(lambda pid=pid: not is_alive(pid))


@pytest.mark.parametrize("kind", ["called", "submitted", "async", "async submitted"])
def test_s6_8_cancelling_kills_the_child_and_what_it_has_started(tmp_path: Path, kind: str) -> None:
    marks = tmp_path / "marks"

    def body() -> None:
        if kind == "called":
            apart.never_returns(str(marks))
        else:
            apart.never_returns.submit(str(marks)).result()

    async def async_body() -> None:
        if kind == "async":
            await apart.never_returns_async(str(marks))
        else:
            await apart.never_returns_async.submit(str(marks))

    handle = run(async_body if "async" in kind else body)
    until(lambda: marks.exists() and len(marks.read_text().split()) == 2)
    handle.cancel()
    with pytest.raises(kitaru.KitaruCancelledError):
        handle.wait(PATIENCE)
    for pid in marks.read_text().split():
        until(lambda pid=pid: not is_alive(pid))
    assert [call.status for call in record(handle).checkpoints] in ([], [CallStatus.CANCELLED])


def test_s2_2_a_task_group_that_cancels_a_call_kills_its_child(tmp_path: Path) -> None:
    marks = tmp_path / "marks"

    async def body() -> str:
        try:
            async with asyncio.timeout(PATIENCE) as limit, asyncio.TaskGroup() as group:
                group.create_task(apart.never_returns_async(str(marks)))
                await asyncio.to_thread(until, lambda: marks.exists() and len(marks.read_text().split()) == 2)
                limit.reschedule(0)
        except TimeoutError:
            return "cancelled"
        return ""

    assert run(body).wait(PATIENCE) == "cancelled"
    for pid in marks.read_text().split():
        until(lambda pid=pid: not is_alive(pid))


def test_s2_8_a_child_that_left_while_it_was_idle_costs_no_attempt() -> None:
    def body() -> tuple[int, int]:
        first = apart.pid()
        os.kill(first, signal.SIGKILL)
        until(lambda: not is_alive(str(first)))
        return first, apart.pid()

    handle = run(body)
    first, second = handle.wait(PATIENCE)
    assert first != second
    assert [len(call.attempts) for call in record(handle).checkpoints] == [1, 1]
    assert [call.attempts[0].status for call in record(handle).checkpoints] == [CallStatus.COMPLETED] * 2


def test_s2_8_where_no_process_can_be_started_the_attempt_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> str:
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        try:
            apart.pid()
        except ChildProcessError as error:
            return str(error)
        return ""

    assert "no process could be started for pid" in run(body).wait(PATIENCE)


def test_s2_8_where_the_child_cannot_begin_the_attempt_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def body() -> str:
        monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
        try:
            apart.pid()
        except ChildProcessError as error:
            return str(error)
        return ""

    (tmp_path / "kitaru.py").write_text("raise SystemExit(3)")
    assert "ended with exit code 3 before it could begin" in run(body).wait(PATIENCE)


def test_s1_10_a_flow_that_it_starts_is_a_child_of_the_execution() -> None:
    def body() -> tuple[str, int]:
        return apart.starts_a_flow(4)

    handle = run(body)
    child_id, result = handle.wait(PATIENCE)
    assert result == 5
    child = KitaruClient().executions.get(child_id)
    assert (child.parent_id, child.status) == (handle.exec_id, "completed")


def test_s2_8_a_secret_that_it_reads_is_redacted_in_all_that_comes_back() -> None:
    KitaruClient().secrets.set("TOKEN", "a-very-long-token")

    def body() -> str:
        return apart.uses_a_secret()

    handle = run(body)
    assert handle.wait(PATIENCE) == "length 17 of ***TOKEN***"
    messages = [one.message for one in KitaruClient().executions.logs(handle.exec_id)]
    assert "using ***TOKEN***" in messages
    assert not any("a-very-long-token" in message for message in messages)


def test_s2_8_an_argument_that_holds_a_secret_is_refused() -> None:
    KitaruClient().secrets.set("TOKEN", "a-very-long-token")

    def body() -> Any:
        return apart.echo({"token": kitaru.secret("TOKEN")})

    handle = run(body)
    assert "Have the isolated checkpoint read the secret itself" in str(failure_of(handle))
    assert record(handle).checkpoints == ()


def test_s3_2_recorded_results_of_it_are_reused(tmp_path: Path) -> None:
    ready = tmp_path / "ready"

    def body() -> list[int]:
        pids = [apart.pid()]
        if not ready.exists():
            raise ConnectionError
        return [*pids, os.getpid()]

    handle = run(body)
    failure_of(handle)
    pid = record(handle).checkpoints[0].load_output()
    ready.touch()
    assert KitaruClient().executions.retry(handle.exec_id).wait(PATIENCE)[0] == pid


def test_s2_8_a_warm_child_follows_the_environment_and_the_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def body() -> list[Any]:
        seen = [apart.variable("FLAVOUR")]
        monkeypatch.setenv("FLAVOUR", "mint")
        monkeypatch.chdir(tmp_path)
        return [*seen, apart.variable("FLAVOUR")]

    before = str(Path.cwd())
    assert run(body).wait(PATIENCE) == [(None, before), ("mint", str(tmp_path))]


def test_s2_3_checkpoints_and_waits_inside_it_are_refused() -> None:
    def body() -> list[str]:
        told: list[str] = []
        for call in (apart.nested, apart.asks):
            try:
                call()
            except kitaru.KitaruContextError as error:
                told.append(str(error).partition(";")[0])
        return told

    told = run(body).wait(PATIENCE)
    assert told[0] == "inner() is called inside the checkpoint nested"
    assert "inside the checkpoint asks" in told[1]


def test_s3_4_an_argument_that_cannot_be_carried_is_refused() -> None:
    def body() -> None:
        apart.echo(threading.Lock())

    handle = run(body)
    error = failure_of(handle)
    assert "argument value" in str(error)
    assert record(handle).checkpoints == ()


def test_s2_8_one_that_no_other_process_could_find_is_refused_where_it_is_defined() -> None:
    with pytest.raises(KitaruUsageError, match=r"@checkpoint hidden: .*No other process can find it"):

        @checkpoint(runtime="isolated")
        def hidden() -> None: ...


@pytest.mark.parametrize("runtime", ["apart", None, 5, True])
def test_s2_8_an_unknown_runtime_is_refused(runtime: Any) -> None:
    with pytest.raises(KitaruUsageError, match=r"step: runtime=.*'inline', 'isolated' or Isolated"):

        @checkpoint(runtime=runtime)
        def step() -> None: ...


@pytest.mark.parametrize("memory", ["much", "5 TB", 0, -1, 1.5, True, ""])
def test_s2_8_a_bound_that_is_no_size_is_refused(memory: Any) -> None:
    with pytest.raises(KitaruUsageError, match=r"Isolated\(memory=.*\): bytes, or text"):
        Isolated(memory=memory)


@pytest.mark.parametrize(("memory", "size"), [("1KB", 1024), ("2 mb", 2 << 20), ("1GB", 1 << 30), (5, 5), ("7", 7)])
def test_s2_8_sizes_are_read_as_people_write_them(memory: Any, size: int) -> None:
    assert Isolated(memory=memory).memory == size


SCRIPT = """
    import kitaru
    from kitaru import checkpoint, flow

    class Found:
        def __init__(self, number):
            self.number = number

    @checkpoint(runtime="isolated")
    def step(number: int) -> int:
        return number * 10

    @flow
    def agent() -> int:
        return step(4)
"""


@pytest.fixture
def scripts(tmp_path: Path) -> Scripts:
    return Scripts(tmp_path / "work")


def test_s2_8_one_of_the_script_itself_is_found_again(scripts: Scripts) -> None:
    scripts.write("main.py", SCRIPT + '\n    if __name__ == "__main__":\n        print(agent.run().wait(60))\n')
    assert scripts.run("main.py") == ["40"]


def test_s2_8_a_script_that_would_start_its_flow_again_in_each_child_is_told_so(scripts: Scripts) -> None:
    text = """
    try:
        print(agent.run().wait(60))
    except kitaru.KitaruExecutionError as error:
        print(error.failure_origin, 'if __name__ == "__main__"' in str(error))
    """
    scripts.write("main.py", SCRIPT + text)
    assert scripts.run("main.py")[-1] == "runtime True"
    assert len(KitaruClient().executions.list()) == 1


def test_s2_8_children_end_with_a_process_that_is_killed(scripts: Scripts, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    scripts.write("steps.py", f"""
        import os, sys, time
        from pathlib import Path
        from kitaru import checkpoint, flow

        @checkpoint(runtime="isolated")
        def hang() -> None:
            Path({str(marks)!r}).write_text(f"{{os.getpid()}}\\n")
            time.sleep(600)

        @flow
        def agent() -> None:
            hang()
    """)  # fmt: skip
    scripts.write("main.py", "import steps\nsteps.agent.run().wait()\n")
    with scripts.started("main.py"):
        until(lambda: marks.exists() and marks.read_text().endswith("\n"))
    pid = marks.read_text().strip()
    until(lambda: not is_alive(pid))
