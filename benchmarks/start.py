"""W1: from the start of a process to the result of its first flow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.limits import bare_python
from benchmarks.results import Row, Target

_RUNS = 7


def start(home: Path) -> Iterator[Row]:
    """Medians of seven processes. Each begins with an empty home, so the store is made as well."""
    bare = bare_python()
    runs = [_first_flow(home / f"start-{number}") for number in range(_RUNS)]
    imported = median(run["imported"] for run in runs)
    yield Row("W1 from kitaru import checkpoint, flow", imported, "s", Target("figure", "<=", 0.15))
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


def _first_flow(home: Path) -> dict[str, float]:
    started = time.time()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.first_flow"],
        env={**os.environ, "KITARU_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return {**figures, "seconds": figures["ended"] - started}
