"""An execution is deleted and its id used again, while a runner that stood still knows nothing of it (S6.2)."""

from __future__ import annotations

import threading

import pytest

from kitaru import checkpoint, flow
from kitaru.core.states import CallStatus
from kitaru.services.cancel import cancel
from kitaru.services.settings import read_settings
from kitaru.services.start import StartOptions, start
from kitaru.services.wiring import Wiring

PATIENCE = 10.0

_gates = {"zombie": threading.Event(), "owner": threading.Event()}
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


@pytest.mark.xfail(strict=True, reason="epochs of an id begin at 1 again once its execution was deleted")
def test_s6_2_a_zombie_of_a_deleted_execution_writes_nothing_to_the_one_that_has_its_id_now() -> None:
    zombie, owner = Wiring(read_settings({})), Wiring(read_settings({}))
    again = None
    try:
        start(zombie, held.definition, (), {}, StartOptions(execution_id="again"))
        assert _entered.acquire(timeout=PATIENCE)
        assert zombie.runner._heartbeat is not None
        zombie.runner._heartbeat.end()  # it stands still
        cancel(owner, "again")
        owner.store.executions.delete("again")
        again = start(owner, held.definition, (), {}, StartOptions(execution_id="again")).active
        assert _entered.acquire(timeout=PATIENCE)
        stopped = zombie.runner.active("again")
        assert stopped is not None
        _gates["zombie"].set()
        assert stopped.left.wait(PATIENCE)
        assert [row.output for row in owner.store.calls.of("again") if row.status is CallStatus.COMPLETED] == []
    finally:
        _gates["owner"].set()
        if again is not None:
            again.left.wait(PATIENCE)
        zombie.close()
        owner.close()
