"""The store fails at each commit in turn, once or from then on (S9: origin ``store``; S6.3, S6.4)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kitaru import KitaruClient, KitaruExecutionError
from kitaru.core.ports import ExecutionFilter, Store
from kitaru.core.states import Status
from kitaru.errors import FailureOrigin, KitaruStoreError
from kitaru.services.settings import read_settings
from kitaru.services.wiring import Wiring, install, reset, wiring
from kitaru.testing import memory_store
from tests.faults.fragile import FLOWS, Effects, new_effects
from tests.faults.stores import MESSAGE, FailingStore, succeeded_keys

EXECUTION_ID = "fragile"
PATIENCE = 20


@pytest.fixture
def store() -> Iterator[Store]:
    """The store of one test: it outlives the processes that the test plays."""
    opened = memory_store()
    yield opened
    reset()
    opened.close()


def _process(store: Store, fails: Callable[[int], bool], *, after_writing: bool = False) -> FailingStore:
    """From now on this test is a new process, whose store fails."""
    failing = FailingStore(store, fails, after_writing=after_writing)
    install(Wiring(read_settings({}), store=failing))
    return failing


def _run(flow: str) -> Any:
    return FLOWS[flow].run(1, execution_id=EXECUTION_ID).wait(PATIENCE)


def _tried(flow: str) -> Any:
    """The result, or the error that the caller gets."""
    try:
        return _run(flow)
    except (KitaruExecutionError, KitaruStoreError) as error:
        return error


def _check_tried(tried: Any, result: Any, number: int) -> None:
    """A readable error of the store; the result only where the commit was harmless, or written all the same."""
    if isinstance(tried, KitaruExecutionError):
        assert tried.failure_origin is FailureOrigin.STORE
        assert MESSAGE in str(tried)
    elif isinstance(tried, KitaruStoreError):
        assert str(tried) == MESSAGE
        assert number == 1, "only an execution that was not recorded fails at its start"
    else:
        assert tried == result


def _undisturbed(flow: str) -> tuple[Any, Counter[str], int]:
    """The result, the effects and the number of commits of a run on a store that does not fail."""
    store = memory_store()
    effects = new_effects()
    failing = _process(store, lambda _: False)
    result = _run(flow)
    commits = failing.commits
    reset()
    store.close()
    return result, effects.counts, commits


def _until_written() -> None:
    """Play the heartbeat: the store takes the ends that it had refused, and what was in doubt goes on."""
    _until_nothing_runs()
    wiring().runner.beat()
    _until_nothing_runs()
    assert not wiring().runner.unsettled


def _until_nothing_runs() -> None:
    for active in list(wiring().runner._active.values()):
        assert active.done.wait(PATIENCE)


def _check_end(store: Store, effects: Effects, usual: Counter[str], before: Counter[str], succeeded: set[str]) -> None:
    rows = store.executions.list(ExecutionFilter(), limit=100, after=None)
    assert {row.status for row in rows} == {Status.COMPLETED}
    assert effects.counts.keys() == usual.keys()
    for key, count in effects.counts.items():
        assert count <= usual[key] + 1
        if key in succeeded:
            assert count == before[key]


@pytest.mark.parametrize("after_writing", [False, True], ids=["not written", "written, answer lost"])
@pytest.mark.parametrize("flow", FLOWS)
def test_s9_a_commit_that_fails_once_fails_the_execution_with_origin_store_and_it_can_be_retried(
    flow: str, after_writing: bool
) -> None:
    result, usual, commits = _undisturbed(flow)
    reached = failed = 0
    for number in range(1, commits + 1):
        store = memory_store()
        effects = new_effects()
        failing = _process(store, lambda commit, number=number: commit == number, after_writing=after_writing)
        _check_tried(_tried(flow), result, number)
        reached += failing.commits >= number  # a fan-out may have come with fewer commits this time
        failing.heal()
        _until_written()
        before, succeeded = effects.counts.copy(), succeeded_keys(store)
        end = store.executions.get(EXECUTION_ID)
        if end is not None and end.status is Status.FAILED:
            failed += 1
            assert end.failure is not None
            assert end.failure.origin is FailureOrigin.STORE
            assert MESSAGE in end.failure.message
            assert KitaruClient().executions.retry(EXECUTION_ID).wait(PATIENCE) == result
        else:
            assert _run(flow) == result
        _check_end(store, effects, usual, before, succeeded)
        reset()
        store.close()
    assert failed >= reached // 2 > 0


def _lose_the_answer_to_the_start(store: Store) -> None:
    _process(store, lambda commit: commit == 1, after_writing=True)
    with pytest.raises(KitaruStoreError, match=re.escape(MESSAGE)):
        _run("sequential")


def test_s1_2_an_execution_whose_start_was_written_unheard_goes_on_in_the_next_process(store: Store) -> None:
    result, usual, _ = _undisturbed("sequential")
    effects = new_effects()
    _lose_the_answer_to_the_start(store)
    _process(store, lambda _: False)
    assert _run("sequential") == result
    _check_end(store, effects, usual, Counter(), set())


def test_s1_2_an_execution_whose_start_was_written_unheard_goes_on_in_the_same_process(store: Store) -> None:
    result, usual, _ = _undisturbed("sequential")
    effects = new_effects()
    _lose_the_answer_to_the_start(store)
    assert _run("sequential") == result
    _check_end(store, effects, usual, Counter(), set())


def test_s6_4_a_retry_whose_claim_was_written_unheard_goes_on(store: Store) -> None:
    result, usual, _ = _undisturbed("sequential")
    effects = new_effects()
    _process(store, lambda commit: commit == 3)
    assert isinstance(_tried("sequential"), KitaruExecutionError)
    _until_written()
    before, succeeded = effects.counts.copy(), succeeded_keys(store)
    _process(store, lambda commit: commit == 1, after_writing=True)
    with pytest.raises(KitaruStoreError, match=re.escape(MESSAGE)):
        KitaruClient().executions.retry(EXECUTION_ID)
    assert KitaruClient().executions.handle(EXECUTION_ID).wait(PATIENCE) == result
    _check_end(store, effects, usual, before, succeeded)


@pytest.mark.parametrize("flow", FLOWS)
def test_s6_3_an_execution_whose_store_went_away_is_resumed_by_the_next_process(flow: str) -> None:
    result, usual, commits = _undisturbed(flow)
    for number in range(1, commits + 1):
        store = memory_store()
        effects = new_effects()
        _process(store, lambda commit, number=number: commit >= number)
        _check_tried(_tried(flow), result, number)
        _until_nothing_runs()
        before, succeeded = effects.counts.copy(), succeeded_keys(store)
        _process(store, lambda _: False)
        if store.executions.status(EXECUTION_ID) is Status.RUNNING:
            assert KitaruClient().executions.resume(EXECUTION_ID).wait(PATIENCE) == result
        else:  # never recorded, or finished
            assert _run(flow) == result
        _check_end(store, effects, usual, before, succeeded)
        reset()
        store.close()
