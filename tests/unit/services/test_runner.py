"""The runner of a process: what it picks up, and when it ends."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import pytest

from kitaru import KitaruClient, flow
from kitaru.core.mutations import Commit, ExecutionCreated
from kitaru.core.states import Status
from kitaru.services import runner as runner_module
from kitaru.services.active import Active
from kitaru.services.settings import read_settings
from kitaru.services.start import StartOptions, start
from kitaru.services.wiring import Wiring, wiring


class NoHeartbeat:
    """A heartbeat that does not come, as in a process that ends before its first."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def hint(self) -> None: ...

    def end(self) -> None: ...


def test_s6_3_a_process_that_ends_before_its_first_heartbeat_picks_orphans_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "Heartbeat", NoHeartbeat)
    hold, begun = threading.Event(), threading.Event()

    @flow
    def agent(name: str) -> str:
        begun.set()
        assert hold.wait(30)
        return name

    other = Wiring(read_settings({}))
    orphan = start(other, agent.definition, ("orphan",), {}, StartOptions(execution_id="orphan"))
    assert begun.wait(30)
    other.close()
    hold.set()
    assert agent.run("own").wait(30) == "own"
    assert KitaruClient().executions.get(orphan.execution_id).status == "pending"
    wiring().runner.drain()
    assert KitaruClient().executions.get(orphan.execution_id).result == "orphan"


def test_a_process_that_runs_nothing_picks_nothing_up_at_its_end() -> None:
    KitaruClient()
    wiring().runner.drain()
    assert wiring().store.runners.list() == []


def test_a_listener_is_called_once_however_often_an_execution_is_finished_and_a_late_one_at_once() -> None:
    active = Active(None, None, counted=False, hint=lambda: None)  # type: ignore[arg-type]  # neither is looked at
    called: list[str] = []
    active.on_news(partial(called.append, "early"))
    assert called == []
    active.finish()
    active.finish()
    active.on_news(partial(called.append, "late"))
    assert called == ["early", "late"]


def test_s6_3_an_execution_that_has_just_begun_here_is_not_picked_up_by_a_late_look() -> None:
    hold, begun = threading.Event(), threading.Event()

    @flow
    def agent() -> None:
        begun.set()
        assert hold.wait(30)

    handle = agent.run()
    assert begun.wait(30)
    runner = wiring().runner
    running = runner.active(handle.exec_id)
    row = wiring().store.executions.get(handle.exec_id)
    assert row is not None
    assert runner.pick_up(row, agent.definition) is running
    assert runner.active(handle.exec_id) is running
    hold.set()
    handle.wait(30)
    assert runner.places.free == wiring().settings.max_flows


def test_s6_2_what_is_in_doubt_begins_only_under_a_lease_that_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "Heartbeat", NoHeartbeat)
    ran: list[str] = []

    @flow
    def agent() -> None:
        ran.append("body")

    done = agent.run()
    done.wait(30)
    runner = wiring().runner
    finished = wiring().store.executions.get(done.exec_id)
    assert finished is not None
    row = finished._replace(
        execution_id="in-doubt",
        status=Status.RUNNING,
        epoch=1,
        runner_id=runner.lease.runner_id,
        ended_at=None,
        result=None,
    )
    wiring().committer.commit(Commit("in-doubt", None, (ExecutionCreated(row),)))
    runner.unsettled.doubt(row, agent.definition)
    holds = runner.lease._until
    runner.lease._until = 0.0
    runner.unsettled.settle()
    assert runner.active("in-doubt") is None
    assert runner.unsettled
    runner.lease._until = holds
    runner.unsettled.settle()
    KitaruClient().executions.handle("in-doubt").wait(30)
    assert ran == ["body", "body"]
