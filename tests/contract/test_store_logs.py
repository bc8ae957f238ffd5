"""Lines of output are kept in the order of writing, and read behind a cursor (S7.3)."""

from __future__ import annotations

from kitaru.core.mutations import Commit, Fenced, LinesPrinted, StatusChanged
from kitaru.core.ports import Store
from kitaru.core.rows import LogRow
from kitaru.core.states import Status
from tests.contract.stores import START, commit, create, execution, start

LINES = tuple(
    LogRow(call_id, attempt, START + number, level, logger, message)
    for number, (call_id, attempt, level, logger, message) in enumerate(
        [
            ("a", 1, "stdout", None, "first"),
            ("", 1, "stderr", None, ""),
            ("a", 2, "WARNING", "app.part", "two\nlines\tand a tab"),
            ("b", 1, "stdout", None, "ünïcode ☃"),
        ]
    )
)


def read(store: Store, after: int = 0, call_id: str | None = None, limit: int = 100) -> list[LogRow]:
    return store.logs.after("exec", after, call_id=call_id, limit=limit)


def test_lines_are_read_back_as_they_were_given_with_growing_ids(store: Store) -> None:
    epoch = start(store)
    assert commit(store, epoch, LinesPrinted(LINES[:2]), LinesPrinted(LINES[2:])) is None
    found = read(store)
    assert [row._replace(log_id=0) for row in found] == list(LINES)
    assert [row.log_id for row in found] == sorted({row.log_id for row in found})
    assert found[0].log_id > 0


def test_what_no_database_can_hold_is_written_as_escapes(store: Store) -> None:
    epoch = start(store)
    assert commit(store, epoch, LinesPrinted((LogRow("", 1, START, "stdout", None, "a\0b\udcff\n"),))) is None
    assert [row.message for row in read(store)] == ["a\\x00b\\udcff\n"]


def test_the_lines_of_one_call_and_pages_go_on_behind_their_cursor(store: Store) -> None:
    epoch = start(store)
    assert commit(store, epoch, LinesPrinted(LINES)) is None
    first, second = read(store, call_id="a")
    assert [first.message, second.attempt] == ["first", 2]
    assert read(store, after=first.log_id, call_id="a") == [second]
    assert [row.message for row in read(store, call_id="")] == [""]
    assert read(store, after=first.log_id, limit=2) == read(store)[1:3]
    assert read(store, call_id="unknown") == []


def test_lines_of_another_epoch_are_refused(store: Store) -> None:
    epoch = start(store)
    (answer,) = store.commit([Commit("exec", epoch + 1, [LinesPrinted(LINES)], hint=True)])
    assert isinstance(answer, Fenced)
    assert read(store) == []


def test_a_deleted_execution_has_no_lines(store: Store) -> None:
    create(store, execution(status=Status.RUNNING, epoch=1))
    assert commit(store, 1, LinesPrinted(LINES), StatusChanged(Status.FAILED, START)) is None
    assert len(read(store)) == len(LINES)
    store.executions.delete("exec")
    assert read(store) == []
