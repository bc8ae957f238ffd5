"""What a commit writes, and what it is refused for (S6.1, S6.2)."""

from __future__ import annotations

import pytest

from kitaru.core.failure import Failure
from kitaru.core.mutations import (
    AlreadyExists,
    ArtifactSaved,
    AttemptFailed,
    CallRecorded,
    CallStarted,
    Claimed,
    Commit,
    Conflict,
    DriftFound,
    ExecutionCreated,
    Fenced,
    FlowAttemptStarted,
    HandledChanged,
    MetadataLogged,
    Mutation,
    Refusal,
    StatusChanged,
)
from kitaru.core.ports import Store
from kitaru.core.rows import ArtifactRow, AttemptRow, DriftRow, ExecutionRow, MetadataRow
from kitaru.core.states import CallStatus, Status, may_follow
from kitaru.errors import FailureOrigin
from tests.contract.stores import (
    SECOND,
    START,
    ManualClock,
    call,
    commit,
    create,
    execution,
    refusal,
    runner,
    start,
)

FAILURE = Failure("builtins:ValueError", "bad\nvalue", FailureOrigin.USER_CODE, "Traceback ...", '{"type": "x"}')


# ── executions ───────────────────────────────────────────────────────────────────────────────────


def test_a_created_execution_is_read_back_as_it_was_given(store: Store) -> None:
    row = execution(
        status=Status.FAILED,
        epoch=3,
        runner_id="r",
        parent_id="p",
        parent_call_id="pc",
        original_id="o",
        retries=2,
        cache=False,
        image='{"base_image": "x"}',
        code_digest="code",
        attempt=4,
        started_at=1,
        ended_at=2,
        result='"r"',
        failure=FAILURE,
        tags=("zeta", "alpha, beta"),
    )
    create(store, row, execution("plain"))
    assert store.executions.get("exec") == row
    assert store.executions.get("plain") == execution("plain")
    assert store.executions.status("exec") is Status.FAILED


def test_nothing_is_found_under_an_unknown_id(store: Store) -> None:
    assert store.executions.get("exec") is None
    assert store.executions.status("exec") is None
    assert store.executions.get("\udcff") is None


def test_an_execution_is_created_once_s1_2(store: Store) -> None:
    create(store, execution(flow="first"))
    answer = commit(store, None, ExecutionCreated(execution(flow="second")))
    assert isinstance(answer, AlreadyExists)
    found = store.executions.get("exec")
    assert found is not None
    assert found.flow == "first"


def test_the_same_tag_given_twice_counts_once(store: Store) -> None:
    create(store, execution(tags=("a", "b", "a")))
    found = store.executions.get("exec")
    assert found is not None
    assert found.tags == ("a", "b")


# ── status ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("before", Status)
@pytest.mark.parametrize("after", Status)
def test_s6_1_a_status_changes_as_the_table_says(store: Store, before: Status, after: Status) -> None:
    create(store, execution(status=before, runner_id="runner"))
    answer = commit(store, None, StatusChanged(after, START, from_statuses=(before,)))
    if may_follow(before, after):
        assert answer is None
        assert store.executions.status("exec") is after
    else:
        assert refusal(answer) == (Conflict, before)
        assert store.executions.status("exec") is before


@pytest.mark.parametrize("before", Status)
def test_a_status_that_was_not_asked_for_is_a_conflict(store: Store, before: Status) -> None:
    create(store, execution(status=before))
    others = tuple(set(Status) - {before})
    assert refusal(commit(store, None, StatusChanged(Status.CANCELLED, START, from_statuses=others))) == (
        Conflict,
        before,
    )


def test_the_end_of_an_execution_keeps_result_and_time_and_releases_the_runner(store: Store) -> None:
    epoch = start(store)
    assert commit(store, epoch, StatusChanged(Status.COMPLETED, START + 5, result='"done"')) is None
    found = store.executions.get("exec")
    assert found is not None
    assert (found.status, found.ended_at, found.result, found.runner_id) == (
        Status.COMPLETED,
        START + 5,
        '"done"',
        None,
    )


def test_a_failure_is_kept_whole(store: Store) -> None:
    epoch = start(store)
    assert commit(store, epoch, StatusChanged(Status.FAILED, START, failure=FAILURE)) is None
    found = store.executions.get("exec")
    assert found is not None
    assert found.failure == FAILURE


def test_a_failure_whose_message_no_database_can_keep_is_recorded_with_escapes(store: Store) -> None:
    epoch = start(store)
    failure = Failure("builtins:ValueError", "a\0b\udcff é", FailureOrigin.USER_CODE)
    assert commit(store, epoch, StatusChanged(Status.FAILED, START, failure=failure)) is None
    found = store.executions.get("exec")
    assert found is not None
    assert found.failure == failure.__class__("builtins:ValueError", "a\\x00b\\udcff é", FailureOrigin.USER_CODE)


@pytest.mark.parametrize("to", [Status.WAITING, Status.PENDING])
def test_an_execution_that_is_parked_or_handed_back_has_no_runner_and_no_end(store: Store, to: Status) -> None:
    epoch = start(store)
    assert commit(store, epoch, StatusChanged(to, START)) is None
    found = store.executions.get("exec")
    assert found is not None
    assert (found.status, found.runner_id, found.ended_at, found.epoch) == (to, None, None, epoch)


def test_a_retried_execution_loses_the_failure_that_ended_it(store: Store) -> None:
    create(store, execution(status=Status.FAILED, failure=FAILURE, ended_at=START, epoch=1))
    assert commit(store, None, StatusChanged(Status.PENDING, START, from_statuses=(Status.FAILED,))) is None
    found = store.executions.get("exec")
    assert found is not None
    assert (found.failure, found.ended_at) == (None, None)


def test_s1_10_cancelling_reaches_all_unfinished_descendants(store: Store) -> None:
    create(
        store,
        execution("root", status=Status.RUNNING, epoch=1, runner_id="runner"),
        execution("waiting", status=Status.WAITING, parent_id="root"),
        execution("failed", status=Status.FAILED, parent_id="root", ended_at=7),
        execution("done", status=Status.COMPLETED, parent_id="root", result="1"),
        execution("below-done", status=Status.RUNNING, epoch=4, parent_id="done", runner_id="runner"),
        execution("pending", parent_id="below-done"),
        execution("stranger"),
    )
    change = StatusChanged(Status.CANCELLED, START, from_statuses=(Status.RUNNING,), cascade=True)
    late = CallRecorded(call())
    answers = store.commit([Commit("root", None, [change]), Commit("below-done", 4, [late])])
    assert answers[0] is None
    # The same transaction knows at once that the descendant has lost its owner.
    assert refusal(answers[1]) == (Fenced, Status.CANCELLED)
    assert {
        name: store.executions.status(name) for name in ("root", "waiting", "below-done", "pending")
    } == dict.fromkeys(("root", "waiting", "below-done", "pending"), Status.CANCELLED)
    assert store.executions.status("failed") is Status.FAILED
    assert store.executions.status("done") is Status.COMPLETED
    assert store.executions.status("stranger") is Status.PENDING
    child = store.executions.get("below-done")
    assert child is not None
    assert (child.ended_at, child.runner_id) == (START, None)


def test_a_cascade_leaves_finished_descendants_although_their_status_may_change(store: Store) -> None:
    create(store, execution("root", status=Status.FAILED), execution("child", status=Status.FAILED, parent_id="root"))
    change = StatusChanged(Status.PENDING, START, from_statuses=(Status.FAILED,), cascade=True)
    assert commit(store, None, change, execution_id="root") is None
    assert store.executions.status("child") is Status.FAILED


def test_without_cascade_descendants_go_on(store: Store) -> None:
    create(store, execution("root", status=Status.RUNNING), execution("child", parent_id="root"))
    assert commit(store, None, StatusChanged(Status.CANCELLED, START), execution_id="root") is None
    assert store.executions.status("child") is Status.PENDING


def test_s6_8_of_cancel_and_completion_the_first_commit_stands(store: Store) -> None:
    epoch = start(store)
    cancelled = Commit("exec", None, [StatusChanged(Status.CANCELLED, START)])
    completed = Commit("exec", epoch, [StatusChanged(Status.COMPLETED, START, result="1")])
    first, second = store.commit([cancelled, completed])
    assert first is None
    assert refusal(second) == (Fenced, Status.CANCELLED)
    start(store, "other")
    first, second = store.commit([completed._replace(execution_id="other"), cancelled._replace(execution_id="other")])
    assert first is None
    assert refusal(second) == (Conflict, Status.COMPLETED)


def test_the_status_of_an_unknown_execution_does_not_change(store: Store) -> None:
    assert refusal(commit(store, None, StatusChanged(Status.CANCELLED, START))) == (Conflict, None)


# ── claims ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("before", Status)
def test_s6_1_an_execution_is_claimed_as_the_table_says(store: Store, before: Status) -> None:
    row = execution(status=before, epoch=7, result='"r"', failure=FAILURE, ended_at=9)
    create(store, row)
    answer = commit(store, None, Claimed("runner", before, 7, 2))
    if may_follow(before, Status.RUNNING):
        assert answer is None
        assert store.executions.get("exec") == row._replace(
            status=Status.RUNNING,
            epoch=8,
            runner_id="runner",
            attempt=2,
            started_at=START,
            ended_at=None,
            result=None,
            failure=None,
        )
    else:
        assert refusal(answer) == (Conflict, before)
        assert store.executions.get("exec") == row


def test_a_second_claim_keeps_the_time_of_the_first_start(store: Store, clock: ManualClock) -> None:
    epoch = start(store)
    assert commit(store, epoch, StatusChanged(Status.WAITING, START)) is None
    clock.pass_(5)
    assert commit(store, None, Claimed("runner", Status.WAITING, epoch, 1)) is None
    found = store.executions.get("exec")
    assert found is not None
    assert (found.started_at, found.epoch) == (START, epoch + 1)


@pytest.mark.parametrize("claim", [Claimed("other", Status.WAITING, 0, 1), Claimed("other", Status.PENDING, 1, 1)])
def test_a_claim_of_another_state_than_was_read_is_a_conflict(store: Store, claim: Claimed) -> None:
    create(store, execution())
    assert refusal(commit(store, None, claim)) == (Conflict, Status.PENDING)


def test_an_unknown_execution_cannot_be_claimed(store: Store) -> None:
    assert refusal(commit(store, None, Claimed("runner", Status.PENDING, 0, 1))) == (Conflict, None)


def test_s6_2_a_running_execution_is_taken_over_only_when_its_lease_is_over(store: Store, clock: ManualClock) -> None:
    epoch = start(store)
    store.runners.register(runner("other"), lease_seconds=600)
    takeover = Claimed("other", Status.RUNNING, epoch, 1)
    clock.pass_(59)
    assert refusal(commit(store, None, takeover)) == (Conflict, Status.RUNNING)
    clock.pass_(1)
    assert commit(store, None, takeover) is None
    assert refusal(commit(store, epoch, CallRecorded(call()))) == (Fenced, Status.RUNNING)
    assert commit(store, epoch + 1, CallRecorded(call())) is None


def test_of_two_claims_in_one_group_the_first_wins(store: Store) -> None:
    create(store, execution())
    for name in ("one", "two"):
        store.runners.register(runner(name), lease_seconds=60)
    first, second = store.commit(
        [Commit("exec", None, [Claimed(name, Status.PENDING, 0, 1)]) for name in ("one", "two")]
    )
    assert first is None
    assert refusal(second) == (Conflict, Status.RUNNING)


# ── fencing ──────────────────────────────────────────────────────────────────────────────────────

OWNED: list[Mutation] = [
    FlowAttemptStarted(2),
    CallStarted(call(status=CallStatus.RUNNING, ended_at=None, output=None)),
    CallRecorded(call()),
    AttemptFailed(AttemptRow("step", 1, CallStatus.FAILED, START, START, FAILURE)),
    HandledChanged(("step",), True),
    MetadataLogged((MetadataRow("", "key", "1", 1.0),)),
    ArtifactSaved(ArtifactRow("name", "", "1", START)),
    DriftFound((DriftRow("step", "step", "x", "1", "2"),)),
    StatusChanged(Status.COMPLETED, START),
]


def _everything(store: Store) -> list[object]:
    calls, executions = store.calls, store.executions
    return [
        executions.get("exec"),
        calls.of("exec"),
        calls.attempts("exec"),
        calls.metadata("exec"),
        calls.drift("exec"),
        store.artifacts.list("exec"),
    ]


@pytest.mark.parametrize("mutation", OWNED, ids=lambda mutation: type(mutation).__name__)
@pytest.mark.parametrize("case", ["older epoch", "newer epoch", "cancelled", "deleted"])
def test_s6_2_who_does_not_own_the_execution_writes_nothing(store: Store, mutation: Mutation, case: str) -> None:
    epoch = start(store)
    status: Status | None = Status.RUNNING
    if case in ("cancelled", "deleted"):
        assert commit(store, None, StatusChanged(Status.CANCELLED, START)) is None
        status = Status.CANCELLED
    if case == "deleted":
        store.executions.delete("exec")
        status = None
    before = _everything(store)
    wrong = {"older epoch": epoch - 1, "newer epoch": epoch + 1}.get(case, epoch)
    assert refusal(commit(store, wrong, mutation)) == (Fenced, status)
    assert _everything(store) == before


@pytest.mark.parametrize("mutation", OWNED[:-1], ids=lambda mutation: type(mutation).__name__)
def test_a_commit_without_an_epoch_cannot_hold_what_only_an_owner_may_write(store: Store, mutation: Mutation) -> None:
    start(store)
    before = _everything(store)
    answer = commit(store, None, mutation)
    assert type(answer) is Refusal
    assert type(mutation).__name__ in str(answer)
    assert _everything(store) == before


# ── groups ───────────────────────────────────────────────────────────────────────────────────────


def _recorded(store: Store, execution_id: str = "exec") -> list[str]:
    return [row.call_id for row in store.calls.of(execution_id)]


def test_a_group_is_written_in_order_and_answered_one_by_one(store: Store) -> None:
    epoch = start(store)
    group = [Commit("exec", epoch, [CallRecorded(call(f"step_{i}", position=i))]) for i in range(5)]
    group[2] = group[2]._replace(epoch=epoch - 1)
    answers = store.commit(group)
    assert [answer is None for answer in answers] == [True, True, False, True, True]
    assert _recorded(store) == ["step_0", "step_1", "step_3", "step_4"]


def _bad(kind: str, epoch: int) -> Commit:
    good = CallRecorded(call("halfway"))
    match kind:
        case "refused halfway":
            return Commit(
                "exec", epoch, [good, StatusChanged(Status.COMPLETED, START, from_statuses=(Status.WAITING,))]
            )
        case "missing value":
            return Commit("exec", epoch, [good, CallRecorded(call("bad", name=None))])
        case "number too large":
            return Commit("exec", epoch, [good, CallRecorded(call("bad", ended_at=2**70))])
        case "text that is no text":
            return Commit("exec", epoch, [good, CallRecorded(call("bad", output="\udcff"))])
        case _:
            return Commit("exec", epoch, [good, CallRecorded(call("bad", output=object()))])


@pytest.mark.parametrize(
    "kind", ["refused halfway", "missing value", "number too large", "text that is no text", "no value of a column"]
)
def test_one_bad_commit_leaves_the_rest_of_its_group_written(store: Store, kind: str) -> None:
    epoch = start(store)
    good = [Commit("exec", epoch, [CallRecorded(call(f"step_{i}", position=i))]) for i in range(3)]
    answers = store.commit([good[0], _bad(kind, epoch), *good[1:]])
    assert [answer is None for answer in answers] == [True, False, True, True]
    assert isinstance(answers[1], Refusal)
    assert _recorded(store) == ["step_0", "step_1", "step_2"]
    # Alone it is refused as well, and the store goes on.
    (answer,) = store.commit([_bad(kind, epoch)])
    assert isinstance(answer, Refusal)
    assert commit(store, epoch, CallRecorded(call("after", position=9))) is None
    assert _recorded(store)[-1] == "after"


def test_an_end_in_a_group_fences_the_commits_behind_it(store: Store) -> None:
    epoch = start(store)
    answers = store.commit(
        [
            Commit("exec", epoch, [CallRecorded(call("before"))]),
            Commit("exec", epoch, [StatusChanged(Status.COMPLETED, START, result="1")]),
            Commit("exec", epoch, [CallRecorded(call("behind"))]),
        ]
    )
    assert answers[:2] == [None, None]
    assert refusal(answers[2]) == (Fenced, Status.COMPLETED)
    assert _recorded(store) == ["before"]


def test_a_creation_and_its_claim_may_share_a_commit(store: Store) -> None:
    store.runners.register(runner(), lease_seconds=60)
    row: ExecutionRow = execution(runner_id="runner")
    assert commit(store, None, ExecutionCreated(row), Claimed("runner", Status.PENDING, 0, 1)) is None
    assert commit(store, 1, CallRecorded(call())) is None


def test_an_empty_group_is_no_fault(store: Store) -> None:
    assert list(store.commit([])) == []


# ── the other mutations ──────────────────────────────────────────────────────────────────────────


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
