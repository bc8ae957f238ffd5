"""An execution is deleted and its id used again, while a runner that stood still knows nothing of it (S6.2)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitaru import checkpoint, flow
from kitaru.core.clock import SystemClock
from kitaru.core.states import CallStatus
from kitaru.services.cancel import cancel
from kitaru.services.settings import read_settings
from kitaru.services.start import StartOptions, start
from kitaru.services.wiring import Wiring
from tests.contract.stores import BACKENDS
from tests.postgres import needs_postgres

PATIENCE = 10.0

_gates: dict[str, threading.Event] = {}
_inside: list[str] = []
_entered = threading.Semaphore(0)


@checkpoint(cache=False)
def whose() -> str:
    name = "owner" if _inside else "zombie"
    _inside.append(name)
    _entered.release()
    assert _gates[name].wait(PATIENCE)
    return name


@flow
def held() -> str:
    return whose()


@pytest.fixture(params=BACKENDS)
def processes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Wiring, Wiring]]:
    """Two processes that share a store of each kind."""
    needs_postgres(request.param)
    _gates.update(zombie=threading.Event(), owner=threading.Event())
    _inside.clear()
    store = BACKENDS[request.param](tmp_path, SystemClock())
    pair = Wiring(read_settings({}), store=store), Wiring(read_settings({}), store=store)
    yield pair
    for gate in _gates.values():
        gate.set()
    for process in pair:
        process.close()


def test_s6_2_a_zombie_of_a_deleted_execution_writes_nothing_to_the_one_that_has_its_id_now(
    processes: tuple[Wiring, Wiring],
) -> None:
    zombie, owner = processes
    start(zombie, held.definition, (), {}, StartOptions(execution_id="again"))
    assert _entered.acquire(timeout=PATIENCE)
    assert zombie.runner._heartbeat is not None
    zombie.runner._heartbeat.end()  # it stands still
    cancel(owner, "again")
    owner.store.executions.delete("again")
    again = start(owner, held.definition, (), {}, StartOptions(execution_id="again")).active
    assert again is not None
    assert _entered.acquire(timeout=PATIENCE)
    stopped = zombie.runner.active("again")
    assert stopped is not None
    _gates["zombie"].set()
    assert stopped.left.wait(PATIENCE)
    assert [row.output for row in owner.store.calls.of("again") if row.status is CallStatus.COMPLETED] == []
    _gates["owner"].set()
    assert again.left.wait(PATIENCE)
    row = owner.store.executions.get("again")
    assert row is not None
    assert (row.status, row.result) == ("completed", '"owner"')
