"""One connection to PostgreSQL, in pipeline mode: statements are sent together and answered together.

On the protocol of libpq and not on psycopg's cursors: a transaction of four statements takes a third less
time so, and what was answered before a connection broke is known statement by statement.
"""

from __future__ import annotations

import contextlib
import itertools
import select
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import psycopg
from psycopg import pq
from psycopg.adapt import Transformer
from psycopg.types.numeric import FloatLoader

from kitaru.store.database import PARAMETER, Unchanged, Unwritable
from kitaru.store.rows import Values

STATEMENT_SECONDS = 60
"""After so long the server gives a statement up."""

_PATIENCE = (STATEMENT_SECONDS + 15) * 1000
"""Milliseconds until a server that does not answer at all counts as gone."""

_MOST_PREPARED = 256

_FINE = frozenset({pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK})


class Lost(Exception):
    """The connection is gone. What was sent since the last answers may have been done or not."""


class Failed(Exception):
    """The server refused a statement: its SQLSTATE and its words."""

    def __init__(self, state: str, message: str) -> None:
        super().__init__(message)
        self.state = state
        self.message = message


class _Sent(NamedTuple):
    """A statement whose answer is to come."""

    statement: str
    values: Sequence[object]
    each: bool


@cache
def native(statement: str) -> bytes:
    """The statement as PostgreSQL writes it: numbered parameters, and real locks."""
    numbers = itertools.count(1)
    text = PARAMETER.sub(lambda _: f"${next(numbers)}", statement)
    text = text.replace("/* lock */", "FOR UPDATE").replace("/* lock, skip */", "FOR UPDATE SKIP LOCKED")
    return text.encode()


def encode(value: object) -> bytes | None:
    """A parameter as text. Its type is the server's to infer from where it stands."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            data = value.encode()
        except UnicodeEncodeError as error:
            raise Unwritable(str(error)) from error
        if b"\0" in data:
            raise Unwritable("a text with a zero character")
        return data
    if isinstance(value, bytes):
        return b"\\x" + value.hex().encode()
    if isinstance(value, float):
        return repr(value).encode()
    if isinstance(value, int):
        return b"%d" % value
    raise Unwritable(f"a value of the type {type(value).__name__}")


class Pipeline:
    """Used by one thread at a time. After ``Lost`` it is of no use; after ``Failed`` it goes on."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        connection.adapters.register_loader("numeric", FloatLoader)
        self._connection = connection
        self._pg = connection.pgconn
        self._pg.nonblocking = 1
        self._pg.enter_pipeline_mode()
        self._poll = select.poll()
        self._poll.register(self._pg.socket, select.POLLIN)
        self._rows = Transformer(connection)
        self._names: dict[str, bytes] = {}
        self._unsure: list[str] = []  # prepared since the last answers
        self._numbers = itertools.count(1)
        self._sent: list[_Sent | None] = []  # None: a statement is prepared
        self._syncs = 0

    def send(self, statement: str, values: Sequence[object] = (), *, each: bool = False) -> None:
        """Send a statement; ``answers`` tells what became of it. With ``each`` it must change or find one row."""
        encoded = [encode(value) for value in values]
        try:
            name = self._names.get(statement) or self._prepare(statement)
            if name is None:
                self._pg.send_query_params(native(statement), encoded)
            else:
                self._pg.send_query_prepared(name, encoded)
        except psycopg.OperationalError as error:
            raise Lost(str(error)) from error
        self._sent.append(_Sent(statement, values, each))

    def _prepare(self, statement: str) -> bytes | None:
        if len(self._names) >= _MOST_PREPARED:  # lists have many forms, most of them seldom
            return None
        name = b"k%d" % next(self._numbers)
        self._pg.send_prepare(name, native(statement))
        self._sent.append(None)
        self._names[statement] = name
        self._unsure.append(statement)
        return name

    def end_of_group(self) -> None:
        """What is sent from here on is a transaction of its own, where none has been begun."""
        self._pg.pipeline_sync()
        self._syncs += 1

    def answers(self) -> list[pq.abc.PGresult]:
        """The answers to everything sent, in order.

        All answers are read. Then the first statement that failed, or did not find its row, is raised: as
        ``Unwritable`` or ``Failed``, or as ``Unchanged``.
        """
        sent, self._sent = self._sent, []
        unsure, self._unsure = self._unsure, []
        try:
            self.end_of_group()
            self._flush()
            results = self._receive()
        except psycopg.OperationalError as error:
            raise Lost(str(error)) from error
        answers: list[pq.abc.PGresult] = []
        if any(result.status not in _FINE for result in results):
            for statement in unsure:
                self._names.pop(statement, None)
        for one, result in zip(sent, results, strict=True):
            if result.status not in _FINE:
                raise _failure(result)
            if one is not None:
                if one.each and result.command_tuples != 1:
                    raise Unchanged(one.statement, tuple(one.values))
                answers.append(result)
        return answers

    def _flush(self) -> None:
        while self._pg.flush():
            self._poll.modify(self._pg.socket, select.POLLIN | select.POLLOUT)
            self._wait()
            self._poll.modify(self._pg.socket, select.POLLIN)

    def _wait(self) -> None:
        ready = self._poll.poll(_PATIENCE)
        if not ready:
            raise Lost("the server does not answer")
        if any(event & ~select.POLLOUT for _, event in ready):
            self._pg.consume_input()

    def _receive(self) -> list[pq.abc.PGresult]:
        results: list[pq.abc.PGresult] = []
        while self._syncs:
            while self._pg.is_busy():
                self._wait()
            result = self._pg.get_result()
            if result is None:
                if self._pg.status == pq.ConnStatus.BAD:
                    raise Lost("the connection was closed")
            elif result.status == pq.ExecStatus.PIPELINE_SYNC:
                self._syncs -= 1
            else:
                results.append(result)
                if self._pg.status == pq.ConnStatus.BAD:
                    raise Lost(_words(result))
        return results

    def discard(self) -> None:
        """Read the answers to what was sent, whatever they are: the transaction is to be rolled back.

        Raises ``Lost`` where the connection is gone.
        """
        with contextlib.suppress(Failed, Unchanged, Unwritable):  # said already, or of no interest any more
            self.answers()

    def is_clean(self) -> bool:
        """True where nothing is under way, and no transaction open."""
        return not self._sent and not self._syncs and self._pg.transaction_status == pq.TransactionStatus.IDLE

    def rows(self, result: pq.abc.PGresult) -> list[Values]:
        """The rows of an answer, as Python values."""
        self._rows.set_pgresult(result)
        return self._rows.load_rows(0, result.ntuples, tuple)

    def has_news(self) -> bool:
        """True where something came while nothing was asked: as a rule, that the server says good-bye."""
        return bool(self._poll.poll(0))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _failure(result: pq.abc.PGresult) -> Exception:
    state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
    # Shut down, crashed, starting up, or the connection itself: whatever the statement was, the server is gone.
    if state[:2] == "08" or state in ("57P01", "57P02", "57P03", "57P05", "25P03"):
        return Lost(_words(result))
    if state[:2] in ("22", "23"):
        return Unwritable(_words(result))
    return Failed(state, _words(result))


def _words(result: pq.abc.PGresult) -> str:
    return (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or result.error_message).decode(errors="replace")
