"""Durable state in SQL. The only place in Kitaru with SQL in it; ``open_store`` is its face."""

from __future__ import annotations

from pathlib import Path

from kitaru.core.clock import Clock
from kitaru.core.ports import Store
from kitaru.errors import KitaruStoreError, KitaruUsageError
from kitaru.store.database import Database
from kitaru.store.sqlite import SqliteDatabase
from kitaru.store.store import SqlStore

__all__ = ["open_store"]

_POSSIBLE = "Possible are sqlite:///path/to/file, sqlite:// for a store in memory, and postgresql://user@host/database."


def open_store(url: str, clock: Clock) -> Store:
    """Open the store at ``url``, making it where it is absent.

    Args:
        url: ``sqlite:///relative/path``, ``sqlite:////absolute/path`` or ``sqlite://`` (in memory).
            ``?synchronous=normal`` gives up the sync of each commit: faster, and what was committed
            last may be lost in a power cut. The default is ``full``. Or any URL of PostgreSQL, such as
            ``postgresql://user@host:5432/database``; it needs the package psycopg.
        clock: Tells the time of the database, by which leases are judged.

    Raises:
        KitaruUsageError: The URL names no store that Kitaru knows.
        KitaruStoreError: The store cannot be used; nothing in it was changed.
    """
    scheme, separator, rest = url.partition("://")
    if separator and scheme in ("postgresql", "postgres"):
        return SqlStore(_postgres(url, clock))
    if not separator or scheme != "sqlite":
        _, at, place = url.rpartition("@")  # a misspelt URL may hold a password all the same
        shown = f"...@{place}" if at else place
        raise KitaruUsageError(f"The store {shown!r} is not known. {_POSSIBLE}")
    name, _, query = rest.partition("?")
    if name and (not name.startswith("/") or name == "/"):
        raise KitaruUsageError(f"The store {url!r} names no file: three slashes come before its path. {_POSSIBLE}")
    path = Path(name[1:]).expanduser().absolute() if name else None
    return SqlStore(SqliteDatabase(path, clock, synchronous=_synchronous(url, query)))


def _postgres(url: str, clock: Clock) -> Database:
    try:
        # Late: only who uses PostgreSQL needs psycopg, which is an extra, and pays for loading it.
        from kitaru.store.postgres import PostgresDatabase  # noqa: PLC0415
    except ImportError as error:
        raise KitaruStoreError(
            "A store in PostgreSQL needs the package psycopg, which is not installed here "
            f"({error}). Install it: pip install 'psycopg[binary]>=3.2'."
        ) from error
    return PostgresDatabase(url, clock)


def _synchronous(url: str, query: str) -> str:
    choices = {"": "FULL", "synchronous=full": "FULL", "synchronous=normal": "NORMAL"}
    if query not in choices:
        raise KitaruUsageError(f"The store {url!r} has the unknown option {query!r}. Possible is synchronous=normal.")
    return choices[query]
