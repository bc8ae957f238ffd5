"""Events are written with what they tell, in its order, and a cursor finds each of them once (S7.1)."""

from __future__ import annotations

import json
import random
import threading
from typing import Any

import pytest

from kitaru.core.event import EventKind
from kitaru.core.failure import Failure
from kitaru.core.mutations import (
    AttemptFailed,
    CallRecorded,
    CallStarted,
    Claimed,
    Commit,
    Fenced,
    FlowAttemptStarted,
    ProgressMade,
    StatusChanged,
)
from kitaru.core.ports import Store
from kitaru.core.rows import AttemptRow, EventRow
from kitaru.core.states import CallKind, CallStatus, Status
from kitaru.errors import FailureOrigin
from tests.contract.stores import SECOND, START, ManualClock, call, commit, create, execution, start

FAILURE = Failure("m:Bad", "no\0good \udcff", FailureOrigin.TIMEOUT, "Traceback", None)
REASON = {"type": "m:Bad", "message": "no\0good \udcff", "origin": "timeout"}


def events(store: Store, execution_id: str = "exec", after: int = 0, limit: int = 1000) -> list[EventRow]:
    return store.events.after(execution_id, after, limit=limit)


def told(store: Store, execution_id: str = "exec", after: int = 0) -> list[tuple[str, str, dict[str, Any]]]:
    return [(row.kind, row.call_id, json.loads(row.detail)) for row in events(store, execution_id, after)]


def last(store: Store, execution_id: str = "exec") -> int:
    return events(store, execution_id)[-1].event_id


def test_an_execution_tells_of_its_creation_and_of_every_status(store: Store, clock: ManualClock) -> None:
    create(store, execution(created_at=START - 5))
    clock.pass_(1)
    assert commit(store, None, Claimed("r", Status.PENDING, 0, 1)) is None
    assert commit(store, 1, StatusChanged(Status.WAITING, START + 9)) is None
    assert commit(store, None, Claimed("r", Status.WAITING, 1, 2)) is None
    assert commit(store, 2, StatusChanged(Status.FAILED, START + 9, failure=FAILURE)) is None
    assert told(store) == [
        ("execution.created", "", {}),
        ("execution.running", "", {"runner": "r", "attempt": 1}),
        ("execution.waiting", "", {}),
        ("execution.running", "", {"runner": "r", "attempt": 2}),
        ("execution.failed", "", REASON),
    ]
    assert [row.at for row in events(store)] == [START - 5, START + SECOND, START + 9, START + SECOND, START + 9]


def test_an_execution_that_is_created_and_claimed_in_one_tells_of_both(store: Store) -> None:
    create(store, execution(status=Status.RUNNING, epoch=1, runner_id="r", started_at=START + 1))
    assert [(row.kind, row.at) for row in events(store)] == [
        (EventKind.CREATED, START),
        (EventKind.RUNNING, START + 1),
    ]


def test_a_cancelled_execution_tells_of_its_descendants_too(store: Store) -> None:
    create(store, execution(), execution("child", parent_id="exec"), execution("grandchild", parent_id="child"))
    cancelled = StatusChanged(Status.CANCELLED, START, from_statuses=(Status.PENDING,), cascade=True)
    assert commit(store, None, cancelled) is None
    for execution_id in ("exec", "child", "grandchild"):
        assert [kind for kind, _, _ in told(store, execution_id)] == ["execution.created", "execution.cancelled"]


def test_a_body_that_runs_again_tells_why(store: Store) -> None:
    epoch = start(store)
    cursor = last(store)
    failed = AttemptFailed(AttemptRow("", 1, CallStatus.FAILED, START, START + 1, FAILURE))
    assert commit(store, epoch, failed, FlowAttemptStarted(2)) is None
    assert told(store, after=cursor) == [
        ("attempt.failed", "", {"attempt": 1, **REASON}),
        ("execution.retried", "", {"attempt": 2}),
    ]


OUTCOMES = {
    "completed": (call("a"), ("call.completed", {})),
    "reused": (
        call("a", source_execution_id="other", source_call_id="b"),
        ("call.reused", {"exec_id": "other", "call_id": "b"}),
    ),
    "failed": (call("a", status=CallStatus.FAILED, output=None, failure=FAILURE), ("call.failed", REASON)),
    "timed out": (call("a", status=CallStatus.TIMED_OUT, output=None, failure=FAILURE), ("call.failed", REASON)),
    "cancelled": (call("a", status=CallStatus.CANCELLED, output=None), ("call.cancelled", {})),
    "child flow": (call("a", kind=CallKind.FLOW, child_id="c"), ("call.completed", {})),
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_a_call_tells_of_its_outcome(store: Store, name: str) -> None:
    row, (kind, detail) = OUTCOMES[name]
    epoch = start(store)
    cursor = last(store)
    assert commit(store, epoch, CallRecorded(row)) is None
    assert told(store, after=cursor) == [(kind, "a", detail)]
    assert events(store)[-1].at == row.ended_at


def test_a_recorded_value_is_no_event(store: Store) -> None:
    epoch = start(store)
    cursor = last(store)
    assert commit(store, epoch, CallRecorded(call("now", kind=CallKind.VALUE))) is None
    assert told(store, after=cursor) == []


def test_progress_is_an_event(store: Store) -> None:
    epoch = start(store)
    cursor = last(store)
    assert commit(store, epoch, ProgressMade("a", START + 3, "half", 50.0), ProgressMade("", START, None, 1)) is None
    assert told(store, after=cursor) == [
        ("progress", "a", {"message": "half", "percent": 50.0}),
        ("progress", "", {"message": None, "percent": 1}),
    ]


def started(attempt: int = 0, **fields: Any) -> CallStarted:
    return CallStarted(call("a", status=CallStatus.RUNNING, attempt=attempt, ended_at=None, output=None, **fields))


def test_an_attempt_is_told_to_have_started_once(store: Store) -> None:
    epoch = start(store)
    cursor = last(store)
    for mutation in (started(), started(), started(1, started_at=START + 7), started(1)):
        assert commit(store, epoch, mutation) is None
    assert told(store, after=cursor) == [
        ("call.started", "a", {"attempt": 1}),
        ("call.started", "a", {"attempt": 2}),
    ]
    assert events(store)[-1].at == START + 7


def test_a_failed_call_that_runs_again_is_told_to_have_started(store: Store) -> None:
    epoch = start(store)
    failed = call("a", status=CallStatus.FAILED, output=None, failure=FAILURE)
    assert commit(store, epoch, CallRecorded(failed)) is None
    cursor = last(store)
    assert commit(store, epoch, started(1)) is None
    assert told(store, after=cursor) == [("call.started", "a", {"attempt": 2})]


@pytest.mark.parametrize("status", set(CallStatus) - {CallStatus.RUNNING})
@pytest.mark.parametrize("together", [True, False])
def test_a_start_that_comes_late_is_not_told_after_the_end(store: Store, status: CallStatus, together: bool) -> None:
    epoch = start(store)
    outcome = CallRecorded(call("a", status=status, attempt=1))
    cursor = last(store)
    groups = [[outcome, started()]] if together else [[outcome], [started()]]
    for group in groups:
        assert store.commit([Commit("exec", epoch, [mutation]) for mutation in group]) == [None] * len(group)
    assert [kind for kind, _, _ in told(store, after=cursor) if kind == "call.started"] == []


def test_a_commit_that_is_refused_tells_nothing(store: Store) -> None:
    epoch = start(store)
    start(store, "other")
    assert commit(store, epoch, CallRecorded(call("a"))) is None
    cursor = last(store)
    # The second of a group fails halfway: its events go with it, those of the others stay.
    answers = store.commit(
        [
            Commit("exec", epoch, [CallRecorded(call("b"))]),
            Commit("exec", epoch, [ProgressMade("", START, "lost", None), CallRecorded(call("a"))]),
            Commit("exec", epoch - 1, [ProgressMade("", START, "fenced", None)]),
            Commit("other", 1, [CallRecorded(call("c"))]),
        ]
    )
    assert [answer is None for answer in answers] == [True, False, False, True]
    assert isinstance(answers[2], Fenced)
    assert told(store, after=cursor) == [("call.completed", "b", {})]
    assert told(store, "other")[-1] == ("call.completed", "c", {})


def test_ids_grow_over_all_executions_and_a_page_goes_on_behind_its_cursor(store: Store) -> None:
    start(store)
    start(store, "other")
    for number in range(5):
        for execution_id in ("exec", "other"):
            answer = commit(store, 1, ProgressMade("", START, str(number), None), execution_id=execution_id)
            assert answer is None
    everything = events(store)
    assert [json.loads(row.detail)["message"] for row in everything[2:]] == list("01234")
    pages, cursor = [], 0
    while page := events(store, after=cursor, limit=2):
        pages.append(page)
        cursor = page[-1].event_id
    assert [row for page in pages for row in page] == everything
    assert {row.event_id for row in everything}.isdisjoint(row.event_id for row in events(store, "other"))
    assert events(store, "unknown") == []


def test_the_ids_of_deleted_events_are_not_given_again(store: Store) -> None:
    create(store, execution(status=Status.CANCELLED))
    gone = last(store)
    store.executions.delete("exec")
    assert events(store) == []
    create(store, execution())
    assert last(store) > gone


def test_a_hint_is_written_like_any_commit_and_refused_like_one(store: Store) -> None:
    epoch = start(store)
    cursor = last(store)
    made = [ProgressMade("", START, "hint", None)]
    answers = store.commit([Commit("exec", epoch, made, hint=True), Commit("exec", 9, made, hint=True)])
    assert answers[0] is None
    assert isinstance(answers[1], Fenced)
    assert told(store, after=cursor) == [("progress", "", {"message": "hint", "percent": None})]


def test_a_reader_with_a_cursor_misses_none_and_sees_none_twice_while_writers_write(store: Store) -> None:
    writers, rounds = 4, 250
    for number in range(writers):
        start(store, f"e{number}")
    done = threading.Event()

    def write(number: int) -> None:
        for index in range(rounds):
            made = ProgressMade("", START, str(index), None)
            store.commit([Commit(f"e{number}", 1, [made]), Commit(f"e{(number + 1) % writers}", 9, [made])])

    seen: list[EventRow] = []

    def read() -> None:
        rng = random.Random(7)
        cursor = 0
        while True:
            last_look = done.is_set()
            while page := events(store, "e0", cursor, limit=rng.randint(1, 40)):
                seen.extend(page)
                cursor = page[-1].event_id
            if last_look:
                return

    reader = threading.Thread(target=read)
    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in (reader, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    reader.join()
    assert seen == store.events.after("e0", 0, limit=10_000)
    assert [json.loads(row.detail)["message"] for row in seen[2:]] == [str(index) for index in range(rounds)]
