"""What a database must be able to do: the port between SQL and SQLite or PostgreSQL.

Everything in this package but the files named after a database stands on these two protocols. All
statements are one text for both databases, with named parameters (``:name``); ``kitaru_now()`` is the
database's clock in microseconds (S6.2). Nothing may be used that only one of the databases has.
Conditions on ``status`` are literals where a partial index needs them. A statement is a constant beside
its aggregate, with a line above it that says what it does.

The rows that a SELECT in a write transaction decides by are locked: ``/* lock */`` stands at its end, or
``/* lock, skip */`` where rows that somebody else has locked are to be passed over. SQLite, which has one
writer at a time, reads it as a comment.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Protocol

from kitaru.core.clock import Microseconds
from kitaru.core.ports import StoreUnavailable
from kitaru.errors import KitaruStoreError
from kitaru.store.rows import Values

NOTHING: Mapping[str, object] = {}
"""The parameters of a statement that has none."""

RETRY_SECONDS = 15.0
"""How long a read, or a write that was certainly not done, is tried again for a reason that may pass."""

PARAMETER = re.compile(r":(\w+)")


@cache
def parameters(text: str) -> tuple[str, ...]:
    """The names of the parameters, in the order of the text: the order of a row for ``put``."""
    return tuple(PARAMETER.findall(text))


class Unwritable(KitaruStoreError):
    """A value fits no row: the commit that brought it is at fault, not the store."""


class NotWritten(StoreUnavailable):
    """A transaction was certainly not written, for a reason that may pass: it can be tried again."""


class Unchanged(Exception):
    """A row of ``put_each`` changed nothing. An answer, not a fault."""

    def __init__(self, statement: str, row: Values) -> None:
        super().__init__(statement, row)
        self.statement = statement
        self.row = row


class Writer(Protocol):
    """One write transaction, used by one thread. Every statement sees those before it.

    ``alone`` is True where nobody else writes until it ends; else rows that it decides by must be locked,
    and each answer that it asks for is a round trip.
    """

    alone: bool

    def execute(self, statement: str, values: Mapping[str, object] = NOTHING) -> int:
        """Run a statement; the answer is how many rows it changed."""
        ...

    def fetch(self, statement: str, values: Mapping[str, object] = NOTHING) -> list[Values]:
        """All rows of one statement."""
        ...

    def fetch_each(self, statement: str, rows: Sequence[Values]) -> list[list[Values]]:
        """What ``fetch`` gives, for each row of values in the order of ``parameters(statement)``: asked together."""
        ...

    def put(self, statement: str, rows: Sequence[Values]) -> None:
        """Run a statement for each row; what it changes is not asked.

        Rows are tuples, in the order of ``parameters(statement)``: they are written by the thousand, and
        binding a tuple takes half the time of binding a mapping. A database may run them as late as with
        the next statement whose answer is asked for, or at the end of the transaction.
        """
        ...

    def put_each(self, statement: str, rows: Sequence[Values]) -> None:
        """The same where each row must change, or find, one row of the table.

        Raises ``Unchanged`` where one does not, at the latest at the end of the transaction, which is
        rolled back by it.
        """
        ...

    def savepoint(self) -> AbstractContextManager[None]:
        """A part of the transaction that is undone alone where its block raises."""
        ...


class Database(Protocol):
    """Connections to one database. All calls may be made from any thread.

    ``name`` is what messages call it. ``folder`` is where the runners that share it keep their lock
    files, None where they do not share a machine. ``alone`` is True where nobody else can change it.
    """

    name: str
    folder: Path | None
    alone: bool

    def read(self, statement: str, values: Mapping[str, object]) -> list[Values]:
        """All rows of one SELECT. A value that no row can hold is found nowhere."""
        ...

    def write(self, *, sync: bool = True, urgent: bool = True) -> AbstractContextManager[Writer]:
        """One write transaction: committed at the end of the block, rolled back where it raises.

        Without ``sync`` it outlives this process at once, and a power cut only after the next transaction
        that syncs. What is not ``urgent`` may be announced to other processes a moment later, many at once; so
        may what is, where there was another a moment ago.

        Raises ``NotWritten`` where it can be tried again, another ``KitaruStoreError`` where it was not
        written, or that cannot be known.
        """
        ...

    def now(self) -> Microseconds:
        """The time by the database's clock, as well as this process knows it. Nothing is asked."""
        ...

    def ask_time(self) -> None:
        """Ask the database for its time, so that ``now`` stays right."""
        ...

    def watch(self, stop: threading.Event, changed: Callable[[], None]) -> None:
        """Call ``changed`` soon after each commit, of this process or another, until ``stop`` is set.

        Only where it is not ``alone``. It is called at the beginning too, as a commit may have come before.
        """
        ...

    def close(self) -> None:
        """Close every connection; those in use close when they are given back."""
        ...
