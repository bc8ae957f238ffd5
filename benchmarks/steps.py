"""W2, W3, W6 and growth: what a step costs, one after the other, all at once, large, and late."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from benchmarks import work
from benchmarks.limits import BareCommits, bare_commits, write_and_sync
from benchmarks.results import Row, Target

_MIB = 1 << 20


def sequential(home: Path) -> Iterator[Row]:
    """W2: each step in turns with one bare commit, the median of 1,000."""
    bare = _warm(home)
    commits: list[float] = []
    took = _with(lambda _: commits.append(bare.commit()), lambda: work.sequential.run(1_000).wait())
    yield Row(
        "W2 sequential, a step",
        median(took) * 1e3,
        "ms",
        Target("ratio", "<=", 1.5),
        median(commits) * 1e3,
        "one bare commit",
        "W2",
    )


def fan_out(home: Path) -> Iterator[Row]:
    """W3 and W3s: submitted steps, in turns with bare commits. Medians; the first fan-out starts the threads."""
    bare = _warm(home)
    for name, key, flow in (("threads", "W3", work.fan_out), ("asyncio.gather", "", work.fan_out_on_loop)):
        rounds = [(bare.per_second(), 1_000 / flow.run(1_000).wait()) for _ in range(10)]
        for which, key_, some in (("first in a process", "", rounds[:1]), ("later ones", key, rounds[1:])):
            yield Row(
                f"W3 1,000 steps at once, {name}, {which}",
                median(rate for _, rate in some),
                "/s",
                Target("ratio", ">=", 5),
                median(limit for limit, _ in some),
                "bare commits one by one",
                key_,
            )
    for name, key, flow in (
        ("W3s 500 x 50 ms in threads", "W3s", work.fan_out_of_pauses),
        ("W3s 500 x 50 ms in asyncio", "", work.fan_out_of_async_pauses),
    ):
        took = median(flow.run(500, 0.05).wait() for _ in range(5))
        yield Row(name, took, "s", Target("figure", "<=", 0.2), 0.05, "the pause itself", key)


def large(home: Path) -> Iterator[Row]:
    """W6: 1 MiB that no codec can compress, in turns with a file of the same size."""
    _warm(home)
    data = os.urandom(_MIB)
    files: list[float] = []
    took = _with(
        lambda index: files.append(write_and_sync(home / f"file-{index}", data)),
        lambda: work.sequential_large.run(40, _MIB).wait(),
    )
    yield Row(
        "W6 a result of 1 MiB",
        median(took) * 1e3,
        "ms",
        Target("ratio", "<=", 2),
        median(files) * 1e3,
        "write and fsync a file",
        "W6",
    )


def growth(home: Path) -> Iterator[Row]:
    """W2 at 10,000 recorded steps against 100. Both are divided by the bare commits beside them."""
    bare = _warm(home)
    early, late = range(100, 600), range(10_000, 10_500)
    commits: dict[int, float] = {}

    def between(index: int) -> None:
        if index in early or index in late:
            commits[index] = bare.commit()

    took = _with(between, lambda: work.sequential.run(late.stop).wait())

    def relative(window: range) -> float:
        return median(took[index] for index in window) / median(commits[index] for index in window)

    yield Row(
        "Growth: a step after 10,000, in bare commits",
        relative(late),
        "commits",
        Target("ratio", "<=", 1.2),
        relative(early),
        "a step after 100",
    )


def isolated(home: Path) -> Iterator[Row]:
    """An isolated step in a warm child, in turns with an inline one; the difference is what isolation costs."""
    _warm(home)
    pairs = work.isolated_and_inline.run(300).wait()
    yield Row(
        "Isolated: a step in a warm child",
        median(apart for apart, _ in pairs) * 1e3,
        "ms",
        Target("figure", "<=", 60),
        median(inline for _, inline in pairs) * 1e3,
        "an inline step",
    )


def _warm(home: Path) -> BareCommits:
    """Until both write-ahead logs have their full length: a commit that makes its log longer takes longer."""
    work.sequential.run(500).wait()
    bare = bare_commits(home)
    bare.per_second(500)
    return bare


def _with(between: Callable[[int], None], run: Callable[[], list[float]]) -> list[float]:
    before, work.between = work.between, between
    try:
        return run()
    finally:
        work.between = before
