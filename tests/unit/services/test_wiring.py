"""The one wiring of a process: who makes it, replaces it, forgets it."""

from __future__ import annotations

import threading

import pytest

import kitaru
from kitaru import KitaruClient, flow
from kitaru.services import wiring as process
from kitaru.services.settings import read_settings
from kitaru.services.wiring import Wiring
from kitaru.testing import memory_store


@flow
def answers() -> int:
    return 7


def test_threads_that_ask_at_once_get_the_same_one() -> None:
    start = threading.Barrier(8)
    found: list[Wiring] = []

    def ask() -> None:
        start.wait(30)
        found.append(process.wiring())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(set(map(id, found))) == 1
    assert process.in_use()


def test_an_installed_one_is_used_and_the_one_before_is_closed() -> None:
    assert answers.run(execution_id="in-the-file").wait(30) == 7
    before = process.wiring()
    process.install(Wiring(read_settings({}), store=memory_store()))
    assert answers.run(execution_id="in-memory").wait(30) == 7
    assert [execution.exec_id for execution in KitaruClient().executions.list()] == ["in-memory"]
    with pytest.raises(kitaru.KitaruStoreError, match="closed"):
        before.store.executions.get("in-the-file")
    process.reset()
    assert [execution.exec_id for execution in KitaruClient().executions.list()] == ["in-the-file"]


def test_reset_forgets_what_configure_has_set_and_install_does_not() -> None:
    kitaru.configure(retries=3)
    process.install(Wiring(read_settings({}), store=memory_store()))
    assert KitaruClient().executions.get(answers.run().exec_id).retries == 3
    process.reset()
    assert not process.in_use()
    handle = answers.run()
    assert KitaruClient().executions.get(handle.exec_id).retries == 0
    handle.wait(30)


def test_a_process_that_only_looks_is_no_runner() -> None:
    KitaruClient().executions.list()
    assert process.wiring().store.runners.list() == []
    answers.run().wait(30)
    assert len(process.wiring().store.runners.list()) == 1


def test_a_runner_that_ends_gives_its_lease_back_and_can_begin_again() -> None:
    answers.run().wait(30)
    runner = process.wiring().runner
    runner.end()
    runner.end()
    assert process.wiring().store.runners.list() == []
    assert answers.run().wait(30) == 7
    assert len(process.wiring().store.runners.list()) == 1
