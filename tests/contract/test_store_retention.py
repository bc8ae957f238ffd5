"""The store's side of retention: deleting trees, finding what is old, and noting who names which blob."""

from __future__ import annotations

import json

import pytest

from kitaru.core.failure import Failure
from kitaru.core.mutations import (
    ArtifactSaved,
    AttemptFailed,
    CallRecorded,
    Conflict,
    DriftFound,
    InUse,
    MetadataLogged,
    Part,
    StatusChanged,
    WaitAnswered,
    WaitOpened,
)
from kitaru.core.ports import Store, Unread
from kitaru.core.rows import ArtifactRow, AttemptRow, DriftRow, ExecutionRow, MetadataRow, WaitRow
from kitaru.core.states import CallKind, CallStatus, Status, WaitStatus
from kitaru.errors import FailureOrigin
from tests.contract.stores import SECOND, START, ManualClock, call, commit, create, execution, runner, start

DAY = 86_400 * SECOND
FINISHED = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)


def ended(execution_id: str, status: Status = Status.COMPLETED, **fields: object) -> ExecutionRow:
    return execution(execution_id, status=status, **{"ended_at": START, **fields})


def present(store: Store, *execution_ids: str) -> list[str]:
    return [one for one in execution_ids if store.executions.get(one) is not None]


# ── deleting ─────────────────────────────────────────────────────────────────────────────────────


def test_an_execution_goes_with_its_descendants_and_with_nobody_else(store: Store) -> None:
    create(
        store,
        ended("root"),
        ended("child", parent_id="root"),
        ended("grandchild", Status.FAILED, parent_id="child"),
        ended("other"),
    )
    deleted = store.executions.delete("root")
    assert set(deleted.execution_ids) == {"root", "child", "grandchild"}
    assert deleted.rows == 6  # an execution and the event of its creation, three times
    assert present(store, "root", "child", "grandchild", "other") == ["other"]


def test_a_dry_run_tells_the_same_and_deletes_nothing(store: Store) -> None:
    create(store, ended("root", tags=("a", "b")), ended("child", parent_id="root"))
    told = store.executions.delete("root", dry_run=True)
    assert present(store, "root", "child") == ["root", "child"]
    assert store.executions.get("root") == ended("root", tags=("a", "b"))
    assert store.executions.delete("root") == told


@pytest.mark.parametrize("status", [Status.PENDING, Status.RUNNING, Status.WAITING])
def test_an_execution_with_a_child_that_goes_on_stays(store: Store, status: Status) -> None:
    create(store, ended("root", Status.FAILED), ended("child", parent_id="root"), execution("last", parent_id="child"))
    create(store, execution("other", parent_id="root", status=status))
    with pytest.raises(InUse) as caught:
        store.executions.delete("root")
    assert caught.value.part is Part.CHILD
    assert len(present(store, "root", "child", "last", "other")) == 4


@pytest.mark.parametrize("status", Status)
def test_a_child_stays_while_its_parent_may_go_on(store: Store, status: Status) -> None:
    create(store, execution("root", status=status), ended("child", parent_id="root"))
    if status in (Status.COMPLETED, Status.CANCELLED):
        store.executions.delete("child")
        return
    with pytest.raises(InUse) as caught:
        store.executions.delete("child")
    assert (caught.value.other, caught.value.part, caught.value.status) == ("root", Part.PARENT, status)


@pytest.mark.parametrize("status", Status)
def test_an_original_stays_while_a_replay_of_it_may_go_on(store: Store, status: Status) -> None:
    create(
        store,
        ended("root"),
        ended("child", parent_id="root"),
        ended("replay", original_id="child"),
        execution("again", original_id="replay", status=status),
    )
    if status in (Status.COMPLETED, Status.CANCELLED):
        store.executions.delete("root")
        assert present(store, "root", "child", "replay", "again") == ["replay", "again"]
        return
    with pytest.raises(InUse) as caught:
        store.executions.delete("root")
    assert (caught.value.other, caught.value.part, caught.value.status) == ("again", Part.REPLAY, status)


def test_what_is_deleted_already_is_a_conflict(store: Store) -> None:
    create(store, ended("root"))
    store.executions.delete("root")
    with pytest.raises(Conflict) as caught:
        store.executions.delete("root")
    assert caught.value.status is None


# ── what is old ──────────────────────────────────────────────────────────────────────────────────


def old(store: Store, age: int, *statuses: Status, flow: str | None = None, limit: int = 10) -> list[str]:
    found = store.retention.old(age=age, statuses=statuses or FINISHED, flow=flow, after=(0, ""), limit=limit)
    return [execution_id for _, execution_id in found]


def test_age_counts_from_the_end_by_the_databases_clock(store: Store, clock: ManualClock) -> None:
    create(store, ended("early"), ended("late", ended_at=START + DAY))
    assert old(store, DAY) == []
    clock.pass_(86_400)
    assert old(store, DAY) == []
    clock.pass_(0.000001)
    assert old(store, DAY) == ["early"]
    clock.pass_(86_400)
    assert old(store, DAY) == ["early", "late"]
    assert old(store, 3 * DAY) == []


def test_only_finished_roots_of_the_statuses_and_the_flow_are_old(store: Store, clock: ManualClock) -> None:
    create(store, *(ended(status.value, status) for status in FINISHED))
    create(store, *(execution(status.value, status=status) for status in Status if status not in FINISHED))
    create(store, ended("child", parent_id="completed"), ended("left", parent_id="gone"), ended("b", flow="other"))
    clock.pass_(10)
    assert set(old(store, 1)) == {"completed", "failed", "cancelled", "left", "b"}
    assert set(old(store, 1, Status.COMPLETED)) == {"completed", "left", "b"}
    assert set(old(store, 1, Status.FAILED, Status.CANCELLED)) == {"failed", "cancelled"}
    assert old(store, 1, flow="other") == ["b"]
    assert old(store, 1, flow="unknown") == []


def test_pages_go_on_where_the_last_one_ended(store: Store, clock: ManualClock) -> None:
    create(store, *(ended(f"e{number}", created_at=START + number // 2) for number in range(7)))
    clock.pass_(10)
    found: list[str] = []
    place = (0, "")
    while page := store.retention.old(age=1, statuses=FINISHED, flow=None, after=place, limit=2):
        place = page[-1]
        found += [execution_id for _, execution_id in page]
    assert found == [f"e{number}" for number in range(7)]


def test_the_oldest_run_is_that_of_what_runs_now(store: Store) -> None:
    assert store.retention.oldest_run() is None
    create(store, execution("waits", status=Status.WAITING, started_at=1), ended("ended", started_at=2))
    assert store.retention.oldest_run() is None
    create(store, execution("runs", status=Status.RUNNING, started_at=7))
    create(store, execution("runs too", status=Status.RUNNING, started_at=5))
    assert store.retention.oldest_run() == 5


# ── who names which blob ─────────────────────────────────────────────────────────────────────────


def named(number: int) -> str:
    return f'{{"$blob":{{"codec":"json","digest":"{number:064x}","size":1}}}}'


def unread(store: Store, limit: int = 10) -> dict[str, Unread]:
    return {one.execution_id: one for one in store.retention.unread(after=(0, ""), limit=limit)}


def test_every_text_that_may_name_a_blob_is_read(store: Store) -> None:
    """All columns that hold encoded values: a new one has to be added here and to the statement."""
    store.runners.register(runner(), lease_seconds=60)
    epoch = start(store, "parent")
    failures = [Failure("t", "m", FailureOrigin.USER_CODE, "", named(number)) for number in range(3)]
    wait = WaitRow("w", "w", WaitStatus.OPEN, START, metadata=named(10), default=named(11))
    of_wait = call("w", kind=CallKind.WAIT, status=CallStatus.RUNNING, output=None, inputs=named(12), position=1)
    answers = [
        commit(
            store,
            epoch,
            CallRecorded(call(inputs=named(13), output=named(14))),
            CallRecorded(call("f", status=CallStatus.FAILED, output=None, failure=failures[0], input_digest="f")),
            AttemptFailed(AttemptRow("f", 1, CallStatus.FAILED, START, START, failures[1])),
            ArtifactSaved(ArtifactRow("name", "", named(15), START)),
            MetadataLogged((MetadataRow("", "key", named(16), None),)),
            DriftFound((DriftRow("step", "step", "x", named(17), named(18)),)),
            WaitOpened(wait, of_wait),
            execution_id="parent",
        ),
        commit(store, None, WaitAnswered("w", WaitStatus.ANSWERED, START, answer=named(19)), execution_id="parent"),
        commit(store, epoch, StatusChanged(Status.FAILED, START, failure=failures[2]), execution_id="parent"),
    ]
    assert answers == [None] * 3
    create(store, ended("given", inputs=named(20), result=named(21), replay=json.dumps({"output": named(22)})))
    found = unread(store)
    texts = found["parent"].texts + found["given"].texts
    for number in (0, 1, 2, *range(10, 23)):
        assert any(f"{number:064x}" in text for text in texts), number


def test_what_names_no_blob_has_no_texts(store: Store) -> None:
    create(store, ended("e", inputs='{"a":"blob"}', snapshot="5" * 64))
    assert unread(store)["e"] == Unread("e", START, 0, Status.COMPLETED, "5" * 64, ())


def test_what_is_noted_is_told_and_not_read_again(store: Store) -> None:
    create(store, ended("a"), ended("b"))
    found = unread(store)
    store.retention.note([(found["a"], {"1", "2"}), (found["b"], {"2"})])
    assert unread(store) == {}
    assert sorted(store.retention.owners(["1", "2", "3"])) == [("1", "a"), ("2", "a"), ("2", "b")]
    assert store.retention.owners([]) == []
    store.executions.delete("a")
    assert store.retention.owners(["1", "2", "3"]) == [("2", "b")]


def test_an_unfinished_execution_is_always_read(store: Store) -> None:
    create(store, execution("e"))
    store.retention.note([(unread(store)["e"], {"1"})])
    assert list(unread(store)) == ["e"]


def test_what_went_on_or_was_made_anew_is_read_again(store: Store) -> None:
    create(store, ended("retried", Status.FAILED), ended("new"))
    store.retention.note([(one, {"1"}) for one in unread(store).values()])
    assert unread(store) == {}
    store.executions.delete("new")
    create(store, ended("new", created_at=START + 1))
    assert list(unread(store)) == ["new"]
    moved = StatusChanged(Status.PENDING, START, from_statuses=(Status.FAILED,))
    assert commit(store, None, moved, execution_id="retried") is None
    assert list(unread(store)) == ["retried", "new"]


def test_what_a_deletion_has_left_of_notes_owns_nothing(store: Store) -> None:
    """A note that comes when its execution has just been deleted."""
    create(store, ended("e"))
    found = unread(store)["e"]
    store.executions.delete("e")
    store.retention.note([(found, {"1"})])
    assert store.retention.owners(["1"]) == []
    create(store, ended("e", created_at=START + 1))
    assert list(unread(store)) == ["e"]


def test_unread_executions_come_in_the_order_in_which_they_were_made(store: Store) -> None:
    create(store, ended("b", created_at=1), ended("a", created_at=2), ended("c", created_at=1))
    assert list(unread(store)) == ["b", "c", "a"]
    assert list(unread(store, limit=2)) == ["b", "c"]
    behind = store.retention.unread(after=(1, "c"), limit=10)
    assert [one.execution_id for one in behind] == ["a"]


def test_the_snapshots_of_unfinished_executions_are_told(store: Store) -> None:
    create(store, ended("done")._replace(snapshot="1"))
    for number, digest in enumerate(("2", "2", "3", None)):
        create(store, execution(f"e{number}")._replace(snapshot=digest))
    assert store.retention.unfinished_snapshots() == {"2", "3"}


def test_a_store_keeps_its_id(store: Store) -> None:
    first = store.retention.store_id("1")
    assert first in ("1", None)
    assert store.retention.store_id("2") == first
    store.retention.settle(1)
    store.retention.settle(2)


def test_runners_that_are_gone_are_cleared(store: Store, clock: ManualClock) -> None:
    store.runners.register(runner("short"), lease_seconds=1)
    store.runners.register(runner("long"), lease_seconds=10)
    assert store.runners.clear() == 0
    clock.pass_(5)
    assert store.runners.clear() == 1
    assert [row.runner_id for row in store.runners.list()] == ["long"]
