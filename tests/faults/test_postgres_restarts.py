"""PostgreSQL crashes, and cuts its connections, while workers are at work (S6.3).

The usual run is a small one; the slow one has 8 workers and 500 executions.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.postgres import Server, needs_postgres
from tests.soak.fleet import Fleet, a_fleet, some_flow

DATABASE = "kitaru"
CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'kitaru' AND random() < 0.5"


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of the test's own, because it is going to crash."""
    needs_postgres()
    started = Server()
    started.sql(f"CREATE DATABASE {DATABASE}")
    yield started
    started.remove()


def _crash(server: Server) -> None:
    server.stop("immediate")
    time.sleep(0.5)
    server.start()


def _cut(server: Server) -> None:
    for _ in range(10):
        server.sql(CUT)
        time.sleep(0.1)


FAULTS: dict[str, Callable[[Server], None]] = {"crashes": _crash, "cuts its connections": _cut}


@pytest.mark.parametrize(
    ("workers", "executions", "times"), [(2, 60, 2), pytest.param(8, 500, 8, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("fault", FAULTS)
def test_s6_3_everything_is_finished_and_nothing_recorded_done_twice_though_the_server(
    fault: str, workers: int, executions: int, times: int, server: Server, tmp_path: Path
) -> None:
    chance = random.Random(fault)
    with a_fleet(tmp_path, server.url(DATABASE), workers=workers) as fleet:
        _submit(fleet, executions, chance)
        for _ in range(times):
            time.sleep(1)
            FAULTS[fault](server)
            fleet.answer_waits()
        fleet.finish()
        report = fleet.report()
        assert report.fine, (report, fleet.complaints())


def _submit(fleet: Fleet, executions: int, chance: random.Random) -> None:
    for _ in range(executions):
        fleet.submit(some_flow(chance))
