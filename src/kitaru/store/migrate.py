"""Brings a SQLite database to the schema of this Kitaru, or refuses it without touching it.

The migrations are numbered files; ``PRAGMA user_version`` says how many of them a database has had.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from kitaru.errors import KitaruStoreError

APPLICATION_ID = 0x6B747275
"""Marks a SQLite file as a Kitaru store ("ktru"), so that another program's file is never written to."""

_FOLDER = Path(__file__).parent / "migrations"


def migrations() -> list[tuple[int, Path]]:
    """Every migration and its number, in order."""
    return sorted((int(path.name.split("_")[0]), path) for path in _FOLDER.glob("[0-9]*.sql"))


def check(connection: sqlite3.Connection, name: str) -> int:
    """Return the schema version; 0 for an empty database.

    Raises:
        KitaruStoreError: The database is another program's, or was written by a newer Kitaru.
    """
    version = _pragma(connection, "user_version")
    if _pragma(connection, "application_id") != APPLICATION_ID:
        if connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None:
            raise KitaruStoreError(
                f"The store {name} is a SQLite database of another program; nothing was changed. "
                "Name another file with KITARU_STORE."
            )
        return 0
    return known_version(version, name)


def known_version(version: int, name: str) -> int:
    """Return a schema version that this Kitaru knows, else raise ``KitaruStoreError``: a newer one wrote it."""
    newest = migrations()[-1][0]
    if version > newest:
        raise KitaruStoreError(
            f"The store {name} has schema version {version}; this Kitaru knows versions up to {newest}. "
            "Upgrade Kitaru, or name another store with KITARU_STORE. Nothing was changed."
        )
    return version


def migrate(connection: sqlite3.Connection, name: str) -> None:
    """Run the migrations that the database has not had, each in a transaction of its own."""
    for number, path in migrations():
        if check(connection, name) >= number:
            continue
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Asked again: another process may have migrated while this one waited for the lock.
            if check(connection, name) < number:
                for statement in statements(path.read_text(encoding="utf-8")):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def statements(script: str) -> Iterator[str]:
    """The statements of a migration, one by one. (``executescript`` is no choice: it commits before it begins.)"""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]
