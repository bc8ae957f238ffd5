"""W4: whole flows, eight at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

from benchmarks import work
from benchmarks.limits import bare_commits
from benchmarks.results import Row, Target

_AT_A_TIME = 8
_FLOWS = 400


def flows(home: Path) -> Iterator[Row]:
    """Flows of three steps per second, the median of three rounds."""
    work.three_steps.run(0).wait()
    bare = bare_commits(home)
    with ThreadPoolExecutor(_AT_A_TIME) as callers:
        rounds = [_round(callers) for _ in range(3)]
    yield Row(
        "W4 flows of 3 steps, 8 at a time",
        median(rounds),
        "/s",
        Target("figure", ">=", 500),
        bare.per_second(),
        "bare commits one by one",
        "W4",
    )


def _round(callers: ThreadPoolExecutor) -> float:
    started = time.perf_counter()
    for _ in callers.map(lambda number: work.three_steps.run(number).wait(), range(_FLOWS)):
        pass
    return _FLOWS / (time.perf_counter() - started)
