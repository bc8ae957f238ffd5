"""What SQLite reports, as sentences that say which store, what is wrong and what to do."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from kitaru.core.ports import StoreUnavailable
from kitaru.errors import KitaruStoreError

# Primary result codes of SQLite; the sqlite3 module names them only as attributes of connections' errors.
_BUSY, _LOCKED, _READONLY, _IOERR, _CORRUPT, _FULL, _CANTOPEN, _NOTADB = 5, 6, 8, 10, 11, 13, 14, 26

_SENTENCES = {
    _BUSY: "is locked by another process, and stayed so for {timeout:g} s. Find what holds it (a backup, a database "
    "browser, a stopped process), end that, and try again.",
    _LOCKED: "is locked by another statement of this process. Try again.",
    _READONLY: "cannot be written: the file, its folder or the file system is read-only. Make both writable, or "
    "name another store with KITARU_STORE.",
    _IOERR: "cannot be read or written: the disk reported an error ({error}). Check the disk and the file system; "
    "what was recorded before stays recorded.",
    _CORRUPT: "is damaged ({error}). Move it aside with its -wal and -shm files and restore a backup, or start "
    "with an empty store.",
    _FULL: "cannot take more: the disk is full. Nothing of this commit was written and all earlier records are "
    "readable. Free some space and try again.",
    _CANTOPEN: "cannot be opened ({error}). Check that its folder exists and that this user may read and write "
    "there, or name another store with KITARU_STORE.",
    _NOTADB: "is not a Kitaru store: the file is no SQLite database, or its beginning is damaged. Move it aside or "
    "restore a backup, or name another store with KITARU_STORE.",
}

UNWRITABLE: tuple[type[Exception], ...] = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    UnicodeEncodeError,
)
"""What is raised for a value that no row can hold: the commit that brought it is at fault, not the store."""


def is_busy(error: sqlite3.Error) -> bool:
    """True where another process holds the lock."""
    return _code(error) == _BUSY


def store_error(name: str, path: Path | None, error: sqlite3.Error, timeout: float) -> KitaruStoreError:
    """The error to raise for ``error``; ``timeout`` is how long a lock was waited for, in seconds."""
    code = _code(error)
    if code == _CANTOPEN and path is not None and path.is_dir():
        return KitaruStoreError(f"The store {name} is a folder. Name a file in it, such as {path / 'kitaru.db'}.")
    sentence = _SENTENCES.get(code, "answered: {error}. Nothing of this was written.")
    kind = StoreUnavailable if code in (_BUSY, _LOCKED) else KitaruStoreError
    return kind(f"The store {name} {sentence.format(error=error, timeout=timeout)}")


def _code(error: sqlite3.Error) -> int:
    # Errors of the Python module itself, such as one about a closed connection, carry no code.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
