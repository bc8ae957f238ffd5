"""Each SQL statement of a run fails once, in turn, on both databases (S6.3).

The usual run takes some of the statements of each flow, the slow one all.
"""

from __future__ import annotations

import itertools
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from kitaru import flow
from kitaru.core.clock import SystemClock
from kitaru.core.ports import ExecutionFilter, StoreUnavailable
from kitaru.core.states import Status
from kitaru.errors import KitaruStoreError
from kitaru.services.settings import read_settings
from kitaru.services.wiring import Wiring, install, reset, wiring
from kitaru.store.executions import GET_STATUS
from kitaru.store.rows import Values
from kitaru.store.store import SqlStore
from kitaru.testing import memory_store
from tests.contract.stores import BACKENDS
from tests.faults.fragile import FLOWS, Effects, new_effects
from tests.faults.statements import MESSAGE, FailingDatabase
from tests.postgres import needs_postgres

EXECUTION_ID = "fragile"
PATIENCE = 20
STEP = 13
"""The usual run takes each thirteenth statement, from another one on for each flow."""


# On PostgreSQL each round makes a store of its own, which takes minutes: `make test-all` does it.
@pytest.fixture(params=[one if one != "postgres" else pytest.param(one, marks=pytest.mark.slow) for one in BACKENDS])
def backend(request: pytest.FixtureRequest) -> str:
    needs_postgres(request.param)
    return request.param


@pytest.fixture
def begin(backend: str, tmp_path: Path) -> Iterator[Callable[[type[KitaruStoreError]], FailingDatabase]]:
    """Let this test be a new process on a new database."""
    numbers = itertools.count()

    def new(error: type[KitaruStoreError]) -> FailingDatabase:
        reset()
        folder = tmp_path / str(next(numbers))
        opened = BACKENDS[backend](folder, SystemClock())
        database = FailingDatabase(opened._database, error)  # type: ignore[attr-defined]
        install(Wiring(read_settings({}), store=SqlStore(database)))  # type: ignore[arg-type]
        return database

    yield new
    reset()


def _run(flow: str) -> Any:
    return FLOWS[flow].run(1, execution_id=EXECUTION_ID).wait(PATIENCE)


def _until_it_ran(flow: str) -> Any:
    """As a caller does whose call fails: once more. What the store failed is retried by hand."""
    try:
        return _run(flow)
    except KitaruStoreError:
        return _run(flow)


def _count(flow: str, database: FailingDatabase) -> tuple[Any, Effects, int]:
    effects = new_effects()
    wiring().runner.begin()
    database.arm(0)
    return _run(flow), effects, database.statements


def _numbers(flow: str, statements: int, slow: bool) -> range:
    return range(1, statements + 1) if slow else range(1 + list(FLOWS).index(flow), statements + 1, STEP)


@pytest.mark.parametrize("slow", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["some", "all"])
@pytest.mark.parametrize("flow", FLOWS)
def test_s6_3_a_statement_that_finds_the_store_away_is_made_up_for(
    flow: str, slow: bool, begin: Callable[[type[KitaruStoreError]], FailingDatabase]
) -> None:
    result, usual, statements = _count(flow, begin(StoreUnavailable))
    failed = 0
    for number in _numbers(flow, statements, slow):
        database, effects = begin(StoreUnavailable), new_effects()
        wiring().runner.begin()
        database.arm(number)
        assert _until_it_ran(flow) == result, f"statement {number}"
        failed += database.failed.is_set()
        database.arm(0)  # a run with fewer statements than usual leaves none for those that look at it
        rows = wiring().store.executions.list(ExecutionFilter(), limit=100, after=None)
        assert {row.status for row in rows} == {Status.COMPLETED}
        assert effects.counts.keys() == usual.counts.keys()
        assert max((effects.counts - usual.counts).values(), default=0) <= 1
    assert failed


class FailsOnce(FailingDatabase):
    """Fails at the first look at a status on behalf of a function of this name."""

    def fail_for(self, function: str) -> None:
        self._function = function

    def read(self, statement: str, values: Mapping[str, object]) -> list[Values]:
        wanted = statement == GET_STATUS and any(frame.name == self._function for frame in traceback.extract_stack())
        if wanted and not self.failed.is_set():
            self.failed.set()
            raise StoreUnavailable(MESSAGE)
        return super().read(statement, values)


def test_s5_2_a_parent_that_cannot_be_suspended_for_now_is_woken_by_its_child_all_the_same() -> None:
    store = memory_store()
    database = FailsOnce(store._database, StoreUnavailable)  # type: ignore[attr-defined]
    database.fail_for("_suspend")
    install(Wiring(read_settings({}), store=SqlStore(database)))  # type: ignore[arg-type]
    new_effects()
    until_failed[:] = [database.failed]
    assert parent.run().wait(PATIENCE) == "came"
    reset()
    store.close()


def test_s2_5_a_body_does_not_take_a_store_that_is_away_for_a_failure_of_its_child() -> None:
    store = memory_store()
    database = FailsOnce(store._database, StoreUnavailable)  # type: ignore[attr-defined]
    database.fail_for("catching")
    install(Wiring(read_settings({}), store=SqlStore(database)))  # type: ignore[arg-type]
    new_effects()
    assert catching.run().wait(PATIENCE) == "came"
    assert database.failed.is_set()
    reset()
    store.close()


until_failed: list[threading.Event] = []


@flow
def child() -> str:
    assert until_failed[0].wait(PATIENCE)
    return "came"


@flow
def parent() -> str:
    return child.run().wait()


@flow
def catching() -> str:
    try:
        FLOWS["sequential"].run(1).wait()
    except Exception:
        return "failed"
    return "came"
