"""The store is out of reach at each commit in turn, and back a moment later: nothing has to be done by hand (S6.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from kitaru import KitaruClient
from kitaru.core.mutations import Commit, Refusal
from kitaru.core.ports import ExecutionFilter, Store, StoreUnavailable
from kitaru.core.states import Status
from kitaru.services.settings import read_settings
from kitaru.services.wiring import Wiring, install, reset
from kitaru.testing import memory_store
from tests.faults import fragile
from tests.faults.fragile import FLOWS, new_effects
from tests.faults.stores import FailingStore, succeeded_keys

EXECUTION_ID = "fragile"
PATIENCE = 20


@pytest.fixture
def stores() -> Iterator[Callable[[], Store]]:
    opened: list[Store] = []

    def open_new() -> Store:
        reset()
        opened.append(memory_store())
        return opened[-1]

    yield open_new
    reset()
    for store in opened:
        store.close()


class AwayStore(FailingStore):
    """Keeps, from the first time that it is away, which calls were recorded and how often they had run."""

    recorded: Mapping[str, int] | None = None

    def commit(self, commits: Sequence[Commit]) -> Sequence[Refusal | None]:
        try:
            return super().commit(commits)
        except StoreUnavailable:
            if self.recorded is None:
                self.recorded = {key: fragile.effects.counts[key] for key in succeeded_keys(self._store)}
            raise


def _process(store: Store, fails: Callable[[int], bool], *, after_writing: bool = False) -> AwayStore:
    away = AwayStore(store, fails, after_writing=after_writing, error=StoreUnavailable)
    install(Wiring(read_settings({}), store=away))
    return away


def _result(flow: str) -> Any:
    """As a caller gets it who tries again where the start is what failed."""
    try:
        handle = FLOWS[flow].run(1, execution_id=EXECUTION_ID)
    except StoreUnavailable:
        handle = FLOWS[flow].run(1, execution_id=EXECUTION_ID)
    return handle.wait(PATIENCE)


@pytest.mark.parametrize(
    "lasting", [pytest.param(1, id="one commit"), pytest.param(3, id="three commits", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("after_writing", [False, True], ids=["not written", "written, answer lost"])
@pytest.mark.parametrize("flow", FLOWS)
def test_s6_3_an_execution_whose_store_is_away_for_a_moment_goes_on_by_itself(
    flow: str, after_writing: bool, lasting: int, stores: Callable[[], Store]
) -> None:
    usual = new_effects()
    undisturbed = _process(stores(), lambda _: False)
    result, commits = _result(flow), undisturbed.commits
    for number in range(1 if lasting == 1 else 2, commits + 1):
        store, effects = stores(), new_effects()
        away = range(number, number + lasting)
        failing = _process(store, lambda commit, away=away: commit in away, after_writing=after_writing)
        assert _result(flow) == result
        rows = store.executions.list(ExecutionFilter(), limit=100, after=None)
        assert {row.status for row in rows} == {Status.COMPLETED}
        assert effects.counts.keys() == usual.counts.keys()
        # What was not recorded when the store went away runs again; what was, does not.
        assert max((effects.counts - usual.counts).values(), default=0) <= lasting
        recorded = failing.recorded or {}
        assert {key: effects.counts[key] for key in recorded} == recorded
        assert KitaruClient().executions.get(EXECUTION_ID).result == result
