"""What the suite of the ``Store`` port stands on: backends, a clock to drive, and short ways to make rows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kitaru.core.clock import Clock, Microseconds
from kitaru.core.mutations import Claimed, Commit, ExecutionCreated, Mutation, Refusal
from kitaru.core.ports import Store
from kitaru.core.rows import CallRow, DeploymentRow, ExecutionRow, RunnerRow
from kitaru.core.states import CallKind, CallStatus, Status
from kitaru.store import open_store
from kitaru.testing import memory_store
from tests.postgres import postgres_server

SECOND = 1_000_000
START = 1_700_000_000 * SECOND


class ManualClock:
    """A clock that moves only when a test says so."""

    def __init__(self, at: Microseconds = START) -> None:
        self.at = at

    def now(self) -> Microseconds:
        return self.at

    def monotonic(self) -> float:
        return self.at / SECOND

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.pass_(seconds)
        return event.is_set()

    async def sleep(self, seconds: float) -> None:
        self.pass_(seconds)

    def idle_until(self, at: Microseconds) -> None:
        self.at = max(self.at, at)

    def pass_(self, seconds: float) -> None:
        self.at += round(seconds * SECOND)


def _in_memory(folder: Path, clock: Clock) -> Store:
    return memory_store(clock)


def _sqlite(folder: Path, clock: Clock) -> Store:
    return open_store(sqlite_url(folder), clock)


def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'kitaru.db'}"


def _postgres(folder: Path, clock: Clock) -> Store:
    return open_store(postgres_server().database(), clock)


BACKENDS: dict[str, Callable[[Path, Clock], Store]] = {
    "memory": _in_memory,
    "sqlite": _sqlite,
    "postgres": _postgres,
}
"""Every backend that must pass the suite: a function that opens an empty store in a folder."""

SHARED: dict[str, Callable[[Path], str]] = {
    "sqlite": sqlite_url,
    "postgres": lambda _: postgres_server().database(),
}
"""The backends that several processes can share: a function that names the URL."""


def execution(execution_id: str = "exec", **fields: Any) -> ExecutionRow:
    row = ExecutionRow(
        execution_id=execution_id,
        project="project",
        flow="flow",
        flow_ref="module:flow",
        status=Status.PENDING,
        stack="local",
        inputs="{}",
        input_digest="digest",
        created_at=START,
    )
    return row._replace(**fields)


def call(call_id: str = "step", **fields: Any) -> CallRow:
    row = CallRow(
        call_id=call_id,
        name="step",
        kind=CallKind.CHECKPOINT,
        position=0,
        input_digest="digest",
        occurrence=1,
        inputs="{}",
        status=CallStatus.COMPLETED,
        attempt=1,
        started_at=START,
        ended_at=START + 1,
        output="1",
    )
    return row._replace(**fields)


def runner(runner_id: str = "runner", **fields: Any) -> RunnerRow:
    return RunnerRow(runner_id, stack="local", host="host", pid=1, lease_until=0)._replace(**fields)


def commit(store: Store, epoch: int | None, *mutations: Mutation, execution_id: str = "exec") -> Refusal | None:
    """Commit to one execution and give the one answer."""
    (answer,) = store.commit([Commit(execution_id, epoch, mutations)])
    return answer


def create(store: Store, *rows: ExecutionRow) -> None:
    answers: Sequence[Refusal | None] = store.commit(
        [Commit(row.execution_id, None, [ExecutionCreated(row)]) for row in rows]
    )
    assert list(answers) == [None] * len(rows)


def start(store: Store, execution_id: str = "exec", runner_id: str = "runner") -> int:
    """Create an execution and have a registered runner claim it; the answer is its epoch."""
    store.runners.register(runner(runner_id), lease_seconds=60)
    create(store, execution(execution_id, runner_id=runner_id))
    assert commit(store, None, Claimed(runner_id, Status.PENDING, 0, 1), execution_id=execution_id) is None
    return 1


def refusal(answer: Refusal | None) -> tuple[type[Refusal], Status | None]:
    """The type and status of a refusal, to be compared."""
    assert answer is not None, "the commit was written"
    return type(answer), getattr(answer, "status", None)


def deployment(flow: str = "greet", **fields: Any) -> DeploymentRow:
    """A version of a flow that is still to be numbered."""
    row = DeploymentRow("/project", flow, 0, START, "local", "app:greet", "0" * 64, False, "{}", "{}")
    return row._replace(**fields)
