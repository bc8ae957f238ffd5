"""The thread that watches the database file."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from kitaru.core.clock import SystemClock
from kitaru.core.mutations import CallRecorded
from kitaru.store import open_store
from kitaru.testing import memory_store
from tests.contract.stores import call, commit, create, execution, start

CLOCK = SystemClock()


def _watchers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "kitaru-store-changes"]


@pytest.fixture(autouse=True)
def _nobody_watches() -> None:
    """Those of earlier tests have been told to end."""
    assert _all_end(_watchers())


def _all_end(threads: list[threading.Thread]) -> bool:
    for thread in threads:
        thread.join(10)
    return not any(thread.is_alive() for thread in threads)


def test_one_thread_watches_for_all_subscribers_and_ends_with_the_last(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/kitaru.db", CLOCK)
    assert _watchers() == []
    one, two = store.changes(lambda: None), store.changes(lambda: None)
    threads = _watchers()
    assert len(threads) == 1
    one()
    assert threads[0].is_alive()
    two()
    assert _all_end(threads)
    store.close()


def test_closing_the_store_ends_the_thread(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/kitaru.db", CLOCK)
    store.changes(lambda: None)
    threads = _watchers()
    store.close()
    assert not any(thread.is_alive() for thread in threads)


def test_a_store_in_memory_needs_no_thread() -> None:
    store = memory_store()
    stop = store.changes(lambda: None)
    assert _watchers() == []
    stop()
    store.close()


def test_a_listener_may_close_the_store(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/kitaru.db", CLOCK)
    closed = threading.Event()

    def close() -> None:
        store.close()
        closed.set()

    store.changes(close)
    threads = _watchers()
    assert closed.wait(10)
    assert _all_end(threads)


def test_a_status_is_announced_on_the_committing_thread_and_records_of_calls_by_the_watcher(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/kitaru.db", CLOCK)
    epoch = start(store)
    threads: list[str] = []
    heard = threading.Event()

    def listen() -> None:
        threads.append(threading.current_thread().name)
        heard.set()

    stop = store.changes(listen)
    create(store, execution("other"))
    assert threading.current_thread().name in threads
    assert heard.wait(10)
    threads.clear()
    heard.clear()
    assert commit(store, epoch, CallRecorded(call())) is None
    assert heard.wait(10)
    assert set(threads) == {"kitaru-store-changes"}
    stop()
    store.close()


def test_watching_costs_next_to_nothing(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/kitaru.db", CLOCK)
    stop = store.changes(lambda: None)

    def cost() -> float:
        before = time.process_time()
        threading.Event().wait(0.5)
        return time.process_time() - before

    # A tenth of a core; about a hundredth is measured. Else something of this process has come in between.
    assert any(cost() < 0.05 for _ in range(10))
    stop()
    store.close()
