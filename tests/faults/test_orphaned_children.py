"""A parent and its child that are left behind together (S1.10, S6.3)."""

from __future__ import annotations

import threading

import pytest

import kitaru
from kitaru import KitaruClient, checkpoint, flow
from kitaru.core.ports import Store
from kitaru.core.states import Status
from kitaru.services.settings import read_settings
from kitaru.services.wiring import Wiring, install, reset, wiring
from kitaru.testing import memory_store
from tests.faults.stores import FailingStore

PATIENCE = 20

_inside = threading.Event()
_may_start = threading.Event()
_refused: list[int] = []


@checkpoint
def refuse(x: int) -> int:
    _refused.append(x)
    raise ValueError(f"no {x}")


@flow
def refusing(x: int) -> int:
    return refuse(x)


@flow
def parent(x: int) -> str:
    _inside.set()
    assert _may_start.wait(PATIENCE)
    try:
        return str(refusing.run(x, execution_id="child").wait())
    except kitaru.KitaruUserCodeError as error:
        return str(error.__cause__)


def _process(store: Store, commits: int | None) -> None:
    """From now on this test is a new process, whose store takes that many commits."""
    install(
        Wiring(read_settings({}), store=FailingStore(store, lambda number: commits is not None and number > commits))
    )


def test_s6_3_a_child_that_was_picked_up_before_its_parent_asked_for_it_does_not_run_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _refused.clear()
    store = memory_store()
    _process(store, commits=2)  # both are recorded, and nothing more
    _may_start.set()
    active = [wiring().runner.active(parent.run(1, execution_id="parent").exec_id)]
    active.append(wiring().runner.active("child"))
    for one in active:
        assert one is None or one.done.wait(PATIENCE)
    assert store.executions.status("child") is Status.RUNNING

    _may_start.clear()
    _inside.clear()
    _process(store, commits=None)
    _refused.clear()
    with monkeypatch.context() as patch:
        patch.setattr(wiring().runner, "sweep", lambda: None)  # the heartbeat's, until the parent has begun
        handle = KitaruClient().executions.resume("parent")
        assert _inside.wait(PATIENCE)
    wiring().runner.sweep()
    child = wiring().runner.active("child")
    assert child is None or child.done.wait(PATIENCE)
    assert store.executions.status("child") is Status.FAILED
    _may_start.set()

    assert handle.wait(PATIENCE) == "no 1"
    assert _refused == [1]
    reset()
    store.close()


_parked_at_child = threading.Event()
_child_may_end = threading.Event()


@flow
def held() -> None:
    assert _child_may_end.wait(PATIENCE)


@flow
def waits_for_a_child_that_was_picked_up() -> None:
    handle = held.run()
    handle._active = None  # as where the sweep has claimed the child, and the body has found it running
    _parked_at_child.set()
    handle.wait()


def test_s9_a_parent_is_told_that_its_childs_end_was_not_taken_while_the_store_still_takes_nothing() -> None:
    _parked_at_child.clear()
    _child_may_end.clear()
    store = memory_store()
    refuses = threading.Event()
    install(Wiring(read_settings({}), store=FailingStore(store, lambda _: refuses.is_set())))
    try:
        handle = waits_for_a_child_that_was_picked_up.run()
        assert _parked_at_child.wait(PATIENCE)
        refuses.set()
        _child_may_end.set()
        with pytest.raises(kitaru.KitaruExecutionError) as caught:
            handle.wait(PATIENCE)
        assert caught.value.failure_origin is kitaru.FailureOrigin.STORE
    finally:
        reset()
        store.close()
