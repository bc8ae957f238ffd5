"""S7.2: the records, and S2.4 where they show attempts."""

from __future__ import annotations

import dataclasses
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import kitaru
from kitaru import Artifact, Attempt, CheckpointCall, Execution, Failure, KitaruClient, checkpoint, flow
from kitaru.core.execution import Drift
from kitaru.core.states import CallKind, CallStatus
from tests.acceptance.gates import PATIENCE, Gate, until

FIELDS: dict[type, str] = {
    Execution: "exec_id flow status stack created_at started_at ended_at failure retries cache image tags parent_id "
    "original_exec_id deployment_version",
    CheckpointCall: "call_id name kind type status started_at ended_at attempts failure cached_from cached_from_call "
    "child_exec_id metadata",
    Attempt: "number status started_at ended_at failure",
    Failure: "type message origin traceback exception",
    Artifact: "exec_id name call_id created_at",
    Drift: "call_id recorded_call_id input recorded given",
}
PROPERTIES: dict[type, set[str]] = {
    Execution: {"checkpoints", "attempts", "inputs", "result", "failure_origin", "metadata", "drift", "waits"},
    CheckpointCall: {"inputs", "output", "duration"},
}


@pytest.mark.parametrize("record", FIELDS, ids=lambda record: record.__name__)
def test_s7_2_the_fields_of_the_records_are_these_and_no_others(record: type) -> None:
    public = [field.name for field in dataclasses.fields(record) if not field.name.startswith(("load", "plain"))]
    assert public == FIELDS[record].split()
    shown = {name for name in vars(record) if not name.startswith("_") and name not in record.__annotations__}
    assert shown - {"load"} == PROPERTIES.get(record, set())


@pytest.fixture
def execution() -> Execution:
    tries: list[int] = []

    @checkpoint(type="llm_call", retries=1)
    def ask(prompt: str, *, temperature: float = 0.5) -> str:
        tries.append(1)
        kitaru.log(tokens=len(tries))
        if len(tries) == 1:
            raise ConnectionError("busy")
        return prompt.upper()

    @flow(retries=1)
    def my_agent(prompt: str) -> str:
        kitaru.log(topic=prompt)
        kitaru.save("draft", {"text": prompt})
        return ask(prompt)

    handle = my_agent.run("hello", execution_id="one", tags=["x"], image="python:3.12")
    handle.wait(PATIENCE)
    return KitaruClient().executions.get("one")


def test_s7_2_records_are_frozen(execution: Execution) -> None:
    (call,) = execution.checkpoints
    (artifact,) = KitaruClient().artifacts.list("one")
    for record in (execution, call, call.attempts[0], call.attempts[0].failure, artifact):
        assert record is not None
        for field in dataclasses.fields(record):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(record, field.name, None)


def test_s7_2_an_execution_shows_what_it_is_and_what_became_of_it(execution: Execution) -> None:
    assert (execution.exec_id, execution.flow, execution.status, execution.stack) == (
        "one",
        "my_agent",
        kitaru.Status.COMPLETED,
        "local",
    )
    assert (execution.retries, execution.cache, execution.tags) == (1, True, ("x",))
    assert execution.image == '{"base_image": "python:3.12"}'
    assert (execution.parent_id, execution.original_exec_id) == (None, None)
    assert (execution.failure, execution.failure_origin, execution.attempts, execution.drift) == (None, None, (), ())
    assert execution.inputs == {"prompt": "hello"}
    assert execution.result == "HELLO"
    assert execution.metadata == {"topic": "hello"}
    assert execution.started_at is not None
    assert execution.ended_at is not None
    assert execution.created_at <= execution.started_at <= execution.ended_at <= datetime.now(UTC)
    assert datetime.now(UTC) - execution.created_at < timedelta(minutes=5)


def test_s7_2_a_call_shows_its_inputs_its_output_and_every_attempt(execution: Execution) -> None:
    (call,) = execution.checkpoints
    assert (call.call_id, call.name, call.kind, call.type) == ("ask", "ask", CallKind.CHECKPOINT, "llm_call")
    assert call.inputs == {"prompt": "hello", "temperature": 0.5}
    assert (call.status, call.output, call.failure) == (CallStatus.COMPLETED, "HELLO", None)
    assert (call.cached_from, call.cached_from_call, call.child_exec_id) == (None, None, None)
    assert call.metadata == {"tokens": 2}
    assert call.ended_at is not None
    assert call.duration == call.ended_at - call.started_at
    first, second = call.attempts
    assert (first.number, first.status, second.number, second.status, second.failure) == (
        1,
        "failed",
        2,
        "completed",
        None,
    )
    assert first.failure is not None
    assert (first.failure.type, first.failure.message, first.failure.origin) == (
        "builtins:ConnectionError",
        "busy",
        kitaru.FailureOrigin.USER_CODE,
    )
    assert first.failure.traceback is not None
    assert first.failure.traceback.endswith("ConnectionError: busy")
    assert "in ask" in first.failure.traceback
    assert first.ended_at is not None
    assert second.ended_at is not None
    assert first.started_at <= first.ended_at <= second.started_at <= second.ended_at


def test_s7_2_a_cached_call_names_the_execution_and_the_call_that_it_came_from(execution: Execution) -> None:
    @checkpoint
    def fetch(x: int) -> int:
        return x

    @flow
    def cached_agent() -> list[int]:
        return [fetch(1), fetch(2)]

    first = cached_agent.run()
    first.wait(PATIENCE)
    second = cached_agent.run()
    second.wait(PATIENCE)
    calls = KitaruClient().executions.get(second.exec_id).checkpoints
    assert [(call.cached_from, call.cached_from_call, call.attempts) for call in calls] == [
        (first.exec_id, "fetch", ()),
        (first.exec_id, "fetch_2", ()),
    ]


def test_s7_2_a_failed_execution_shows_where_it_failed() -> None:
    @checkpoint
    def breaks() -> None:
        raise KeyError("missing")

    @flow
    def my_agent() -> None:
        breaks()

    handle = my_agent.run()
    with pytest.raises(kitaru.KitaruUserCodeError):
        handle.wait(PATIENCE)
    execution = KitaruClient().executions.get(handle.exec_id)
    assert execution.failure_origin is kitaru.FailureOrigin.USER_CODE
    assert execution.failure is not None
    assert (execution.failure.type, execution.failure.message) == ("builtins:KeyError", "'missing'")
    assert execution.failure.traceback is not None
    assert "breaks" in execution.failure.traceback
    (call,) = execution.checkpoints
    assert (call.status, call.output, len(call.attempts)) == ("failed", None, 1)
    assert call.failure == call.attempts[0].failure


def test_s7_2_a_record_is_as_it_was_when_it_was_read() -> None:
    gate = Gate()

    @flow
    def my_agent() -> int:
        gate.pass_()
        return 7

    handle = my_agent.run()
    before = KitaruClient().executions.get(handle.exec_id)
    gate.open()
    handle.wait(PATIENCE)
    assert (before.status, before.result, before.ended_at) == ("running", None, None)
    assert KitaruClient().executions.get(handle.exec_id).status == "completed"


def test_s7_2_a_call_that_takes_its_time_is_shown_while_it_runs() -> None:
    gate = Gate()

    @checkpoint
    def slow(x: int) -> int:
        gate.pass_()
        return x

    @flow
    def my_agent() -> int:
        return slow(1)

    handle = my_agent.run()
    (call,) = until(lambda: KitaruClient().executions.get(handle.exec_id).checkpoints)
    assert (call.call_id, call.status, call.ended_at, call.duration, call.output) == (
        "slow",
        "running",
        None,
        None,
        None,
    )
    assert [(attempt.number, attempt.status, attempt.ended_at) for attempt in call.attempts] == [(1, "running", None)]
    gate.open()
    assert handle.wait(PATIENCE) == 1
    assert KitaruClient().executions.get(handle.exec_id).checkpoints[0].status == "completed"


def test_s7_2_a_record_can_be_looked_at_in_another_thread_and_twice(execution: Execution) -> None:
    seen: list[Any] = []
    threads = [threading.Thread(target=lambda: seen.append(execution.checkpoints[0].output)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert seen == ["HELLO"] * 4
    assert execution.checkpoints is execution.checkpoints
