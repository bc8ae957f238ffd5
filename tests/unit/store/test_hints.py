"""A hint is written without a sync of its own; what counts is synced (ARCHITECTURE, decision 4)."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitaru.core.clock import SystemClock
from kitaru.core.mutations import Commit, ProgressMade
from kitaru.store.sqlite import SqliteDatabase
from kitaru.store.store import SqlStore
from tests.contract.stores import START, start

MODES = {"FULL": 2, "NORMAL": 1}


def mode(database: SqliteDatabase) -> int:
    with database._lock:
        return database._open_writer().execute("PRAGMA synchronous").fetchone()[0]


@pytest.mark.parametrize("chosen", MODES)
def test_only_a_group_of_nothing_but_hints_goes_without_a_sync(tmp_path: Path, chosen: str) -> None:
    database = SqliteDatabase(tmp_path / "kitaru.db", SystemClock(), synchronous=chosen)
    store = SqlStore(database)
    start(store)
    made = [ProgressMade("", START, "x", None)]
    hint, counts = Commit("exec", 1, made, hint=True), Commit("exec", 1, made)
    for group, expected in (
        ([hint], MODES["NORMAL"]),
        ([counts], MODES[chosen]),
        ([hint, hint], MODES["NORMAL"]),
        ([hint, counts], MODES[chosen]),
    ):
        assert store.commit(group) == [None] * len(group)
        assert mode(database) == expected
    store.close()


def test_a_new_writer_syncs_whatever_the_old_one_did_last(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "kitaru.db", SystemClock(), synchronous="FULL")
    with database.write(sync=False):
        pass
    assert database._writer is not None
    database._writer.close()
    database._writer = None
    assert mode(database) == MODES["FULL"]
    database.close()
