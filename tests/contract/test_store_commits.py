"""Who may write, and what a group of commits is answered (S6.2)."""

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
from kitaru.core.states import CallStatus, Status
from kitaru.errors import FailureOrigin
from tests.contract.stores import (
    START,
    call,
    commit,
    execution,
    refusal,
    runner,
    start,
)

FAILURE = Failure("builtins:ValueError", "bad\nvalue", FailureOrigin.USER_CODE, "Traceback ...", '{"type": "x"}')


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
    StatusChanged(Status.COMPLETED, START, has_parent=False),
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


@pytest.mark.parametrize("mutation", OWNED[:-2], ids=lambda mutation: type(mutation).__name__)
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


def test_a_group_that_makes_claims_and_ends_an_execution_is_written_in_order(store: Store) -> None:
    store.runners.register(runner("runner"), lease_seconds=60)
    claimed = Claimed("runner", Status.PENDING, 0, 1)
    group = [
        Commit("exec", None, [ExecutionCreated(execution())]),
        Commit("exec", None, [claimed]),
        Commit("exec", None, [claimed]),
        Commit("exec", 1, [CallRecorded(call())]),
        Commit("exec", 1, [StatusChanged(Status.COMPLETED, START, result="1", has_parent=False)]),
        Commit("exec", 1, [CallRecorded(call("late"))]),
        Commit("exec", None, [ExecutionCreated(execution())]),
    ]
    answers = [None if answer is None else type(answer) for answer in store.commit(group)]
    assert answers == [None, None, Conflict, None, None, Fenced, AlreadyExists]
    assert _recorded(store) == ["step"]
    assert store.executions.status("exec") is Status.COMPLETED


def test_what_was_demanded_for_the_whole_group_holds_no_longer_than_it_is_true(store: Store) -> None:
    """The end and what comes behind it were both true when the group began."""
    epoch = start(store)
    end = StatusChanged(Status.COMPLETED, START, result="1", has_parent=False)
    group = [Commit("exec", epoch, [end]), Commit("exec", epoch, [CallRecorded(call("late"))])]
    answers = store.commit(group)
    assert [type(answer) for answer in answers] == [type(None), Fenced]
    assert _recorded(store) == []


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
