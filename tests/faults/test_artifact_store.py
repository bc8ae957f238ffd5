"""The artifact store fails at each large value in turn (S4.4, S9: origin ``store``)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

import kitaru
from kitaru import FlowHandle, KitaruClient, KitaruExecutionError, checkpoint, flow
from kitaru.core.ports import Blobs
from kitaru.core.states import Status
from kitaru.errors import FailureOrigin, KitaruStoreError
from kitaru.services.wiring import wiring
from tests.faults.fragile import large_values, new_effects
from tests.faults.stores import succeeded_keys

MESSAGE = "The artifact store of this test is full. Free some space and try again."
PATIENCE = 20


class FailingBlobs:
    """A blob store whose ``put`` number ``fails_at``, from 1, fails."""

    def __init__(self, blobs: Blobs, fails_at: int) -> None:
        self.puts = itertools.count(1)
        self.get = blobs.get
        self._blobs = blobs
        self._fails_at = fails_at

    def put(self, digest: str, data: bytes) -> None:
        if next(self.puts) == self._fails_at:
            raise KitaruStoreError(MESSAGE)
        self._blobs.put(digest, data)


@pytest.fixture
def result() -> list[str]:
    """What the flow returns where nothing fails, in an execution of its own."""
    new_effects()
    return large_values.run(1).wait(PATIENCE)


def _tried(handle: FlowHandle[Any]) -> Any:
    """The result, or the error that the caller gets."""
    try:
        return handle.wait(PATIENCE)
    except KitaruExecutionError as error:
        return error


def _fail_at(number: int) -> FailingBlobs:
    codec: Any = wiring().values
    working = codec._blobs._blobs if isinstance(codec._blobs, FailingBlobs) else codec._blobs
    codec._blobs = failing = FailingBlobs(working, number)
    return failing


def test_s4_4_a_large_value_that_finds_no_room_fails_the_execution_and_it_can_be_retried(result: list[str]) -> None:
    effects = new_effects()
    for number in itertools.count(1):
        failing = _fail_at(number)
        handle = large_values.run(1, execution_id=f"full-{number}")
        tried = _tried(handle)
        if next(failing.puts) <= number:
            assert tried == result  # the flow has no further large value
            break
        assert isinstance(tried, KitaruExecutionError)
        assert tried.failure_origin is FailureOrigin.STORE
        assert MESSAGE in str(tried)
        wiring().runner.beat()
        end = KitaruClient().executions.get(handle.exec_id)
        assert end.status is Status.FAILED
        assert end.failure_origin is FailureOrigin.STORE
        before, succeeded = effects.counts.copy(), succeeded_keys(wiring().store)
        assert KitaruClient().executions.retry(handle.exec_id).wait(PATIENCE) == result
        for key, count in effects.counts.items():
            assert count == before[key] if key in succeeded else count <= before[key] + 1
    assert number > 8, "results, arguments, artifacts and the flow's own result are large"


@checkpoint
def big() -> str:
    return "x" * 100_000


@checkpoint
def take(text: str) -> str:
    return text[:1]


@checkpoint
def small() -> str:
    return "small"


@flow
def careful(where: str) -> str:
    try:
        if where == "result":
            return big()[:1]
        if where == "argument":
            return take("x" * 100_000)
        kitaru.save("large", "x" * 100_000)
    except Exception:
        return small()
    return "saved"


@pytest.mark.parametrize("where", ["result", "argument", "artifact"])
def test_a_body_cannot_take_a_full_store_for_a_failure_of_its_own(where: str) -> None:
    _fail_at(1)
    with pytest.raises(KitaruExecutionError) as caught:
        careful.run(where).wait(PATIENCE)
    assert caught.value.failure_origin is FailureOrigin.STORE
