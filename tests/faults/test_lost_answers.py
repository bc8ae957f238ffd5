"""The store writes, and its answer is lost, as when a connection breaks between the two (S6.2, S6.3).

Then the store says that a living process runs an execution, which that process does not know. Nobody else may
take it over: unless the process looks, it stands still until the process ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

import kitaru
from kitaru import KitaruClient, checkpoint, flow
from kitaru.core.mutations import Claimed, Commit, ExecutionCreated, Mutation, Refusal
from kitaru.core.ports import Store
from kitaru.core.rows import ExecutionRow, RunnerRow
from kitaru.core.states import Status
from kitaru.errors import KitaruStoreError
from kitaru.services.pickup import ALL
from kitaru.services.settings import read_settings
from kitaru.services.wiring import Wiring, install, reset, wiring
from kitaru.testing import memory_store
from tests.contract.stores import execution
from tests.faults.stores import MESSAGE, FailingStore

PATIENCE = 10.0


class Unheard(FailingStore):
    """Loses the answer to the first commit, once armed, that holds a mutation of which ``of`` is true."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, lambda _: False, after_writing=True)
        self.lost = threading.Event()
        self._of: Callable[[Mutation], bool] = lambda _: False

    def arm(self, of: Callable[[Mutation], bool]) -> None:
        self._of = of

    def commit(self, commits: Sequence[Commit]) -> Sequence[Refusal | None]:
        answers = super().commit(commits)
        if not self.lost.is_set() and any(self._of(one) for commit in commits for one in commit.mutations):
            self.lost.set()
            raise KitaruStoreError(MESSAGE)
        return answers


@pytest.fixture
def memory() -> Iterator[Store]:
    store = memory_store()
    yield store
    reset()
    store.close()


@pytest.fixture
def store(memory: Store) -> Unheard:
    unheard = Unheard(memory)
    install(Wiring(read_settings({"max_flows": 1}), store=unheard))
    return unheard


ran: list[str] = []
may_end = threading.Event()
began = threading.Event()


@pytest.fixture(autouse=True)
def _afresh() -> None:
    ran.clear()
    may_end.clear()
    began.clear()


@checkpoint(cache=False)
def note(what: str) -> str:
    ran.append(what)
    return what


@flow
def held() -> str:
    began.set()
    assert may_end.wait(PATIENCE)
    return note("held")


@flow
def short() -> str:
    return note("short")


@flow
def asking() -> list[Any]:
    return [note("before"), kitaru.wait("number", schema=int), note("after")]


def test_s6_3_a_queued_flow_whose_claim_was_not_heard_of_runs(store: Unheard) -> None:
    first = held.run()
    assert began.wait(PATIENCE)
    queued = short.run()
    store.arm(lambda mutation: isinstance(mutation, Claimed))
    may_end.set()
    assert first.wait(PATIENCE) == "held"
    assert queued.wait(PATIENCE) == "short"
    assert store.lost.is_set()
    assert ran == ["held", "short"]


def test_s5_2_a_suspended_body_whose_claim_was_not_heard_of_goes_on(store: Unheard) -> None:
    handle = asking.run()
    results: list[Any] = []
    attached = threading.Thread(target=lambda: results.append(handle.wait(PATIENCE)))
    attached.start()
    executions = KitaruClient().executions
    _until(lambda: handle.status is Status.WAITING)
    store.arm(lambda mutation: isinstance(mutation, Claimed))
    executions.input(handle.exec_id, 7)
    attached.join(PATIENCE)
    assert store.lost.is_set()
    assert results == [["before", 7, "after"]]
    assert ran == ["before", "after"]


def test_s6_2_a_flow_that_starts_while_its_process_becomes_a_new_runner_runs(memory: Store) -> None:
    """Its lease has run out, and the store is slow to take the new one: the flow begins in between."""
    registering, may_register = threading.Event(), threading.Event()

    class Slow(FailingStore):
        @property
        def runners(self) -> Any:
            return Runners(memory.runners)

    class Runners:
        def __init__(self, real: Any) -> None:
            self._real = real

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

        def register(self, row: RunnerRow, *, lease_seconds: float) -> None:
            if armed.is_set():
                registering.set()
                assert may_register.wait(PATIENCE)
            self._real.register(row, lease_seconds=lease_seconds)

    armed = threading.Event()
    install(Wiring(read_settings({}), store=Slow(memory, lambda _: False)))
    assert short.run().wait(PATIENCE) == "short"
    runner = wiring().runner
    armed.set()
    runner.lease._until = 0.0
    runner._renewed_at = 0.0
    assert registering.wait(PATIENCE)
    handle = held.run()
    active = runner.active(handle.exec_id)
    assert active is not None
    may_end.set()
    assert active.done.wait(PATIENCE)  # without a lease it does not begin its checkpoint
    may_register.set()
    assert handle.wait(PATIENCE) == "held"


def _pending(store: Store, execution_id: str) -> ExecutionRow:
    """An execution of ``short`` that any worker may take."""
    inputs = wiring().values.encode_inputs({}, allow_opaque=False)
    row = execution(
        execution_id, project=wiring().settings.project, flow="short", flow_ref=short.definition.reference,
        inputs=inputs.text, input_digest=inputs.digest, created_at=wiring().clock.now(),
    )  # fmt: skip
    assert list(store.commit([Commit(execution_id, None, [ExecutionCreated(row)])])) == [None]
    return row


class UnheardTake:
    """Runners of a store: the answer to the first ``take`` that takes something is lost."""

    def __init__(self, store: Store) -> None:
        self._real = store.runners
        self.lost = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def take(self, *args: Any, **kwargs: Any) -> Sequence[ExecutionRow]:
        taken = self._real.take(*args, **kwargs)
        if taken and not self.lost.is_set():
            self.lost.set()
            raise KitaruStoreError(MESSAGE)
        return taken


def _until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_s6_3_what_a_worker_took_without_hearing_of_it_runs(memory: Store) -> None:
    failing = FailingStore(memory, lambda _: False)
    runners = UnheardTake(memory)
    failing.runners = runners  # type: ignore[attr-defined]
    install(Wiring(read_settings({}), store=failing, takes=ALL))
    wiring().runner.begin()
    _pending(memory, "taken")
    _until(lambda: memory.executions.status("taken") is Status.COMPLETED)
    assert runners.lost.is_set()
    assert ran == ["short"]


class Child:
    """A process in which an execution should run."""

    def __init__(self, run: Callable[[], None]) -> None:
        self._run = run

    def wait(self) -> None:
        self._run()

    def stop(self) -> None:
        pass

    kill = stop


def test_s6_3_an_execution_whose_process_dies_before_it_claims_it_is_anybodys_again(memory: Store) -> None:
    """Not at once this worker's: a flow whose processes always die would be started without end."""
    died = threading.Event()
    install(Wiring(read_settings({}), store=memory, takes=ALL, spawn=lambda _: Child(died.set)))
    wiring().runner.begin()
    row = _pending(memory, "spawned")
    assert died.wait(PATIENCE)
    place = {"project": row.project, "stack": row.stack}
    _until(lambda: bool(memory.runners.take("another", **place, apart_from=(), limit=1)))
