"""The statements fit the schema, the rows and the indexes."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from itertools import combinations

import pytest

from kitaru.core.clock import SystemClock
from kitaru.core.ports import ExecutionFilter
from kitaru.core.rows import ArtifactRow, AttemptRow, MetadataRow
from kitaru.core.states import CallStatus
from kitaru.store import rows
from kitaru.store.apply.calls import RECORD_ATTEMPT, RECORD_CALL, START_CALL
from kitaru.store.apply.executions import CREATE_EXECUTION
from kitaru.store.apply.kept import LOG_METADATA, SAVE_ARTIFACT
from kitaru.store.calls import CACHED, MEMO
from kitaru.store.database import parameters
from kitaru.store.executions import DUE, NEXT_DUE, PENDING_FOR_RUNNER, list_executions, orphans, unowned
from kitaru.store.runners import HAS_UNOWNED, take
from kitaru.store.sqlite import SqliteDatabase
from tests.contract.stores import call, execution
from tests.unit.store.statements import SOURCES, STATEMENTS

NO_TABLES = ("SCAN descendants", "SCAN tree", "SCAN replays", "SCAN earlier", "SCAN CONSTANT ROW")
"""A recursion's own queue, what an inner query has found, and values alone."""

READ_WHOLE = {
    "runners.RUNNERS",
    "runners.REMOVE_EXPIRED",
    "runners.SERVES",
    "stacks.LIST_STACKS",
    "limits.LIMITS",
    "limits.REMOVE_DEAD_SLOTS",
    "deployments.LIST_DEPLOYMENTS",
    "deployments.DEPLOYED_FLOWS",
    "retention.DEPLOYED",
}
"""Tables of a handful of rows, which are meant to be read whole."""

_FILTERS = [name for name in ExecutionFilter._fields if name != "statuses"]
LISTS = {
    " ".join([*given, f"statuses={statuses}"]): list_executions(given, statuses)
    for size in range(3)
    for given in combinations([*_FILTERS, "after"], size)
    for statuses in (0, 1, 3)
}


@pytest.fixture(scope="module")
def database() -> Iterator[SqliteDatabase]:
    opened = SqliteDatabase(None, SystemClock(), synchronous="FULL")
    yield opened
    opened.close()


def _plan(database: SqliteDatabase, text: str) -> list[str]:
    return [row[3] for row in database.read(f"EXPLAIN QUERY PLAN {text}", dict.fromkeys(parameters(text)))]


@pytest.mark.parametrize("name", STATEMENTS.keys() - READ_WHOLE)
def test_no_statement_reads_a_whole_table(database: SqliteDatabase, name: str) -> None:
    plan = _plan(database, STATEMENTS[name])
    # What is scanned there was found by an index, or is one row.
    scans = [step for step in plan if step.startswith("SCAN") and step not in NO_TABLES]
    assert scans == [], plan


@pytest.mark.parametrize("text", LISTS.values(), ids=LISTS.keys())
def test_every_list_goes_by_an_index(database: SqliteDatabase, text: str) -> None:
    plan = _plan(database, text)
    walks = [step for step in plan if " executions" in step and "execution_tags" not in step]
    assert walks
    # A SCAN by the index of times is a list from its newest end, which stops at the limit.
    assert all("USING INDEX" in step or "USING COVERING INDEX" in step for step in walks), plan


@pytest.mark.parametrize("given", ["flow", "stack", "parent_id", "original_id", ""])
def test_a_list_by_one_condition_needs_no_sorting(database: SqliteDatabase, given: str) -> None:
    plan = _plan(database, list_executions((given,) if given else (), 0))
    assert not any("TEMP B-TREE" in step for step in plan), plan


def test_what_a_runner_begins_with_is_not_sought_among_all_that_is_pending(database: SqliteDatabase) -> None:
    step, *_of_tags = _plan(database, PENDING_FOR_RUNNER)
    assert "executions_pending (runner_id=?)" in step


@pytest.mark.parametrize(
    ("text", "index"),
    [
        (DUE, "executions_due (project=? AND stack=? AND due_at<?)"),
        (NEXT_DUE, "executions_due (project=? AND stack=? AND due_at>?)"),
        (orphans(None), "executions_live (project=? AND stack=?)"),
        (orphans(2), "executions_live (project=? AND stack=?)"),
        (unowned(2), "executions_unowned (project=? AND stack=?)"),
        (take(2), "executions_unowned (project=? AND stack=?)"),
        (HAS_UNOWNED, "executions_unowned (project=? AND stack=?)"),
    ],
)
def test_s5_3_what_stands_still_is_not_gone_through_again_and_again(
    database: SqliteDatabase, text: str, index: str
) -> None:
    plan = _plan(database, text)
    walks = [step for step in plan if " executions " in step and "sqlite_autoindex" not in step]
    assert [step.rpartition("USING INDEX ")[2] for step in walks] == [index]
    assert not any("TEMP B-TREE" in step for step in plan), plan


def test_the_cache_and_the_memo_go_by_their_indexes(database: SqliteDatabase) -> None:
    assert _plan(database, CACHED) == ["SEARCH calls USING INDEX calls_by_cache_key (cache_key=?)"]
    search, _sort = _plan(database, MEMO)
    assert search.startswith("SEARCH calls USING INDEX")


@pytest.mark.parametrize("name", SOURCES)
def test_every_statement_is_described(name: str) -> None:
    constant = name.split(".")[-1].split("[")[0]
    described = re.search(rf"^# .+\n{constant} = ", SOURCES[name], re.MULTILINE)
    assert described, f"{name} has no line above it that says what it does"


@pytest.mark.parametrize("text", [*STATEMENTS.values(), *LISTS.values()])
def test_no_statement_uses_what_only_sqlite_has(text: str) -> None:
    names = set(re.findall(r"\b(\w+)\s?\(", text.replace("descendants (", "")))
    functions = {name for name in names if name.islower()} & set(_sqlite_functions())
    assert functions <= {"coalesce", "kitaru_now"}
    for word in ("INSERT OR", "REPLACE INTO", "IFNULL", "GLOB", " IS ?", "rowid", "AUTOINCREMENT"):
        assert word not in text


def _sqlite_functions() -> list[str]:
    connection = sqlite3.connect(":memory:")
    try:
        return [row[0] for row in connection.execute("SELECT DISTINCT name FROM pragma_function_list")]
    finally:
        connection.close()


# ── rows that are bound by their order ───────────────────────────────────────────────────────────

FAILURE = {"failure_type": None, "failure_message": None, "failure_origin": None, "failure_detail": None}


def _by_name(text: str, values: rows.Values) -> dict[str, object]:
    return dict(zip(parameters(text), values, strict=True))


@pytest.mark.parametrize("text", [RECORD_CALL, START_CALL])
def test_the_values_of_a_call_stand_in_the_order_of_the_statement(text: str) -> None:
    row = call(**{name: f"<{name}>" for name in call()._fields if name not in ("failure", "handled")}, handled=True)
    expected = {name: value for name, value in row._asdict().items() if name != "failure"}
    assert _by_name(text, rows.call_values("exec", row)) == expected | FAILURE | {"execution_id": "exec", "handled": 1}


def test_the_values_of_an_execution_stand_in_the_order_of_the_statement() -> None:
    row = execution(**{name: f"<{name}>" for name in execution()._fields if name not in ("failure", "cache", "tags")})
    # A new execution has not been taken over.
    expected = {
        name: value
        for name, value in row._asdict().items()
        if name not in ("failure", "tags", "takeovers", "first_attempt")
    }
    assert _by_name(CREATE_EXECUTION, rows.execution_values(row)) == expected | FAILURE


def test_the_values_of_small_rows_stand_in_the_order_of_their_statements() -> None:
    attempt = AttemptRow("step", 2, CallStatus.FAILED, 3, 4, None)
    values = attempt._asdict()
    del values["failure"]
    assert _by_name(RECORD_ATTEMPT, rows.attempt_values("e", attempt)) == values | FAILURE | {"execution_id": "e"}
    item = MetadataRow("step", "key", "1", 1.0)
    assert _by_name(LOG_METADATA, rows.metadata_values("e", item)) == item._asdict() | {"execution_id": "e"}
    artifact = ArtifactRow("name", "step", "1", 5)
    assert _by_name(SAVE_ARTIFACT, rows.artifact_values("e", artifact)) == artifact._asdict() | {"execution_id": "e"}


def test_only_plain_types_are_bound() -> None:
    # The driver looks for an adapter for every other type, a subclass of str included: that is slow.
    for values in (rows.call_values("e", call(handled=True)), rows.execution_values(execution())):
        assert {type(value) for value in values} <= {str, int, float, type(None)}
