"""Connections to one PostgreSQL database: a small pool of pipelines, and one connection that listens.

A transaction goes to the server as a whole, in one group, and is committed by the next message: so its
answers are known before it is committed, and a connection that breaks earlier has written nothing.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from kitaru.core.clock import Clock, Microseconds, SystemClock
from kitaru.errors import KitaruStoreError
from kitaru.store import postgres_faults as faults
from kitaru.store.database import NOTHING, RETRY_SECONDS, NotWritten, Unwritable, parameters
from kitaru.store.forks import follow_forks
from kitaru.store.postgres_notices import CHANNEL, Announcer
from kitaru.store.postgres_pipeline import STATEMENT_SECONDS, Failed, Lost, Pipeline
from kitaru.store.postgres_schema import migrate
from kitaru.store.rows import Values

CONNECTIONS = 8
"""Most connections of one process, beside the one that listens."""

_LOCK_SECONDS = 10
_CONNECT_SECONDS = 10
_INTERVAL = 0.025
"""Seconds between two calls of the listeners, as with SQLite."""

# Half-open connections are found within a minute; what the URL says of these comes first.
_DEFAULTS = {
    "connect_timeout": _CONNECT_SECONDS,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "application_name": "kitaru",
}

# No sequential scans where an index would do: statements are prepared while tables are small, and used when
# they have grown. One plan for all values: to plan a statement takes longer than to run it. No compilation: it
# takes longer than any statement here.
_SESSION = f"""
SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan; SET jit = off;
SET statement_timeout = '{STATEMENT_SECONDS}s'; SET lock_timeout = '{_LOCK_SECONDS}s';
SET idle_in_transaction_session_timeout = '{STATEMENT_SECONDS}s'
"""

# The database's time.
NOW = "SELECT kitaru_now()"

_SET_CLOCK = "SELECT set_config('kitaru.now', :now, false)"

# Waiting for a server is waiting for the real world, whatever clock a test has injected.
_machine = SystemClock()
_never = threading.Event()


class PostgresWriter:
    """The ``Writer`` port: what is put goes out with the next statement whose answer is asked for."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.alone = False
        self._pipeline = pipeline

    def execute(self, statement: str, values: Mapping[str, object] = NOTHING) -> int:
        return self._ask(statement, values).command_tuples or 0

    def fetch(self, statement: str, values: Mapping[str, object] = NOTHING) -> list[Values]:
        return self._pipeline.rows(self._ask(statement, values))

    def _ask(self, statement: str, values: Mapping[str, object]) -> psycopg.pq.abc.PGresult:
        self._pipeline.send(statement, [values[name] for name in parameters(statement)])
        return self._pipeline.answers()[-1]

    def fetch_each(self, statement: str, rows: Sequence[Values]) -> list[list[Values]]:
        if not rows:
            return []
        self.put(statement, rows)
        return [self._pipeline.rows(result) for result in self._pipeline.answers()[-len(rows) :]]

    def put(self, statement: str, rows: Sequence[Values]) -> None:
        for row in rows:
            self._pipeline.send(statement, row)

    def put_each(self, statement: str, rows: Sequence[Values]) -> None:
        for row in rows:
            self._pipeline.send(statement, row, each=True)

    @contextmanager
    def savepoint(self) -> Generator[None, None, None]:
        self._pipeline.send("SAVEPOINT part")
        try:
            yield
            self._pipeline.answers()  # before the savepoint goes: they may ask for it
            self._pipeline.send("RELEASE part")
        except Lost:
            raise
        except BaseException:
            self._pipeline.discard()
            self._pipeline.send("ROLLBACK TO part")
            self._pipeline.send("RELEASE part")
            raise


class PostgresDatabase:
    """The ``Database`` port.

    A pipeline belongs to the thread that took it out of ``_idle``, last in, first out; ``_idle`` and
    ``_unusable`` belong to whoever holds ``_pool``. A forked child leaves its parent's connections alone,
    neither using nor closing them, and opens its own.
    """

    def __init__(self, url: str, clock: Clock) -> None:
        self.name = faults.name_of(url)
        self.folder: Path | None = None
        self.alone = False
        self._conninfo = make_conninfo("", **{**_DEFAULTS, **conninfo_to_dict(url)})
        # The server tells the time, unless a test does: with a clock of another type, kin of the machine's or not.
        self._clock = None if type(clock) is SystemClock else clock
        self._pool = threading.Lock()
        self._places = threading.BoundedSemaphore(CONNECTIONS)
        self._idle: list[Pipeline] = []
        self._left_to_parent: list[Pipeline] = []
        self._unusable: str | None = None
        self._ahead: Microseconds = 0  # the server's clock, of this machine's
        self._announcer = Announcer(self._announce)
        follow_forks(self)
        connection = self._connect(patience=0)
        try:
            migrate(connection, self.name)
        except psycopg.Error as error:
            raise KitaruStoreError(f"The store {self.name} cannot be made ready: {error}") from error
        finally:
            connection.close()
        self.ask_time()

    # ── reading and writing ──────────────────────────────────────────────────────────────────────

    def read(self, statement: str, values: Mapping[str, object]) -> list[Values]:
        deadline = _machine.monotonic() + RETRY_SECONDS
        while True:
            try:
                with self._lend() as pipeline:
                    pipeline.send(statement, [values[name] for name in parameters(statement)])
                    return pipeline.rows(pipeline.answers()[-1])
            except Unwritable:
                return []  # no row can hold it, so none is found
            except Failed as error:
                raise faults.store_error(self.name, error) from error
            except Lost as error:
                if _machine.monotonic() > deadline:
                    raise faults.lost(self.name, str(error)) from error

    @contextmanager
    def write(self, *, sync: bool = True, urgent: bool = True) -> Generator[PostgresWriter, None, None]:
        """See ``Database.write``. The commit is sent alone, when all that comes before it has been answered."""
        committing = announces = False
        try:
            with self._lend() as pipeline:
                pipeline.send("BEGIN")
                if not sync:
                    pipeline.send("SET LOCAL synchronous_commit = off")
                try:
                    yield PostgresWriter(pipeline)
                    pipeline.answers()
                except Lost:
                    raise
                except BaseException:  # KeyboardInterrupt too: whoever is next must find no open transaction
                    pipeline.discard()
                    pipeline.send("ROLLBACK")
                    pipeline.answers()
                    raise
                committing = True
                pipeline.send("COMMIT")
                announces = urgent and self._announcer.goes_now()
                if announces:
                    # A transaction of its own: one that notifies and writes holds up all others until it is on disk.
                    pipeline.end_of_group()
                    pipeline.send(f"NOTIFY {CHANNEL}")
                pipeline.answers()
        except Failed as error:
            raise faults.store_error(self.name, error) from error
        except Lost as error:
            make = faults.unknown if committing else faults.lost
            raise make(self.name, str(error)) from error
        if not announces:
            self._announcer.wake()

    def _announce(self) -> None:
        with self._lend(patient=False) as pipeline:  # a hint is not worth waiting for a server, at the end least of all
            pipeline.send(f"NOTIFY {CHANNEL}")
            pipeline.answers()

    # ── the time ─────────────────────────────────────────────────────────────────────────────────

    def now(self) -> Microseconds:
        return _machine.now() + self._ahead if self._clock is None else self._clock.now()

    def ask_time(self) -> None:
        """See ``Database.ask_time``. What the way there and back may account for is no difference."""
        if self._clock is not None:
            return
        asked = _machine.now()
        theirs = self.read(NOW, {})[0][0]
        answered = _machine.now()
        if not asked <= theirs - self._ahead <= answered:
            self._ahead = theirs - (asked + answered) // 2

    # ── connections ──────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def _lend(self, *, patient: bool = True) -> Generator[Pipeline, None, None]:
        places = self._places
        if not places.acquire(timeout=_LOCK_SECONDS):
            raise NotWritten(
                f"All {CONNECTIONS} connections of this process to the store {self.name} stayed in use for "
                f"{_LOCK_SECONDS} s. Try again; if it stays so, the server is too slow for what is asked of it."
            )
        process = os.getpid()
        try:
            pipeline = self._take(RETRY_SECONDS if patient else 0)
            try:
                if self._clock is not None:
                    pipeline.send(_SET_CLOCK, [str(self._clock.now())])
                yield pipeline
            finally:
                if os.getpid() == process:
                    self._give_back(pipeline)
        finally:
            places.release()

    def _take(self, patience: float) -> Pipeline:
        while True:
            with self._pool:
                pipeline = self._idle.pop() if self._idle else None
            if pipeline is None:
                return Pipeline(self._connect(patience=patience))
            if not pipeline.has_news():
                return pipeline
            pipeline.close()  # the server has closed it, or is about to: nothing was sent over it

    def _give_back(self, pipeline: Pipeline) -> None:
        with self._pool:
            if self._unusable is None and pipeline.is_clean():
                self._idle.append(pipeline)
                return
        pipeline.close()

    def _connect(self, *, patience: float) -> psycopg.Connection[Any]:
        deadline = _machine.monotonic() + patience
        while True:
            if self._unusable is not None:
                raise KitaruStoreError(self._unusable)
            try:
                connection = psycopg.connect(self._conninfo, autocommit=True, prepare_threshold=None)
                connection.execute(_SESSION.encode())
                return connection
            except psycopg.Error as error:
                if not faults.may_pass(error) or _machine.monotonic() >= deadline:
                    raise faults.unreachable(self.name, error) from error
            _machine.wait(_never, 0.1)

    def close(self) -> None:
        """Close every connection; those in use close when they are given back."""
        self._announcer.close()
        with self._pool:
            self._unusable = f"The store {self.name} has been closed. Open it again with open_store."
            while self._idle:
                self._idle.pop().close()

    # ── changes ──────────────────────────────────────────────────────────────────────────────────

    def watch(self, stop: threading.Event, changed: Callable[[], None]) -> None:
        """See ``Database.watch``. A connection that breaks is made again, and counts as a change."""
        while not stop.is_set():
            try:
                with self._connect(patience=0) as connection:
                    connection.execute(f"LISTEN {CHANNEL}".encode())
                    changed()
                    while not stop.wait(_INTERVAL):
                        if any(True for _ in connection.notifies(timeout=0.1, stop_after=1)):
                            changed()
            except (psycopg.Error, KitaruStoreError):
                # The thread must not die of a server that is away for a while. Who waits asks the store
                # itself from time to time, and gets the error then.
                stop.wait(1)

    # ── forks ────────────────────────────────────────────────────────────────────────────────────

    def before_fork(self) -> None:
        """Let nobody take or give back a connection."""
        self._pool.acquire()

    def after_fork_in_parent(self) -> None:
        """Let others go on."""
        self._pool.release()

    def after_fork_in_child(self) -> None:
        """Keep what is the parent's, so that nothing closes it, and begin anew."""
        self._left_to_parent += self._idle
        self._idle = []
        self._places = threading.BoundedSemaphore(CONNECTIONS)
        self._announcer = Announcer(self._announce)
        self._pool.release()
