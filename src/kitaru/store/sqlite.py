"""Connections to one SQLite database: one that writes, and a pool of those that read."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from kitaru.core.clock import Clock, SystemClock
from kitaru.errors import KitaruStoreError
from kitaru.store.database import NOTHING, PARAMETER, Unchanged, Unwritable
from kitaru.store.forks import follow_forks
from kitaru.store.migrate import check, migrate
from kitaru.store.rows import Values
from kitaru.store.sqlite_faults import UNWRITABLE, is_busy, store_error

BUSY_SECONDS = 10.0
"""How long a write waits for another process before it gives up."""

_IDLE_READERS = 8

_INTERVAL = 0.025
"""Seconds between two looks at the database file. One look takes about 5 microseconds."""

# Waiting for another process is waiting for the real world, whatever clock a test has injected.
_machine = SystemClock()
_never = threading.Event()


@cache
def _positional(statement: str) -> str:
    return PARAMETER.sub("?", statement)


class SqliteWriter:
    """The ``Writer`` port: every statement runs at once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.alone = True
        self._connection = connection

    def execute(self, statement: str, values: Mapping[str, object] = NOTHING) -> int:
        try:
            return self._connection.execute(statement, values).rowcount
        except UNWRITABLE as error:
            raise Unwritable(str(error)) from error

    def fetch(self, statement: str, values: Mapping[str, object] = NOTHING) -> list[Values]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except UNWRITABLE as error:
            raise Unwritable(str(error)) from error

    def fetch_each(self, statement: str, rows: Sequence[Values]) -> list[list[Values]]:
        text = _positional(statement)
        try:
            return [self._connection.execute(text, row).fetchall() for row in rows]
        except UNWRITABLE as error:
            raise Unwritable(str(error)) from error

    def put(self, statement: str, rows: Sequence[Values]) -> None:
        self._put(statement, rows)

    def put_each(self, statement: str, rows: Sequence[Values]) -> None:
        if self._put(statement, rows) != len(rows):
            raise Unchanged(statement, rows[0])

    def _put(self, statement: str, rows: Sequence[Values]) -> int:
        try:
            return self._connection.executemany(_positional(statement), rows).rowcount
        except UNWRITABLE as error:
            raise Unwritable(str(error)) from error

    @contextmanager
    def savepoint(self) -> Generator[None, None, None]:
        self._connection.execute("SAVEPOINT part")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK TO part")
            raise
        finally:
            self._connection.execute("RELEASE part")


class SqliteDatabase:
    """A SQLite file in WAL mode, or, where ``path`` is None, a database in memory.

    ``path`` is absolute, as connections are opened long after, wherever the process has gone.

    The writer belongs to whoever holds ``_lock``. A reader belongs to the thread that took it out of
    ``_idle``; the pool is last in, first out, so that few connections stay warm. A connection per
    thread was rejected: a process may have hundreds of threads. ``_idle``, ``_in_use`` and the observer
    belong to whoever holds ``_pool``. In memory there is one connection, which reads and writes under
    ``_lock``. At a fork every connection is closed, and opened again when it is needed.
    """

    def __init__(self, path: Path | None, clock: Clock, *, synchronous: str) -> None:
        self.path = path
        self.name = "in memory" if path is None else str(path)
        self.folder = None if path is None else Path(f"{path}-runners")
        self.alone = path is None
        self.now = clock.now  # the database has no other clock than the machine's
        self._synchronous = synchronous
        self._lock = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._pool = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._in_use = 0
        self._observer: sqlite3.Connection | None = None
        self._observers = 0
        self._unusable: str | None = None
        self._present_mode = ""  # of the writer's synchronous setting
        follow_forks(self)
        with self._lock:
            self._open_writer()

    def read(self, statement: str, values: Mapping[str, object]) -> list[Values]:
        """All rows of one SELECT."""
        if self.path is None:
            with self._lock:
                return self._run(self._open_writer(), statement, values)
        connection = self._take_reader()
        try:
            rows = self._run(connection, statement, values)
        except BaseException:
            self._give_back(connection, keep=False)
            raise
        self._give_back(connection, keep=True)
        return rows

    def ask_time(self) -> None:
        """There is nobody to ask."""

    def watch(self, stop: threading.Event, changed: Callable[[], None]) -> None:
        """See ``Database.watch``."""
        seen = None  # so the first look tells of a change: a commit may have come before it
        while not stop.wait(_INTERVAL):
            try:
                version = self._data_version()
            except KitaruStoreError:
                # The thread must not die of a disk that is away for a while. Who waits asks the store
                # itself from time to time, and gets the error then.
                continue
            if version != seen:
                seen = version
                changed()

    def _data_version(self) -> tuple[int, int]:
        """A value that changes with every commit to the file, of this process or another."""
        with self._pool:
            if self._observer is None:
                self._observer = self._open_reader()
                self._observers += 1  # the number of another connection counts from anywhere
            try:
                return self._observers, self._observer.execute("PRAGMA data_version").fetchone()[0]
            except sqlite3.Error as error:
                self._observer.close()
                self._observer = None
                raise self.error(error) from error

    def _run(self, connection: sqlite3.Connection, statement: str, values: Mapping[str, object]) -> list[Values]:
        try:
            return connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self.error(error) from error
        except UnicodeEncodeError:
            return []  # a parameter that is no valid text: no row can hold it, so none is found

    @contextmanager
    def write(
        self,
        *,
        sync: bool = True,
        urgent: bool = True,  # noqa: ARG002  # every commit is seen in the file
    ) -> Generator[SqliteWriter, None, None]:
        """One write transaction: committed at the end of the block, rolled back where it raises.

        Without ``sync`` it outlives this process at once, and a power cut only after the next transaction
        that syncs: the log is one file, synced as a whole.
        """
        with self._lock:
            connection = self._open_writer()
            try:
                self._sync(connection, self._synchronous if sync else "NORMAL")
                connection.execute("BEGIN IMMEDIATE")
                yield SqliteWriter(connection)
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                self._roll_back(connection)
                raise self.error(error) from error
            except BaseException:  # KeyboardInterrupt too: the next writer must find no open transaction
                self._roll_back(connection)
                raise

    def _sync(self, connection: sqlite3.Connection, mode: str) -> None:
        if mode != self._present_mode:  # asked first: the setting costs more than the question
            connection.execute(f"PRAGMA synchronous = {mode}")
            self._present_mode = mode

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        try:
            if connection.in_transaction:  # a full disk, for one, has rolled it back already
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            # The caller is told of the first error. A new connection starts from what is on disk.
            self._writer = None
            connection.close()

    def _take_reader(self) -> sqlite3.Connection:
        with self._pool:
            self._in_use += 1
            if self._idle:
                return self._idle.pop()
        try:
            return self._open_reader()
        except BaseException:
            with self._pool:
                self._in_use -= 1
            raise

    def _give_back(self, connection: sqlite3.Connection, *, keep: bool) -> None:
        with self._pool:
            self._in_use -= 1
            if keep and self._unusable is None and len(self._idle) < _IDLE_READERS:
                self._idle.append(connection)
            else:
                connection.close()

    def _open_reader(self) -> sqlite3.Connection:
        if self._unusable is not None:
            raise KitaruStoreError(self._unusable)
        try:
            connection = self._connect("rw")
            try:
                connection.execute("PRAGMA query_only = ON")
            except sqlite3.Error:
                connection.close()
                raise
        except sqlite3.Error as error:
            raise self.error(error) from error
        return connection

    def error(self, error: sqlite3.Error) -> KitaruStoreError:
        """What to raise for an error of SQLite."""
        return store_error(self.name, self.path, error, BUSY_SECONDS)

    def close(self) -> None:
        """Close every connection; those in use close when they are given back."""
        with self._lock, self._pool:
            self._unusable = f"The store {self.name} has been closed. Open it again with open_store."
            self._close_connections()

    def _close_connections(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._observer is not None:
            self._observer.close()
            self._observer = None
        while self._idle:
            self._idle.pop().close()

    def before_fork(self) -> None:
        """Wait until no statement runs, and close every connection (``kitaru.store.forks`` says why)."""
        self._lock.acquire()
        self._pool.acquire()
        while self._in_use:
            self._pool.release()
            _machine.wait(_never, 0.001)
            self._pool.acquire()
        if self.path is not None:
            self._close_connections()

    def after_fork_in_parent(self) -> None:
        """Let others go on."""
        self._pool.release()
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """Let go of what is in memory, which would go its own way in the child."""
        if self.path is None:
            self._unusable = "A store in memory stays with the process that made it. Use a file."
            self._close_connections()
        self.after_fork_in_parent()

    def _open_writer(self) -> sqlite3.Connection:
        if self._writer is not None:
            return self._writer
        if self._unusable is not None:
            raise KitaruStoreError(self._unusable)
        try:
            if self.path is not None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = self._connect("rwc")
            try:
                check(connection, self.name)  # before the first write: what is not ours stays untouched
                _use_wal(connection)
                migrate(connection, self.name)
            except BaseException:
                connection.close()
                raise
        except sqlite3.Error as error:
            raise self.error(error) from error
        except OSError as error:
            raise KitaruStoreError(
                f"The folder of the store {self.name} cannot be made: {error}. "
                "Make it, or name another store with KITARU_STORE."
            ) from error
        self._present_mode = ""
        self._sync(connection, self._synchronous)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA cache_size = -16384")
        self._writer = connection
        return connection

    def _connect(self, mode: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            ":memory:" if self.path is None else f"{self.path.as_uri()}?mode={mode}",
            uri=self.path is not None,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        connection.create_function("kitaru_now", 0, self.now)
        return connection


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL, patiently: while another process writes, SQLite refuses this without its busy timeout."""
    deadline = _machine.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if not is_busy(error) or _machine.monotonic() > deadline:
                raise
            _machine.wait(_never, 0.01)
