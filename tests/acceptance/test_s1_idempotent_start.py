"""S1.2: one id, however many start it at once."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import kitaru
from kitaru import KitaruClient, flow
from tests.acceptance.gates import PATIENCE
from tests.acceptance.processes import Scripts


def test_s1_2_twenty_threads_that_start_one_id_start_one_execution() -> None:
    runs: list[int] = []
    start = threading.Barrier(20)
    results: list[int] = []
    told: list[str] = []

    @flow
    def my_agent(x: int) -> int:
        runs.append(x)
        return 2 * x

    def begin(number: int) -> None:
        start.wait(PATIENCE)
        results.append(my_agent.run(21, execution_id="one").wait(PATIENCE))
        try:
            my_agent.run(number, execution_id="other-inputs").wait(PATIENCE)
            told.append("started")
        except kitaru.KitaruUsageError:
            told.append("refused")

    threads = [threading.Thread(target=begin, args=[number]) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert results == [42] * 20
    assert sorted(told) == ["refused"] * 19 + ["started"]
    assert runs.count(21) >= 1
    assert len(runs) == 2
    assert {execution.exec_id for execution in KitaruClient().executions.list()} == {"one", "other-inputs"}


@pytest.mark.parametrize("ends_without_waiting", [False, True])
def test_s1_2_five_processes_that_start_one_id_start_one_execution(tmp_path: Path, ends_without_waiting: bool) -> None:
    scripts = Scripts(tmp_path / "project")
    scripts.write(
        "agent.py",
        f"""
        import sys
        from kitaru import checkpoint, flow

        @checkpoint
        def effect(x: int) -> int:
            with open("effects", "a") as file:
                file.write("effect\\n")
            return 2 * x

        @flow
        def agent(x: int) -> int:
            return effect(x)

        print("ready", flush=True)
        sys.stdin.readline()
        for number in range(20):
            handle = agent.run(number, execution_id=f"id-{{number}}", cache=False)
            {"pass" if ends_without_waiting else "print(handle.wait())"}
        """,
    )
    processes = [scripts.popen("agent.py") for _ in range(5)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    answers = [process.communicate("go\n", timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 5, answers
    if not ends_without_waiting:
        assert [printed.split() for printed, _ in answers] == [[str(2 * number) for number in range(20)]] * 5, answers
    executions = KitaruClient().executions.list(limit=100)
    assert {(execution.exec_id, execution.result) for execution in executions} == {
        (f"id-{number}", 2 * number) for number in range(20)
    }
    assert scripts.lines("effects") == ["effect"] * 20


def test_s1_2_the_id_of_a_replay_is_no_id_of_a_run() -> None:
    @flow
    def agent(x: int) -> int:
        return x

    first = agent.run(1, execution_id="first")
    assert first.wait(PATIENCE) == 1
    again = KitaruClient().executions.replay("first", execution_id="again")
    assert again.wait(PATIENCE) == 1
    with pytest.raises(kitaru.KitaruUsageError, match="'again' is taken: it is recorded for a replay of first"):
        agent.run(1, execution_id="again")
    with pytest.raises(kitaru.KitaruUsageError, match="'first' is taken: it is recorded for flow agent, and no replay"):
        KitaruClient().executions.replay("first", execution_id="first")
    assert agent.run(1, execution_id="first").wait(PATIENCE) == 1
