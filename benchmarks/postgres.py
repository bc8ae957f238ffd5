"""PostgreSQL over a local socket: a step, whole flows, and a claim beside 100,000 finished executions."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import work
from benchmarks.results import Row, Target
from kitaru import KitaruClient
from kitaru.core.clock import SystemClock
from kitaru.core.mutations import Claimed, Commit, ExecutionCreated
from kitaru.core.ports import ExecutionFilter
from kitaru.core.rows import ExecutionRow, RunnerRow
from kitaru.core.states import Status
from kitaru.services import wiring
from kitaru.store import open_store
from tests.postgres import MISSING, Server, binaries

_AT_A_TIME = 8
_FLOWS = 400
_WORKERS = 8
_QUEUED = 2_000


def postgres(home: Path) -> Iterator[Row]:
    """All of them, on a server of our own that waits for the disk."""
    if binaries() is None:
        print(MISSING)
        return
    home.chmod(0o711)  # the server runs as another user where this one is root
    server = Server(durable=True, folder=home / "postgres")
    try:
        yield from _step(server)
        limit = _pgbench(server) / _COMMITS
        yield from _flows(server, limit)
        yield from _workers(server, limit)
        yield from _claim(server)
    finally:
        server.remove()


@contextmanager
def _store(url: str) -> Iterator[None]:
    """The flows of this process run on the store at ``url`` meanwhile."""
    before = os.environ.get("KITARU_STORE")
    os.environ["KITARU_STORE"] = url
    wiring.reset()
    try:
        yield
    finally:
        wiring.reset()
        del os.environ["KITARU_STORE"]
        if before is not None:
            os.environ["KITARU_STORE"] = before


def _step(server: Server) -> Iterator[Row]:
    import psycopg

    url = server.database()
    with _store(url), psycopg.connect(url, autocommit=True) as connection:
        work.sequential.run(300).wait()
        connection.execute("CREATE TABLE bare (LIKE calls INCLUDING ALL)")
        names = [str(row[0]) for row in connection.execute("SELECT attname FROM pg_attribute WHERE attrelid = 'bare'::regclass AND attnum > 0 ORDER BY attnum")]  # noqa: E501  # fmt: skip
        values = list(connection.execute("SELECT * FROM calls ORDER BY position DESC LIMIT 1").fetchone() or ())
        insert = f"INSERT INTO bare ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))})"
        commits: list[float] = []

        def bare(index: int) -> None:
            values[names.index("call_id")] = f"step_{index}"
            values[names.index("cache_key")] = f"{index:032x}"
            started = time.perf_counter()
            connection.execute(insert, values)
            commits.append(time.perf_counter() - started)

        before, work.between = work.between, bare
        try:
            took = work.sequential.run(1_000).wait()
        finally:
            work.between = before
    yield Row(
        "PostgreSQL: W2 sequential, a step",
        statistics.median(took) * 1e3,
        "ms",
        Target("ratio", "<=", 1.6),
        statistics.median(commits) * 1e3,
        "one autocommitted INSERT",
        "",
    )


def _flows(server: Server, limit: float) -> Iterator[Row]:
    """Eight threads, each one flow after the other."""
    with _store(server.database()), ThreadPoolExecutor(_AT_A_TIME) as callers:
        work.three_steps.run(0).wait()
        rates: list[float] = []
        for _ in range(3):
            started = time.perf_counter()
            for _ in callers.map(lambda number: work.three_steps.run(number).wait(), range(_FLOWS)):
                pass
            rates.append(_FLOWS / (time.perf_counter() - started))
    yield Row(
        "PostgreSQL: W4 flows of 3 steps, 8 at a time in one process",
        statistics.median(rates),
        "/s",
        Target("figure", ">=", 300),
        limit,
        _LIMIT,
        "",
    )


def _workers(server: Server, limit: float) -> Iterator[Row]:
    """Executions that are queued before the workers start: from the first that begins to the last that ends."""
    url = server.database()
    with _store(url):
        KitaruClient().stacks.create("crew", "worker")
        for number in range(_QUEUED):
            work.three_steps.run(number, stack="crew")
        store: Any = wiring.wiring().store
        command = [sys.executable, "-m", "kitaru", "worker", "--stack", "crew", "--concurrency", "8"]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        workers = [
            subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for _ in range(_WORKERS)
        ]
        unfinished = ExecutionFilter(statuses=(Status.PENDING, Status.RUNNING))
        try:
            while store.executions.list(unfinished, limit=1, after=None):
                time.sleep(0.5)
        finally:
            for worker in workers:
                worker.terminate()
            for worker in workers:
                worker.wait()
        schema = url.rpartition("%3D")[2]
        ((took,),) = server.sql(f"SELECT (MAX(ended_at) - MIN(started_at)) / 1e6 FROM {schema}.executions")
    yield Row(
        f"PostgreSQL: W4 flows of 3 steps, {_QUEUED} queued for {_WORKERS} workers",
        _QUEUED / float(took),
        "/s",
        Target("figure", ">=", 300),
        limit,
        _LIMIT,
        "",
    )


_COMMITS = 6
"""Of a flow of three steps: it is made, claimed, does three steps and ends."""

_LIMIT = f"pgbench, 8 clients, {_COMMITS} commits for a flow"


def _pgbench(server: Server) -> float:
    """Commits a second that the server reaches with eight clients: one INSERT each."""
    server.sql("CREATE TABLE IF NOT EXISTS bare_bench (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text TEXT)")
    script = server.folder / "insert.sql"
    script.write_text("INSERT INTO bare_bench (text) VALUES (repeat('x', 600));\n")
    script.chmod(0o644)
    answer = subprocess.run(
        [server.binaries / "pgbench", "-n", "-h", server.folder, "-U", "kitaru", "-c", "8", "-j", "2", "-T", "4",
         "-M", "prepared", "-f", script, "postgres"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return float(answer.split("tps = ")[1].split()[0])


def _claim(server: Server) -> Iterator[Row]:
    """The 99th percentile of 500 claims."""
    store: Any = open_store(server.database(), SystemClock())
    now = SystemClock().now()
    row = ExecutionRow("", "project", "flow", "module:flow", Status.COMPLETED, "local", "{}", "digest", now)
    for first in range(0, 100_000, 2_000):
        rows = [row._replace(execution_id=f"done{number}") for number in range(first, first + 2_000)]
        store.commit([Commit(one.execution_id, None, [ExecutionCreated(one)]) for one in rows])
    store.runners.register(RunnerRow("runner", "local", "host", 1, 0), lease_seconds=600)
    took: list[float] = []
    for number in range(500):
        new = row._replace(execution_id=f"new{number}", status=Status.PENDING)
        store.commit([Commit(new.execution_id, None, [ExecutionCreated(new)])])
        started = time.perf_counter()
        (found,) = store.runners.take("runner", project="project", stack="local", apart_from=(), limit=1)
        assert store.commit([Commit(found.execution_id, None, [Claimed("runner", Status.PENDING, 0, 1)])]) == [None]
        took.append(time.perf_counter() - started)
    store.close()
    yield Row(
        "PostgreSQL: p99 of a claim beside 100,000 finished executions",
        statistics.quantiles(took, n=100)[98] * 1e3,
        "ms",
        Target("figure", "<=", 50),
        statistics.median(took) * 1e3,
        "the median claim",
        "",
    )
