"""Timers go by the store's clock, however wrong that of the process is (S5.6, S5.8, S6.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import kitaru
from kitaru import Retry, checkpoint, flow
from kitaru.core.clock import Microseconds, SystemClock, to_datetime
from kitaru.core.ports import Store
from kitaru.engine.definitions import FlowDefinition
from kitaru.services.settings import read_settings
from kitaru.services.start import StartOptions, start
from kitaru.services.wiring import Wiring
from kitaru.store import open_store
from tests.acceptance.gates import until
from tests.contract.stores import BACKENDS, SECOND, START, ManualClock
from tests.postgres import needs_postgres, postgres_server

PATIENCE = 20.0
HOUR = 3600
LEASE = 1_000_000.0
DUE = 30
"""Seconds after which each of the flows goes on."""


class SkewedClock(SystemClock):
    """The machine's clock, which is wrong. Durations are right."""

    def __init__(self, seconds: int, right: Callable[[], Microseconds]) -> None:
        self._seconds = seconds
        self._right = right

    def now(self) -> Microseconds:
        return self._right() + self._seconds * SECOND


_tries: list[int] = []


@checkpoint(retry=Retry(attempts=2, delay=DUE), cache=False)
def fails_once() -> str:
    _tries.append(1)
    if len(_tries) == 1:
        raise ConnectionError("not yet")
    return "done"


@flow
def sleeps() -> str:
    kitaru.sleep(DUE)
    return "done"


@flow
async def sleeps_on_a_loop() -> str:
    await kitaru.sleep(DUE)
    return "done"


@flow
def sleeps_until() -> str:
    kitaru.sleep_until(to_datetime(START) + timedelta(seconds=DUE))
    return "done"


@flow
def expires() -> Any:
    return kitaru.wait("answer", schema=str, expires_in=DUE, default="done")


@flow
def retries() -> str:
    return fails_once()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=BACKENDS)
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> Iterator[Store]:
    needs_postgres(request.param)
    _tries.clear()
    opened = BACKENDS[request.param](tmp_path, clock)
    yield opened
    opened.close()


@pytest.mark.parametrize("skew", [HOUR, -HOUR], ids=["ahead", "behind"])
@pytest.mark.parametrize(
    "definition",
    [one.definition for one in (sleeps, sleeps_on_a_loop, sleeps_until, expires, retries)],
    ids=lambda one: one.name,
)
def test_s6_2_a_suspended_flow_goes_on_when_the_store_says_that_it_is_time(
    definition: FlowDefinition, skew: int, store: Store, clock: ManualClock
) -> None:
    process = Wiring(read_settings({}), store=store, clock=SkewedClock(skew, clock.now), lease_seconds=LEASE)
    try:
        start(process, definition, (), {}, StartOptions(execution_id="timed"))
        until(lambda: store.executions.status("timed") == "waiting")
        assert store.executions.next_due(project=process.settings.project, stack="local") == START + DUE * SECOND
        clock.pass_(DUE - 1)
        process.runner.beat()
        assert store.executions.status("timed") == "waiting"
        clock.pass_(1)
        until(lambda: store.executions.status("timed") == "completed")
    finally:
        process.close()


@pytest.mark.parametrize("skew", [HOUR, -HOUR], ids=["ahead", "behind"])
def test_s6_2_a_process_learns_the_time_of_the_server(skew: int, monkeypatch: pytest.MonkeyPatch) -> None:
    needs_postgres()
    right = SystemClock()
    monkeypatch.setattr("kitaru.store.postgres._machine", SkewedClock(skew, right.now))
    before = right.now()
    store = open_store(postgres_server().database(), SystemClock())
    try:
        assert abs(store.now() - before) < HOUR * SECOND / 2
        monkeypatch.setattr("kitaru.store.postgres._machine", SkewedClock(-skew, right.now))  # somebody sets the clock
        assert not store.runners.heartbeat("any", lease_seconds=1)
        assert abs(store.now() - before) < HOUR * SECOND / 2
    finally:
        store.close()
