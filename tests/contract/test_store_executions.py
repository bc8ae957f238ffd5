"""Lists, look-ups and deletion of executions (S7.1: filtered and paged in the database)."""

from __future__ import annotations

import pytest

from kitaru.core.mutations import (
    ArtifactSaved,
    AttemptFailed,
    CallRecorded,
    Conflict,
    DriftFound,
    MetadataLogged,
    StatusChanged,
)
from kitaru.core.ports import ExecutionFilter, Store
from kitaru.core.rows import ArtifactRow, AttemptRow, DriftRow, MetadataRow
from kitaru.core.states import CallStatus, Status
from kitaru.errors import KitaruNotFoundError
from tests.contract.stores import START, call, commit, create, execution, start

EVERYTHING = ExecutionFilter()


def _ids(store: Store, where: ExecutionFilter = EVERYTHING, limit: int = 100, after: str | None = None) -> list[str]:
    return [row.execution_id for row in store.executions.list(where, limit=limit, after=after)]


def test_executions_are_listed_newest_first_and_by_id_where_equally_old(store: Store) -> None:
    create(
        store,
        execution("b", created_at=START),
        execution("c", created_at=START),
        execution("a", created_at=START),
        execution("old", created_at=START - 1),
        execution("new", created_at=START + 1),
    )
    assert _ids(store) == ["new", "c", "b", "a", "old"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 20])
def test_pages_hold_every_row_once(store: Store, size: int) -> None:
    rows = [execution(f"e{i:02}", created_at=START + i // 3, tags=(f"tag{i}",)) for i in range(20)]
    create(store, *rows)
    seen: list[str] = []
    while page := store.executions.list(EVERYTHING, limit=size, after=seen[-1] if seen else None):
        assert len(page) <= size
        assert all(row in rows for row in page)
        seen += [row.execution_id for row in page]
    assert seen == [
        row.execution_id for row in sorted(rows, key=lambda row: (row.created_at, row.execution_id), reverse=True)
    ]


def test_a_page_goes_on_where_the_last_one_ended_although_newer_ones_came(store: Store) -> None:
    create(store, *[execution(f"e{i}", created_at=START + i) for i in range(4)])
    assert _ids(store, limit=2) == ["e3", "e2"]
    create(store, execution("newer", created_at=START + 9))
    assert _ids(store, limit=2, after="e2") == ["e1", "e0"]


def test_a_page_after_a_deleted_row_says_so(store: Store) -> None:
    with pytest.raises(KitaruNotFoundError, match="'gone'"):
        _ids(store, after="gone")


FILTERS = [
    (ExecutionFilter(flow="x"), "a b"),
    (ExecutionFilter(statuses=(Status.FAILED,)), "b"),
    (ExecutionFilter(statuses=(Status.FAILED, Status.WAITING)), "b c"),
    (ExecutionFilter(statuses=()), ""),
    (ExecutionFilter(stack="k8s"), "c"),
    (ExecutionFilter(tag="red"), "a c"),
    (ExecutionFilter(tag="red' OR '1'='1"), ""),
    (ExecutionFilter(parent_id="a"), "b"),
    (ExecutionFilter(original_id="a"), "d"),
    (ExecutionFilter(project="other"), "d"),
    (ExecutionFilter(created_after=START + 1), "b c d"),
    (ExecutionFilter(created_before=START + 1), "a"),
    (ExecutionFilter(created_after=START + 1, created_before=START + 2), "b"),
    (ExecutionFilter(flow="x", tag="red", statuses=(Status.PENDING,), project="project", stack="local"), "a"),
    (ExecutionFilter(flow="x", tag="blue"), "b"),
]


@pytest.mark.parametrize(("where", "expected"), FILTERS, ids=lambda value: value if isinstance(value, str) else "")
def test_filters_restrict_together(store: Store, where: ExecutionFilter, expected: str) -> None:
    create(
        store,
        execution("a", flow="x", created_at=START, tags=("red", "blunt")),
        execution("b", flow="x", created_at=START + 1, status=Status.FAILED, parent_id="a", tags=("blue",)),
        execution("c", flow="y", created_at=START + 2, status=Status.WAITING, stack="k8s", tags=("red",)),
        execution("d", flow="y", created_at=START + 3, original_id="a", project="other"),
    )
    assert _ids(store, where) == sorted(expected.split(), reverse=True)


def test_a_filter_and_a_page_go_together(store: Store) -> None:
    create(store, *[execution(f"e{i}", created_at=START + i, flow="xy"[i % 2], tags=("t",)) for i in range(10)])
    where = ExecutionFilter(flow="x", statuses=(Status.PENDING, Status.RUNNING), tag="t")
    assert _ids(store, where, limit=2, after="e6") == ["e4", "e2"]


def test_ids_are_found_by_how_they_begin(store: Store) -> None:
    create(store, *[execution(name) for name in ("abc", "abd", "ab%", "b", "ab")])
    assert store.executions.find("ab", limit=10) == ["ab", "ab%", "abc", "abd"]
    assert store.executions.find("ab%", limit=10) == ["ab%"]
    assert store.executions.find("abc", limit=10) == ["abc"]
    assert store.executions.find("", limit=2) == ["ab", "ab%"]
    assert store.executions.find("x", limit=2) == []


def test_pending_executions_of_a_runner_come_oldest_first(store: Store) -> None:
    create(
        store,
        execution("b", runner_id="one", created_at=START + 1),
        execution("a", runner_id="one", created_at=START + 2),
        execution("first", runner_id="one", created_at=START),
        execution("other", runner_id="two"),
        execution("running", runner_id="one", status=Status.RUNNING),
        execution("nobody"),
    )
    found = store.executions.pending(runner_id="one", limit=10)
    assert [row.execution_id for row in found] == ["first", "b", "a"]
    assert [row.execution_id for row in store.executions.pending(runner_id="one", limit=1)] == ["first"]


def test_a_deleted_execution_leaves_nothing_and_the_others_whole(store: Store) -> None:
    for name in ("exec", "other"):
        epoch = start(store, name)
        answer = commit(
            store,
            epoch,
            CallRecorded(call(cache_key="key")),
            AttemptFailed(AttemptRow("step", 1, CallStatus.FAILED, START, START, None)),
            ArtifactSaved(ArtifactRow("name", "", "1", START)),
            MetadataLogged((MetadataRow("", "key", "1", 1.0),)),
            DriftFound((DriftRow("step", "step", "x", "1", "2"),)),
            StatusChanged(Status.COMPLETED, START),
            execution_id=name,
        )
        assert answer is None
    store.executions.delete("exec")
    calls = store.calls
    for name, count in (("exec", 0), ("other", 1)):
        found = [
            calls.of(name),
            calls.memo(name),
            calls.attempts(name),
            calls.metadata(name),
            calls.drift(name),
            store.artifacts.list(name),
        ]
        assert [len(rows) for rows in found] == [count] * 6
    assert store.executions.get("exec") is None
    cached = calls.cached("key", apart_from="")
    assert cached is not None
    assert cached.execution_id == "other"
    create(store, execution())  # the id is free again, and nothing of the old one comes back
    assert calls.of("exec") == []
    assert store.executions.get("exec") == execution()


@pytest.mark.parametrize("status", [Status.PENDING, Status.RUNNING, Status.WAITING])
def test_an_unfinished_execution_is_not_deleted(store: Store, status: Status) -> None:
    create(store, execution(status=status))
    with pytest.raises(Conflict) as caught:
        store.executions.delete("exec")
    assert caught.value.status is status
    assert store.executions.status("exec") is status


def test_an_unknown_execution_is_not_deleted(store: Store) -> None:
    with pytest.raises(Conflict) as caught:
        store.executions.delete("exec")
    assert caught.value.status is None


def test_stacks_are_none_at_first(store: Store) -> None:
    assert store.stacks.list() == []
    assert store.stacks.active() is None


def test_the_statuses_of_many_are_told_in_one_answer(store: Store) -> None:
    names = [f"e{number}" for number in range(1100)]
    create(store, *(execution(name) for name in names))
    found = store.executions.statuses([*names, "no such"])
    assert found == dict.fromkeys(names, Status.PENDING)
    assert store.executions.statuses([]) == {}
