"""A database whose n-th statement fails, once; what the transaction did before it is undone."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from kitaru.errors import KitaruStoreError
from kitaru.store.database import NOTHING, Database, Writer
from kitaru.store.rows import Values

MESSAGE = "A statement of this test failed. Try again."


class FailingDatabase:
    """Hands everything to a real database, but for the statement of this number, counted from ``arm`` on.

    The end of a write transaction counts as a statement too: it fails before it is committed.
    """

    def __init__(self, database: Database, error: type[KitaruStoreError]) -> None:
        self.failed = threading.Event()
        self._database = database
        self._error = error
        self._counting = threading.Lock()
        self._number = 0
        self._numbers = itertools.count(1)
        self.statements = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def arm(self, number: int) -> None:
        """Fail at this statement, from 1; with 0 only count them."""
        with self._counting:
            self._number, self._numbers = number, itertools.count(1)

    def count(self) -> None:
        with self._counting:
            self.statements = next(self._numbers)
            fails = self.statements == self._number
        if fails:
            self.failed.set()
            raise self._error(MESSAGE)

    def read(self, statement: str, values: Mapping[str, object]) -> list[Values]:
        self.count()
        return self._database.read(statement, values)

    @contextmanager
    def write(self, **how: Any) -> Generator[Writer, None, None]:
        with self._database.write(**how) as writer:
            yield FailingWriter(writer, self.count)  # type: ignore[misc]  # the rest of the port is delegated
            self.count()


class FailingWriter:
    """The ``Writer`` of a ``FailingDatabase``."""

    def __init__(self, writer: Writer, count: Callable[[], None]) -> None:
        self._writer = writer
        self._count = count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def execute(self, statement: str, values: Mapping[str, object] = NOTHING) -> int:
        self._count()
        return self._writer.execute(statement, values)

    def fetch(self, statement: str, values: Mapping[str, object] = NOTHING) -> list[Values]:
        self._count()
        return self._writer.fetch(statement, values)

    def put(self, statement: str, rows: Sequence[Values]) -> None:
        self._count()
        self._writer.put(statement, rows)

    def put_each(self, statement: str, rows: Sequence[Values]) -> None:
        self._count()
        self._writer.put_each(statement, rows)
