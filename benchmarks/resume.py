"""W5: how long a process that retries takes from many recorded steps to the first new one.

As a script it is one of two processes: `record` runs a flow whose last step fails, `retry` runs that
execution again, and prints as JSON what it measured. The last step fails again, so it can be repeated.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.memory import peak_memory_mb
from benchmarks.results import Row, Target
from benchmarks.work import step
from kitaru import KitaruClient, KitaruExecutionError, checkpoint, flow

_RUNS = 5
_CALLS_PER_SECOND = 60_000
_reached = 0.0  # owned by `last`: when it ran


@checkpoint
def last() -> None:
    global _reached
    _reached = time.perf_counter()
    raise RuntimeError("the step that is to be retried")


@flow(cache=False)
def long_flow(count: int) -> None:
    for index in range(count):
        step(index)
    last()


def resume(_: Path) -> Iterator[Row]:
    """Medians of five processes. The clock runs from the call of ``retry``, with the store open."""
    for count in (2_000, 10_000):
        exec_id = f"resume-{count}"
        _child("record", exec_id, str(count))
        runs = [_child("retry", exec_id) for _ in range(_RUNS)]
        took = median(run["seconds"] for run in runs)
        name = f"W5 retry with {count:,} recorded: to the first new step"
        yield Row(name, took, "s", Target("figure", "<=", count / _CALLS_PER_SECOND), peer_key=f"W5 {count}")
        memory = median(run["memory"] for run in runs)
        yield Row(f"W5 peak memory, {count:,} recorded", memory, "MB", peer_key=f"W5 memory {count}")


def _child(*arguments: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.resume", *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)


def _record(exec_id: str, count: int) -> dict[str, float]:
    try:
        long_flow.run(count, execution_id=exec_id).wait()
    except KitaruExecutionError:
        return {}
    raise RuntimeError("the flow was to fail")


def _retry(exec_id: str) -> dict[str, float]:
    executions = KitaruClient().executions
    executions.list(limit=1)  # the store is open now
    started = time.perf_counter()
    try:
        executions.retry(exec_id).wait()
    except KitaruExecutionError:
        return {"seconds": _reached - started, "memory": peak_memory_mb()}
    raise RuntimeError("the flow was to fail again")


if __name__ == "__main__":
    command, exec_id, *rest = sys.argv[1:]
    print(json.dumps(_record(exec_id, int(rest[0])) if command == "record" else _retry(exec_id)))
