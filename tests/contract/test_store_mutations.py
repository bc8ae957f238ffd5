"""What each mutation of an owner writes."""

from __future__ import annotations

import pytest

from kitaru.core.failure import Failure
from kitaru.core.mutations import (
    ArtifactSaved,
    AttemptFailed,
    CallRecorded,
    CallStarted,
    Commit,
    Conflict,
    DriftFound,
    FlowAttemptStarted,
    HandledChanged,
    MetadataLogged,
)
from kitaru.core.ports import Store
from kitaru.core.rows import ArtifactRow, AttemptRow, DriftRow, MetadataRow
from kitaru.core.states import CallStatus, Status
from kitaru.errors import FailureOrigin
from tests.contract.stores import (
    SECOND,
    START,
    call,
    commit,
    refusal,
    start,
)

FAILURE = Failure("builtins:ValueError", "bad\nvalue", FailureOrigin.USER_CODE, "Traceback ...", '{"type": "x"}')


def test_s1_7_the_number_of_the_bodys_run_is_kept(store: Store) -> None:
    epoch = start(store)
    assert commit(store, epoch, FlowAttemptStarted(3)) is None
    found = store.executions.get("exec")
    assert found is not None
    assert found.attempt == 3


def test_a_call_is_read_back_as_it_was_given(store: Store) -> None:
    epoch = start(store)
    row = call(
        status=CallStatus.FAILED,
        failure=FAILURE,
        output=None,
        handled=True,
        label="llm_call",
        code_digest="code",
        cache_key="key",
        source_execution_id="se",
        source_call_id="sc",
        child_id="child",
        position=4,
        occurrence=2,
        attempt=3,
    )
    assert commit(store, epoch, CallRecorded(row)) is None
    assert store.calls.of("exec") == [row]


def test_a_started_call_is_shown_and_its_outcome_replaces_it(store: Store) -> None:
    epoch = start(store)
    running = call(status=CallStatus.RUNNING, ended_at=None, output=None)
    assert commit(store, epoch, CallStarted(running)) is None
    assert store.calls.of("exec") == [running]
    assert [record.status for record in store.calls.memo("exec")] == [CallStatus.RUNNING]
    assert commit(store, epoch, CallStarted(running._replace(attempt=2))) is None
    assert store.calls.of("exec") == [running._replace(attempt=2)]
    assert commit(store, epoch, CallRecorded(call(attempt=2))) is None
    assert store.calls.of("exec") == [call(attempt=2)]


@pytest.mark.parametrize("status", set(CallStatus) - {CallStatus.RUNNING})
def test_a_late_start_never_overwrites_the_outcome_of_its_attempt(store: Store, status: CallStatus) -> None:
    epoch = start(store)
    outcome = call(status=status, attempt=2)
    late = call(status=CallStatus.RUNNING, attempt=1)
    assert commit(store, epoch, CallRecorded(outcome)) is None
    assert commit(store, epoch, CallStarted(late)) is None
    assert store.calls.of("exec") == [outcome]


@pytest.mark.parametrize("status", set(CallStatus) - {CallStatus.RUNNING})
def test_a_call_that_runs_again_is_shown_unless_it_has_succeeded(store: Store, status: CallStatus) -> None:
    epoch = start(store)
    outcome = call(status=status, attempt=2)
    again = call(status=CallStatus.RUNNING, attempt=2)
    assert commit(store, epoch, CallRecorded(outcome)) is None
    assert commit(store, epoch, CallStarted(again)) is None
    assert store.calls.of("exec") == [outcome if status is CallStatus.COMPLETED else again]


def test_start_and_outcome_in_one_commit_leave_the_outcome_in_either_order(store: Store) -> None:
    epoch = start(store)
    started, recorded = CallStarted(call(status=CallStatus.RUNNING)), CallRecorded(call())
    assert commit(store, epoch, started, recorded) is None
    assert store.calls.of("exec") == [call()]
    start(store, "other")
    assert commit(store, epoch, recorded, started, execution_id="other") is None
    assert store.calls.of("other") == [call()]


def test_the_start_of_a_call_does_not_undo_its_failure_in_the_same_group(store: Store) -> None:
    epoch = start(store)
    failed = call("b", status=CallStatus.FAILED, failure=FAILURE, output=None)
    mutations = [CallRecorded(call("a")), CallStarted(call("b", status=CallStatus.RUNNING)), CallRecorded(failed)]
    assert store.commit([Commit("exec", epoch, [mutation]) for mutation in mutations]) == [None, None, None]
    assert store.calls.of("exec") == [call("a"), failed]


@pytest.mark.parametrize("status", [CallStatus.FAILED, CallStatus.TIMED_OUT, CallStatus.CANCELLED])
def test_s3_2_an_outcome_that_was_no_success_is_replaced(store: Store, status: CallStatus) -> None:
    epoch = start(store)
    assert commit(store, epoch, CallRecorded(call(status=status, failure=FAILURE, output=None))) is None
    assert commit(store, epoch, CallRecorded(call(attempt=2))) is None
    assert store.calls.of("exec") == [call(attempt=2)]


def test_a_recorded_success_stays(store: Store) -> None:
    epoch = start(store)
    assert commit(store, epoch, CallRecorded(call(output='"first"'))) is None
    assert refusal(commit(store, epoch, CallRecorded(call(output='"second"')))) == (Conflict, Status.RUNNING)
    assert store.calls.of("exec") == [call(output='"first"')]


def test_s2_4_failed_attempts_are_kept_in_order(store: Store) -> None:
    epoch = start(store)
    rows = [
        AttemptRow("", 1, CallStatus.FAILED, START, START + 1, FAILURE),
        AttemptRow("step", 1, CallStatus.FAILED, START, START + 1, FAILURE),
        AttemptRow("step", 2, CallStatus.TIMED_OUT, START + 2, START + 3, None),
    ]
    assert commit(store, epoch, *[AttemptFailed(row) for row in reversed(rows)]) is None
    assert store.calls.attempts("exec") == rows


def test_handled_failures_are_marked_and_unmarked(store: Store) -> None:
    epoch = start(store)
    failed = [call(name, status=CallStatus.FAILED, position=i) for i, name in enumerate("abc")]
    # In one commit: the mark must find the row that the same commit records.
    assert commit(store, epoch, *map(CallRecorded, failed), HandledChanged(("a", "b"), True)) is None
    assert [row.handled for row in store.calls.of("exec")] == [True, True, False]
    assert commit(store, epoch, HandledChanged(("b",), False)) is None
    assert [row.handled for row in store.calls.of("exec")] == [True, False, False]


def test_s7_3_a_later_value_of_metadata_replaces_an_earlier_one(store: Store) -> None:
    epoch = start(store)
    first = (MetadataRow("", "cost", "1", 1.0), MetadataRow("step", "cost", "2.5", 2.5))
    assert commit(store, epoch, MetadataLogged(first)) is None
    assert commit(store, epoch, MetadataLogged((MetadataRow("step", "cost", '"n/a"', None),))) is None
    assert store.calls.metadata("exec") == [first[0], MetadataRow("step", "cost", '"n/a"', None)]


def test_s7_3_a_later_artifact_of_the_same_name_replaces_an_earlier_one(store: Store) -> None:
    epoch = start(store)
    one, two = ArtifactRow("report", "", "1", START), ArtifactRow("report", "step", "2", START + SECOND)
    other = ArtifactRow("another", "", "3", START)
    assert commit(store, epoch, ArtifactSaved(one), ArtifactSaved(other), ArtifactSaved(two)) is None
    assert store.artifacts.get("exec", "report") == two
    assert store.artifacts.get("exec", "absent") is None
    assert store.artifacts.list("exec") == [other, two]


def test_s3_3_a_drift_report_replaces_the_one_before(store: Store) -> None:
    epoch = start(store)
    old = (DriftRow("step", "step_2", "x", "1", None), DriftRow("step", "step_2", "a", None, "2"))
    assert commit(store, epoch, DriftFound(old)) is None
    assert store.calls.drift("exec") == list(old)
    assert commit(store, epoch, DriftFound(old[1:])) is None
    assert store.calls.drift("exec") == [old[1]]
