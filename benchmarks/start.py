"""W1: from the start of a process to the result of its first flow.

As a script it is that process: `python -m benchmarks.start import|flow` prints what it measured as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.limits import bare_python, peak_memory_mb
from benchmarks.results import Row, Target

_RUNS = 7


def start(home: Path) -> Iterator[Row]:
    """Each process begins with an empty home, so the store is made as well."""
    bare = bare_python()
    imports = [_child("import", home / "unused")["seconds"] for _ in range(_RUNS)]
    yield Row("W1 import kitaru", median(imports), "s", Target("figure", "<=", 0.15))
    runs = [_child("flow", home / f"start-{number}") for number in range(_RUNS)]
    yield Row(
        "W1 process start to the result of 3 steps",
        median(run["seconds"] for run in runs),
        "s",
        Target("figure", "<=", 0.5),
        bare,
        "python -c 'import sqlite3'",
        "W1",
    )
    memory = median(run["memory"] for run in runs)
    yield Row("W1 peak memory", memory, "MB", Target("figure", "<=", 60), peer_key="W1 memory")


def _child(what: str, home: Path) -> dict[str, float]:
    started = time.time()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.start", what, str(home)], stdout=subprocess.PIPE, text=True, check=True
    )
    figures: dict[str, float] = json.loads(done.stdout)
    if what == "flow":
        figures["seconds"] = figures["ended"] - started
    return figures


def _import() -> dict[str, float]:
    started = time.perf_counter()
    import kitaru

    assert kitaru
    return {"seconds": time.perf_counter() - started}


def _flow(home: str) -> dict[str, float]:
    import os

    os.environ["KITARU_HOME"] = home
    from benchmarks.work import three_steps

    three_steps.run(1).wait()
    return {"ended": time.time(), "memory": peak_memory_mb()}


if __name__ == "__main__":
    print(json.dumps(_import() if sys.argv[1] == "import" else _flow(sys.argv[2])))
