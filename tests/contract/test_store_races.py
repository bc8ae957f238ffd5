"""Several threads and several processes at one store (S6.2, S6.3)."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from kitaru.core.clock import SystemClock
from kitaru.core.mutations import CallRecorded, Claimed, Commit, Conflict, Fenced
from kitaru.core.ports import Store
from kitaru.core.states import Status
from kitaru.store import open_store
from tests.contract.stores import call, commit, create, execution, refusal, runner, start

Spawn = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Start ``tests.contract.processes`` with these arguments; whatever lives at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def go(*arguments: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.contract.processes", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(child)
        return child

    yield go
    for child in started:
        child.kill()
        child.communicate()


def _line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def _in_threads(count: int, work: Callable[[int], None]) -> None:
    failures: list[BaseException] = []
    gate = threading.Barrier(count)

    def run(number: int) -> None:
        gate.wait()
        try:
            work(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_of_many_threads_that_claim_one_execution_one_gets_it(store: Store) -> None:
    for number in range(8):
        store.runners.register(runner(f"r{number}"), lease_seconds=60)
    create(store, *[execution(f"e{number}") for number in range(10)])
    winners: dict[str, list[int]] = {f"e{number}": [] for number in range(10)}

    def claim(number: int) -> None:
        for execution_id, won in winners.items():
            answer = commit(store, None, Claimed(f"r{number}", Status.PENDING, 0, 1), execution_id=execution_id)
            if answer is None:
                won.append(number)
            else:
                assert refusal(answer) == (Conflict, Status.RUNNING)

    _in_threads(8, claim)
    for execution_id, won in winners.items():
        assert len(won) == 1
        row = store.executions.get(execution_id)
        assert row is not None
        assert (row.runner_id, row.epoch) == (f"r{won[0]}", 1)


def test_threads_write_and_read_side_by_side(store: Store) -> None:
    epoch = start(store)

    def work(number: int) -> None:
        for turn in range(20):
            assert commit(store, epoch, CallRecorded(call(f"step_{number}_{turn}"))) is None
            assert f"step_{number}_{turn}" in {row.call_id for row in store.calls.memo("exec")}

    _in_threads(6, work)
    assert len(store.calls.memo("exec")) == 120


def test_of_two_processes_that_claim_the_same_executions_each_gets_what_the_other_does_not(
    url: str, spawn: Spawn
) -> None:
    store = open_store(url, SystemClock())
    create(store, *[execution(f"e{number}") for number in range(40)])
    children = [spawn("race", url, name, "40") for name in ("one", "two")]
    for child in children:
        assert _line(child) == "ready"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    claimed = [child.communicate()[0].split() for child in children]
    assert sorted(claimed[0] + claimed[1]) == sorted(f"e{number}" for number in range(40))
    store.close()


def test_s6_3_a_killed_process_is_known_to_be_dead_long_before_its_lease_ends(embedded_url: str, spawn: Spawn) -> None:
    child = spawn("own", embedded_url, "exec", "doomed")
    assert _line(child) == "ready"
    store = open_store(embedded_url, SystemClock())
    store.runners.register(runner("heir"), lease_seconds=60)
    takeover = Claimed("heir", Status.RUNNING, 1, 1)
    assert not store.executions.is_orphan("exec")
    assert store.executions.orphans(project="project", stack="local", flow_refs=None, limit=5) == []
    assert refusal(commit(store, None, takeover)) == (Conflict, Status.RUNNING)

    child.kill()
    child.wait()

    assert commit(store, None, takeover) is None  # the claim judges for itself
    assert refusal(commit(store, 1, CallRecorded(call()))) == (Fenced, Status.RUNNING)
    store.close()


def test_s6_3_what_a_killed_process_left_is_listed_and_the_process_forgotten(embedded_url: str, spawn: Spawn) -> None:
    child = spawn("own", embedded_url, "exec", "doomed")
    assert _line(child) == "ready"
    store = open_store(embedded_url, SystemClock())
    assert [row.runner_id for row in store.runners.list()] == ["doomed"]

    child.kill()
    child.wait()

    (orphan,) = store.executions.orphans(project="project", stack="local", flow_refs=None, limit=5)
    assert orphan.execution_id == "exec"
    assert store.executions.is_orphan("exec")
    assert store.runners.list() == []
    store.close()


def test_processes_that_open_a_new_store_at_the_same_time_all_succeed(url: str, spawn: Spawn) -> None:
    children = [spawn("opened", url) for _ in range(4)]
    assert [child.communicate()[0] for child in children] == ["opened None\n"] * 4
    assert [child.returncode for child in children] == [0] * 4


def test_a_group_of_another_process_is_seen_whole_or_not_at_all(url: str) -> None:
    writer, reader = open_store(url, SystemClock()), open_store(url, SystemClock())
    start(writer)

    def work(number: int) -> None:
        if number == 0:
            for turn in range(30):
                group = [Commit("exec", 1, [CallRecorded(call(f"step_{turn}_{i}"))]) for i in range(10)]
                assert writer.commit(group) == [None] * 10
        else:
            for _ in range(30):
                assert len(reader.calls.memo("exec")) % 10 == 0

    _in_threads(2, work)
    writer.close()
    reader.close()
