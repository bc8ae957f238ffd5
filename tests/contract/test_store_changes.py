"""Who waits is woken (S1.4)."""

from __future__ import annotations

import threading

from kitaru.core.clock import SystemClock
from kitaru.core.mutations import CallRecorded, Commit, ExecutionCreated, StatusChanged
from kitaru.core.ports import Store
from kitaru.core.states import Status
from kitaru.store import open_store
from tests.contract.stores import START, call, commit, create, execution, start

PATIENCE = 10.0
"""Seconds until a test gives up on a hint that should come within milliseconds."""


def test_a_listener_hears_of_what_this_process_commits(store: Store) -> None:
    epoch = start(store)
    heard = threading.Event()
    stop = store.changes(heard.set)
    for mutation in (CallRecorded(call()), StatusChanged(Status.COMPLETED, START)):
        heard.clear()
        assert commit(store, epoch, mutation) is None
        assert heard.wait(PATIENCE)
    stop()


def test_every_listener_is_called_until_its_own_subscription_ends(store: Store) -> None:
    one: list[None] = []
    two: list[None] = []
    stop_one, stop_again, stop_two = (store.changes(lambda kept=kept: kept.append(None)) for kept in (one, one, two))
    stop_one()
    create(store, execution("a"))
    assert one
    assert two
    stop_again()
    count = len(one)
    create(store, execution("b"))
    assert len(one) == count
    stop_two()
    stop_two()  # ending it twice is no fault


def test_a_listener_that_fails_does_not_make_the_commit_fail(store: Store) -> None:
    def fail() -> None:
        raise ValueError("listener")

    stop = store.changes(fail)
    create(store, execution())
    assert store.executions.status("exec") is Status.PENDING
    stop()


def test_a_listener_hears_of_what_another_connection_commits(url: str) -> None:
    here, there = open_store(url, SystemClock()), open_store(url, SystemClock())
    heard = threading.Event()
    stop = here.changes(heard.set)
    assert heard.wait(PATIENCE)  # the first look: something may have changed before it
    for name in ("a", "b"):
        heard.clear()
        there.commit([Commit(name, None, [ExecutionCreated(execution(name))])])
        assert heard.wait(PATIENCE)
    stop()
    here.close()
    there.close()


def test_subscriptions_come_and_go(store: Store) -> None:
    for number in range(20):
        heard = threading.Event()
        stop = store.changes(heard.set)
        create(store, execution(f"e{number}"))
        assert heard.wait(PATIENCE)
        stop()
