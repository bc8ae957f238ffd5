"""How executions come to be, and how their statuses change (S6.1)."""

from __future__ import annotations

import pytest

from kitaru.core.failure import Failure
from kitaru.core.mutations import (
    AlreadyExists,
    CallRecorded,
    Claimed,
    Commit,
    Conflict,
    ExecutionCreated,
    Fenced,
    StatusChanged,
)
from kitaru.core.ports import Store
from kitaru.core.states import Status, may_follow
from kitaru.errors import FailureOrigin
from tests.contract.stores import (
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


def test_an_execution_that_is_handed_back_stays_with_its_runner_and_has_no_end(store: Store) -> None:
    epoch = start(store)
    assert commit(store, epoch, StatusChanged(Status.PENDING, START)) is None
    found = store.executions.get("exec")
    assert found is not None
    assert (found.status, found.runner_id, found.ended_at, found.epoch) == (Status.PENDING, "runner", None, epoch)


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
            takeovers=int(before is Status.RUNNING),
            first_attempt=2 if before is Status.FAILED else 1,
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


def test_s6_2_a_runner_takes_over_from_itself_what_it_does_not_know_that_it_runs(store: Store) -> None:
    epoch = start(store)
    assert commit(store, None, Claimed("runner", Status.RUNNING, epoch, 1)) is None
    assert refusal(commit(store, epoch, CallRecorded(call()))) == (Fenced, Status.RUNNING)
    assert commit(store, epoch + 1, CallRecorded(call())) is None


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
