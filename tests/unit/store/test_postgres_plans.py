"""Every statement, and every kind of list, goes by an index on PostgreSQL too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from kitaru.core.clock import SystemClock
from kitaru.store import open_store
from kitaru.store.database import parameters
from kitaru.store.executions import list_executions, orphans, unowned
from kitaru.store.postgres import _SESSION
from kitaru.store.postgres_pipeline import native
from kitaru.store.runners import take
from tests.postgres import needs_postgres, postgres_server
from tests.unit.store.statements import STATEMENTS
from tests.unit.store.test_statements import LISTS, READ_WHOLE

BUILT = {
    "orphans": orphans(None),
    "orphans that were somebody's": orphans(None, unowned=False),
    "orphans of flows": orphans(3),
    "unowned": unowned(3),
    "take": take(2),
    "newest": list_executions((), 0),
}

_FILL = """
INSERT INTO executions (
    execution_id, project, flow, flow_ref, status, stack, epoch, attempt, retries, cache, created_at, ended_at,
    input_digest, inputs
) SELECT 'e' || n, 'project', 'flow' || n % 50, 'm:f', 'completed', 'stack' || n % 5, 1, 1, 0, 1, n, n, 'd', '{}'
FROM generate_series(1, 100000) AS n
"""


@pytest.fixture(scope="module")
def connection() -> Iterator[psycopg.Connection[Any]]:
    """A database with 100,000 finished executions, and a connection to it as the store has them."""
    needs_postgres()
    url = postgres_server().database()
    open_store(url, SystemClock()).close()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_FILL)
        connection.execute("INSERT INTO blob_references SELECT 'd' || created_at, execution_id FROM executions")
        connection.execute("INSERT INTO blob_scans SELECT execution_id, created_at, 1 FROM executions")
        connection.execute("ANALYZE")
        connection.execute(_SESSION)
        yield connection


def _plan(connection: psycopg.Connection[Any], text: str) -> dict[str, Any]:
    """The plan of the prepared statement, as it is used for whatever values."""
    nulls = ", ".join(["NULL"] * len(parameters(text)))
    connection.execute(b"PREPARE asked AS " + native(text))
    try:
        row = connection.execute(f"EXPLAIN (FORMAT JSON) EXECUTE asked{f'({nulls})' if nulls else ''}").fetchone()
    finally:
        connection.execute("DEALLOCATE asked")
    assert row is not None
    found = row[0] if isinstance(row[0], list) else json.loads(row[0])
    return found[0]["Plan"]


SMALL = {"runners", "limits", "slots", "limit_uses", "stacks", "settings", "secrets", "deployments", "deployment_tags"}
"""Tables of a handful of rows: here they are empty, so it says nothing how they are read."""


def _whole_tables(plan: dict[str, Any], partial: set[str], *, limited: bool = False) -> Iterator[str]:
    """Tables that are read from end to end: with no index, or along one that narrows nothing and to no limit."""
    kind, table = plan["Node Type"], plan.get("Relation Name")
    limited = limited or kind == "Limit"
    if kind == "Seq Scan" and table not in SMALL:
        yield table or "?"
    unbounded = kind in ("Index Scan", "Index Only Scan") and "Index Cond" not in plan and not limited
    if unbounded and table not in SMALL and plan["Index Name"] not in partial:  # a partial index is small
        yield plan["Index Name"]
    if kind in ("Sort", "Aggregate", "Hash"):
        limited = False  # all of what is below is read before the first row comes out
    for child in plan.get("Plans", ()):
        yield from _whole_tables(child, partial, limited=limited)


@pytest.fixture(scope="module")
def partial(connection: psycopg.Connection[Any]) -> set[str]:
    found = connection.execute("SELECT indexrelid::regclass::text FROM pg_index WHERE indpred IS NOT NULL").fetchall()
    return {name for (name,) in found}


IN_BATCHES = {"retention.UNREAD"}
"""What cleaning reads from end to end, once, a batch at a time."""


@pytest.mark.parametrize("name", sorted({*STATEMENTS, *BUILT} - READ_WHOLE - IN_BATCHES))
def test_no_statement_reads_a_whole_table(connection: psycopg.Connection[Any], partial: set[str], name: str) -> None:
    plan = _plan(connection, STATEMENTS.get(name) or BUILT[name])
    assert list(_whole_tables(plan, partial)) == [], json.dumps(plan, indent=1)


@pytest.mark.parametrize("text", LISTS.values(), ids=LISTS.keys())
def test_every_list_goes_by_an_index(connection: psycopg.Connection[Any], partial: set[str], text: str) -> None:
    plan = _plan(connection, text)
    assert list(_whole_tables(plan, partial)) == [], json.dumps(plan, indent=1)
