"""Waiting: what a process costs while nothing happens, with ten thousand executions waiting in its store.

As a script it is that process: it runs a flow that waits too, so that it has a lease, a heartbeat and
something to wake, and prints as JSON what it used while it was idle.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import kitaru
from benchmarks.memory import peak_memory_mb
from benchmarks.results import Row, Target
from kitaru.core.mutations import Claimed, Commit, ExecutionCreated, Mutation, Suspended, WaitOpened
from kitaru.core.rows import CallRow, ExecutionRow, RunnerRow, WaitRow
from kitaru.core.states import CallKind, CallStatus, Status, WaitStatus
from kitaru.services.wiring import wiring

_WAITING = 10_000
_SECONDS = 30
_A_DAY = 86_400_000_000
_GROUP = 500


@kitaru.flow
def patient() -> None:
    kitaru.wait("approval", question="Go on?")


def waiting(_: Path) -> Iterator[Row]:
    """One process, once with an empty store and once with many waiting executions, half of them with a timer."""
    for count in (0, _WAITING):
        _record(count)
        idle = _idle_process()
        name = f"{count:,} waiting executions, idle"
        yield Row(f"{name}: of one core", idle["cpu"] * 100, "%", Target("figure", "<=", 1.0))
        yield Row(f"{name}: threads", idle["threads"], "")
        yield Row(f"{name}: memory", idle["memory"], "MB")


def _record(count: int) -> None:
    """Executions as they are recorded when their flows wait; the process that ran them has ended."""
    store, now = wiring().store, wiring().clock.now()
    store.runners.register(RunnerRow("gone", "local", "host", 1, 0), lease_seconds=60)
    project = wiring().settings.project
    for first in range(0, count, _GROUP):
        ids = [f"waiting-{number}" for number in range(first, min(first + _GROUP, count))]
        _commit(None, {id_: ExecutionCreated(_execution(id_, project, now)) for id_ in ids})
        _commit(None, dict.fromkeys(ids, Claimed("gone", Status.PENDING, 0, 1)))
        _commit(1, dict.fromkeys(ids, WaitOpened(_wait(now), _call(now))))
        due = itertools.cycle((now + _A_DAY, None))
        _commit(1, {id_: Suspended(("approval",), (), next(due)) for id_ in ids})
    store.runners.retire("gone")


def _commit(epoch: int | None, mutations: Mapping[str, Mutation]) -> None:
    answers = wiring().store.commit([Commit(id_, epoch, (one,)) for id_, one in mutations.items()])
    if any(answers):
        raise RuntimeError(f"the store refused: {answers}")


def _execution(execution_id: str, project: str, now: int) -> ExecutionRow:
    return ExecutionRow(
        execution_id=execution_id,
        project=project,
        flow="patient",
        flow_ref=patient.definition.reference,
        status=Status.PENDING,
        stack="local",
        inputs="{}",
        input_digest="",
        created_at=now,
    )


def _wait(now: int) -> WaitRow:
    return WaitRow("approval", "approval", WaitStatus.OPEN, now, question="Go on?")


def _call(now: int) -> CallRow:
    return CallRow("approval", "approval", CallKind.WAIT, 0, "", 1, "{}", CallStatus.RUNNING, 0, now)


def _idle_process() -> dict[str, float]:
    done = subprocess.run([sys.executable, "-m", "benchmarks.waiting"], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def _idle() -> dict[str, float]:
    handle = patient.run()
    while handle.status != "waiting":
        time.sleep(0.05)
    time.sleep(2)  # what begins with the process has been done
    used = time.process_time()
    time.sleep(_SECONDS)
    cpu = (time.process_time() - used) / _SECONDS
    return {"cpu": cpu, "threads": threading.active_count(), "memory": peak_memory_mb()}


if __name__ == "__main__":
    print(json.dumps(_idle()))
