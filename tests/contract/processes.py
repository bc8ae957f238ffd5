"""What the other processes of the suite run: ``python -m tests.contract.processes VERB URL ...``."""

from __future__ import annotations

import sys
import time

from kitaru.core.clock import SystemClock
from kitaru.core.mutations import Claimed, Commit
from kitaru.core.ports import Ask, Store
from kitaru.core.states import Status
from kitaru.store import open_store
from tests.contract.stores import commit, create, deployment, execution, runner, start


def own(store: Store, execution_id: str, runner_id: str) -> None:
    """Claim an execution under a lease of a day, say so, and hang until killed."""
    store.runners.register(runner(runner_id), lease_seconds=86400)
    create(store, execution(execution_id, runner_id=runner_id))
    assert commit(store, None, Claimed(runner_id, Status.PENDING, 0, 1), execution_id=execution_id) is None
    print("ready", flush=True)
    time.sleep(600)


def race(store: Store, runner_id: str, count: str) -> None:
    """Claim as many of the executions ``e0``, ``e1`` ... as others leave, and name them."""
    store.runners.register(runner(runner_id), lease_seconds=86400)
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(int(count)):
        execution_id = f"e{number}"
        (answer,) = store.commit([Commit(execution_id, None, [Claimed(runner_id, Status.PENDING, 0, 1)])])
        if answer is None:
            print(execution_id, flush=True)
    store.runners.retire(runner_id)


def slots(store: Store, runner_id: str, count: str) -> None:
    """Take a place under the limit ``api`` so many times, and print how many then hold one."""
    start(store, runner_id, runner_id)
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(int(count)):
        mine = Ask(runner_id, f"step_{number}", 1, 0, ("api",))
        helper = Ask(runner_id, f"more_{number}", 1, 0, ("api",))
        taken = store.limits.take((), joining=(mine, helper)).taken
        while mine not in taken:
            time.sleep(0.001)
            taken += store.limits.take((mine, helper), joining=()).taken
        print(sum(row.taken_at is not None for row in store.limits.slots(limit="api")), flush=True)
        store.limits.leave([mine, helper])
    store.runners.retire(runner_id)


def hold(store: Store) -> None:
    """Take the only place under the limit ``api``, say so, and hang until killed."""
    start(store, "held", "holder")
    assert store.limits.take((), joining=(Ask("held", "step", 1, 0, ("api",)),)).taken
    print("holds", flush=True)
    time.sleep(600)


def deploy(store: Store, count: str) -> None:
    """Make so many versions of one flow, each with an exclusive tag that all want, and name them."""
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(int(count)):
        print(store.deployments.create(deployment(), tag="live", exclusive=True), flush=True)


def opened(store: Store) -> None:
    """Nothing more than that the store could be opened."""
    print("opened", store.executions.get("x"), flush=True)


if __name__ == "__main__":
    verb, url, *arguments = sys.argv[1:]
    store = open_store(url, SystemClock())
    {"own": own, "race": race, "deploy": deploy, "opened": opened, "slots": slots, "hold": hold}[verb](
        store, *arguments
    )
    store.close()
