"""Migrations: numbered files, each in a transaction of its own."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitaru.core.clock import SystemClock
from kitaru.errors import KitaruStoreError
from kitaru.store import migrate, open_store
from tests.contract.stores import create, execution

NEWEST = migrate.migrations()[-1][0]


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    opened = sqlite3.connect(tmp_path / "test.db", isolation_level=None)
    yield opened
    opened.close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the migrations that the test can add to."""
    copy = tmp_path / "migrations"
    shutil.copytree(Path(migrate.__file__).parent / "migrations", copy)
    monkeypatch.setattr(migrate, "_FOLDER", copy)
    return copy


def _schema(connection: sqlite3.Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))


def test_migrations_are_numbered_from_one_without_a_gap() -> None:
    assert [number for number, _ in migrate.migrations()] == list(range(1, NEWEST + 1))


def test_a_fresh_store_has_the_newest_version_and_is_marked(connection: sqlite3.Connection) -> None:
    assert migrate.check(connection, "test") == 0
    migrate.migrate(connection, "test")
    assert migrate.check(connection, "test") == NEWEST
    assert connection.execute("PRAGMA application_id").fetchone() == (migrate.APPLICATION_ID,)


def test_migrating_twice_changes_nothing(connection: sqlite3.Connection) -> None:
    migrate.migrate(connection, "test")
    before = _schema(connection)
    migrate.migrate(connection, "test")
    assert _schema(connection) == before


def test_an_older_store_ends_with_the_schema_of_a_fresh_one_and_keeps_its_rows(tmp_path: Path, folder: Path) -> None:
    url = f"sqlite:///{tmp_path}/old.db"
    store = open_store(url, SystemClock())
    create(store, execution())
    store.close()
    (folder / f"{NEWEST + 1:04}_more.sql").write_text("-- One more.\nCREATE TABLE more (x BIGINT);\n")

    store = open_store(url, SystemClock())
    assert store.executions.get("exec") == execution()
    store.close()
    open_store(f"sqlite:///{tmp_path}/fresh.db", SystemClock()).close()

    schemas: list[dict[str, str]] = []
    for name in ("old", "fresh"):
        opened = sqlite3.connect(tmp_path / f"{name}.db")
        assert opened.execute("PRAGMA user_version").fetchone() == (NEWEST + 1,)
        schemas.append(_schema(opened))
        opened.close()
    assert schemas[0] == schemas[1]
    assert "more" in schemas[0]


def test_a_migration_that_fails_leaves_the_version_before_it(tmp_path: Path, folder: Path) -> None:
    url = f"sqlite:///{tmp_path}/kitaru.db"
    store = open_store(url, SystemClock())
    create(store, execution())
    store.close()
    bad = folder / f"{NEWEST + 1:04}_bad.sql"
    bad.write_text("CREATE TABLE more (x BIGINT);\nDROP TABLE executions;\nCREATE TABLE calls (x BIGINT);\n")
    with pytest.raises(KitaruStoreError, match="already exists"):
        open_store(url, SystemClock())
    bad.unlink()
    store = open_store(url, SystemClock())
    assert store.executions.get("exec") == execution()
    assert store._database.read("SELECT 1 FROM sqlite_master WHERE name = 'more'", {}) == []
    store.close()


def test_a_process_that_is_overtaken_while_it_waits_does_not_migrate_again(
    tmp_path: Path, connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = migrate.check
    asked: list[int] = []

    def overtaken(connection: sqlite3.Connection, name: str) -> int:
        version = check(connection, name)
        asked.append(version)
        if len(asked) == 1:  # between this answer and the lock, another process does it all
            other = sqlite3.connect(tmp_path / "test.db", isolation_level=None)
            migrate.migrate(other, "other")
            other.close()
        return version

    monkeypatch.setattr(migrate, "check", overtaken)
    migrate.migrate(connection, "test")
    assert asked[0] == 0
    assert check(connection, "test") == NEWEST


def test_every_table_says_what_it_is_for() -> None:
    for _, path in migrate.migrations():
        lines = path.read_text(encoding="utf-8").splitlines()
        for above, line in zip(["", *lines], lines, strict=False):
            if line.startswith("CREATE TABLE") and "slots" not in line:
                assert above.startswith("-- "), line
