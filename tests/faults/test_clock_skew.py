"""Processes whose clocks are an hour apart share a server: leases are judged by its clock alone (S6.2)."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from kitaru import checkpoint, flow
from kitaru.core.clock import Microseconds, SystemClock
from kitaru.services.settings import read_settings
from kitaru.services.start import StartOptions, start
from kitaru.services.wiring import Wiring
from kitaru.store import open_store
from tests.postgres import needs_postgres, postgres_server

PATIENCE = 20.0
HOUR = 3600.0

_may_end = threading.Event()
_ran: list[str] = []


class SkewedClock(SystemClock):
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def now(self) -> Microseconds:
        return super().now() + round(self._seconds * 1_000_000)


@checkpoint(cache=False)
def slow() -> str:
    _ran.append("slow")
    assert _may_end.wait(PATIENCE)
    return "done"


@flow
def held() -> str:
    return slow()


@pytest.fixture
def processes() -> Iterator[list[Wiring]]:
    needs_postgres()
    url = postgres_server().database()
    clocks = [SkewedClock(skew) for skew in (HOUR, 0.0, -HOUR)]
    made = [Wiring(read_settings({}), store=open_store(url, SystemClock()), clock=clock) for clock in clocks]
    yield made
    _may_end.set()
    for process in made:
        process.close()


@pytest.mark.parametrize("owner", [0, 1, 2], ids=["ahead", "right", "behind"])
def test_s6_2_nobody_takes_over_from_a_process_whose_clock_is_wrong(owner: int, processes: list[Wiring]) -> None:
    _may_end.clear()
    _ran.clear()
    active = start(processes[owner], held.definition, (), {}, StartOptions(execution_id="held")).active
    assert active is not None
    for process in processes:
        process.runner.begin()
        process.runner.sweep()
        assert not process.store.executions.is_orphan("held")
    _may_end.set()
    assert active.left.wait(PATIENCE)
    assert active.outcome is not None
    assert active.outcome.status == "completed"
    assert _ran == ["slow"]
