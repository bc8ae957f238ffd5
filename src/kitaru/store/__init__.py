"""Durable state in SQL. The only place in Kitaru with SQL in it; ``open_store`` is its face."""

from __future__ import annotations

from pathlib import Path

from kitaru.core.clock import Clock
from kitaru.core.ports import Store
from kitaru.errors import KitaruUsageError
from kitaru.store.sqlite import SqliteDatabase
from kitaru.store.store import SqlStore

__all__ = ["open_store"]

_POSSIBLE = "Possible are sqlite:///path/to/file, and sqlite:// for a store in memory."


def open_store(url: str, clock: Clock) -> Store:
    """Open the store at ``url``, making it where it is absent.

    Args:
        url: ``sqlite:///relative/path``, ``sqlite:////absolute/path`` or ``sqlite://`` (in memory).
            ``?synchronous=normal`` gives up the sync of each commit: faster, and what was committed
            last may be lost in a power cut. The default is ``full``.
        clock: Tells the time of the database, by which leases are judged.

    Raises:
        KitaruUsageError: The URL names no store that Kitaru knows.
        KitaruStoreError: The store cannot be used; nothing in it was changed.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme != "sqlite":
        raise KitaruUsageError(f"The store {url!r} is not known. {_POSSIBLE}")
    name, _, query = rest.partition("?")
    if name and (not name.startswith("/") or name == "/"):
        raise KitaruUsageError(f"The store {url!r} names no file: three slashes come before its path. {_POSSIBLE}")
    path = Path(name[1:]).expanduser().absolute() if name else None
    return SqlStore(SqliteDatabase(path, clock, synchronous=_synchronous(url, query)))


def _synchronous(url: str, query: str) -> str:
    choices = {"": "FULL", "synchronous=full": "FULL", "synchronous=normal": "NORMAL"}
    if query not in choices:
        raise KitaruUsageError(f"The store {url!r} has the unknown option {query!r}. Possible is synchronous=normal.")
    return choices[query]
