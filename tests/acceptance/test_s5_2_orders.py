"""S5.2: whatever comes between two commits of the engine, an execution ends with its answer.

The store calls back right before and right after it writes a mutation of a chosen kind, in the thread that
writes. So each order of asking, answering, cancelling, suspending and claiming is made, and not hoped for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

import kitaru
from kitaru import FlowHandle, KitaruCancelledError, flow
from kitaru.core.mutations import (
    Claimed,
    Commit,
    Mutation,
    Refusal,
    StatusChanged,
    Suspended,
    WaitAnswered,
    WaitOpened,
)
from kitaru.core.states import Status, WaitStatus
from kitaru.services.settings import read_settings
from kitaru.services.wiring import Wiring, install
from kitaru.testing import memory_store
from tests.acceptance.asking import open_waits
from tests.acceptance.gates import until
from tests.acceptance.runs import TIMEOUT, SkippingClock

DAY = 86_400
Point = tuple[str, type[Any], int]
"""``before`` or ``after``, the mutation, and the how-manieth of its kind, from 1."""


class WatchedStore:
    """A store in memory that runs an action at one point."""

    def __init__(
        self, point: Point, action: Callable[[WatchedStore], None], clock: SkippingClock | None = None
    ) -> None:
        self._store = memory_store(clock)
        self._when, self._kind, self._number = point
        self._action = action
        self._seen = 0
        self.reached = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(self, commits: Sequence[Commit]) -> Sequence[Refusal | None]:
        found = any(type(mutation) is self._kind for commit in commits for mutation in commit.mutations)
        self._seen += found
        here = found and self._seen == self._number and not self.reached
        if here and self._when == "before":
            self._act()
        answers = self._store.commit(commits)
        if here and self._when == "after":
            self._act()
        return answers

    def _act(self) -> None:
        self.reached = True
        self._action(self)

    def write(self, mutation: Mutation) -> bool:
        """As another process: True where it was accepted."""
        return self._store.commit([Commit("x", None, (mutation,))]) == [None]

    def answer(self, wait_id: str = "go") -> bool:
        return self.write(WaitAnswered(wait_id, WaitStatus.ANSWERED, 1, answer=f'"to {wait_id}"', by="ada"))

    def cancel(self) -> None:
        unfinished = (Status.PENDING, Status.RUNNING, Status.WAITING)
        self.write(StatusChanged(Status.CANCELLED, 1, from_statuses=unfinished, cascade=True))


def run_on(store: WatchedStore, clock: SkippingClock | None = None) -> None:
    install(Wiring(read_settings({}), store=store, clock=clock, lease_seconds=1_000_000 if clock else 60))  # type: ignore[arg-type]


@flow
def agent() -> Any:
    return kitaru.wait("go", schema=str)


@flow
async def async_agent() -> Any:
    return await kitaru.wait("go", schema=str)


@flow
async def both() -> Any:
    return await asyncio.gather(kitaru.wait("a", schema=str), kitaru.wait("b", schema=str))


def result_of(handle: FlowHandle[Any], *, attached: bool) -> Any:
    """Attached, the body may go on in place; else it is unwound when it is suspended."""
    if not attached:
        until(lambda: handle.status.finished)
    return handle.wait(timeout=TIMEOUT)


POINTS: list[Point] = [
    ("after", WaitOpened, 1),
    ("before", Suspended, 1),
    ("after", Suspended, 1),
]
ATTACHED = pytest.mark.parametrize("attached", [True, False], ids=["attached", "alone"])
KINDS = pytest.mark.parametrize("started", [agent, async_agent], ids=["sync", "async"])
NAMES = [f"{when}-{kind.__name__}" for when, kind, _ in POINTS]


@ATTACHED
@KINDS
@pytest.mark.parametrize("point", POINTS, ids=NAMES)
def test_s5_2_an_answer_between_any_two_commits_is_found(point: Point, started: Any, attached: bool) -> None:
    accepted: list[bool] = []
    store = WatchedStore(point, lambda here: accepted.append(here.answer()))
    run_on(store)
    handle = started.run(execution_id="x")
    assert result_of(handle, attached=attached) == "to go"
    assert accepted == [True]


@ATTACHED
@KINDS
@pytest.mark.parametrize("point", POINTS, ids=NAMES)
def test_s6_8_a_cancellation_between_any_two_commits_is_seen(point: Point, started: Any, attached: bool) -> None:
    store = WatchedStore(point, WatchedStore.cancel)
    run_on(store)
    handle = started.run(execution_id="x")
    with pytest.raises(KitaruCancelledError):
        result_of(handle, attached=attached)
    assert open_waits("x") == {}


@ATTACHED
@pytest.mark.parametrize("first", ["a", "b"])
@pytest.mark.parametrize(
    "point", [("before", Claimed, 1), ("after", Claimed, 1), ("before", Suspended, 2), ("after", Suspended, 2)]
)
def test_s5_2_a_second_answer_around_the_claim_for_the_first_is_found(point: Point, first: str, attached: bool) -> None:
    second = "b" if first == "a" else "a"
    accepted: list[bool] = []
    store = WatchedStore(point, lambda here: accepted.append(here.answer(second)))
    run_on(store)
    handle = both.run(execution_id="x")
    until(lambda: handle.status == "waiting")
    assert store.answer(first)
    assert result_of(handle, attached=attached) == ["to a", "to b"]
    assert accepted == [True]


@ATTACHED
@KINDS
@pytest.mark.parametrize("point", [("before", Claimed, 1), ("after", Claimed, 1)])
def test_s6_8_a_cancellation_around_the_claim_for_an_answer_is_seen(point: Point, started: Any, attached: bool) -> None:
    store = WatchedStore(point, WatchedStore.cancel)
    run_on(store)
    handle = started.run(execution_id="x")
    until(lambda: handle.status == "waiting")
    assert store.answer()
    with pytest.raises(KitaruCancelledError):
        result_of(handle, attached=attached)


@ATTACHED
@pytest.mark.parametrize(("point", "expected"), [("before", "to go"), ("after", "nobody")])
def test_s5_6_of_an_answer_and_the_expiry_at_one_moment_the_first_counts(
    point: str, expected: str, attached: bool
) -> None:
    clock = SkippingClock()
    accepted: list[bool] = []
    store = WatchedStore((point, WaitAnswered, 1), lambda here: accepted.append(here.answer()), clock)
    run_on(store, clock)

    @flow
    def expiring() -> Any:
        return kitaru.wait("go", schema=str, expires_in=DAY, default="nobody")

    handle = expiring.run(execution_id="x")
    if not attached:
        until(lambda: handle.status.finished)
    assert handle.wait(timeout=100 * DAY) == expected
    assert accepted == [expected == "to go"]
