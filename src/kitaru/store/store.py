"""The ``Store`` port in SQL: one door for writes, and a reader for each aggregate."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from kitaru.core.clock import SystemClock
from kitaru.core.mutations import (
    AlreadyExists,
    CallRecorded,
    CallStarted,
    Commit,
    Conflict,
    LinesPrinted,
    ProgressMade,
    Refusal,
)
from kitaru.core.ports import (
    Artifacts,
    Calls,
    Deployments,
    Events,
    Executions,
    Limits,
    Logs,
    Retention,
    Runners,
    Secrets,
    Stacks,
    Statistics,
    Waits,
)
from kitaru.store.apply import Transaction, apply
from kitaru.store.apply.executions import CREATE_EXECUTION
from kitaru.store.apply.transaction import EXECUTION_STATE
from kitaru.store.artifacts import SqlArtifacts
from kitaru.store.calls import SqlCalls
from kitaru.store.changes import Changes
from kitaru.store.database import RETRY_SECONDS, Database, NotWritten, Unchanged, Unwritable, Writer
from kitaru.store.deployments import SqlDeployments
from kitaru.store.events import SqlEvents
from kitaru.store.executions import SqlExecutions
from kitaru.store.limits import SqlLimits
from kitaru.store.liveness import RunnerLocks
from kitaru.store.logs import SqlLogs
from kitaru.store.retention import SqlRetention
from kitaru.store.rows import status_of
from kitaru.store.runners import SqlRunners
from kitaru.store.secrets import SqlSecrets
from kitaru.store.stacks import SqlStacks
from kitaru.store.statistics import SqlStatistics
from kitaru.store.waits import SqlWaits

# Waiting for a server is waiting for the real world, whatever clock a test has injected.
_machine = SystemClock()
_never = threading.Event()


class SqlStore:
    """A store in a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.now = database.now
        self._locks = RunnerLocks(database.folder)
        self._changes = Changes(database)
        self._runners = SqlRunners(database, self._locks)
        self.executions: Executions = SqlExecutions(database, self._runners)
        self.calls: Calls = SqlCalls(database)
        self.artifacts: Artifacts = SqlArtifacts(database)
        self.events: Events = SqlEvents(database)
        self.logs: Logs = SqlLogs(database)
        self.statistics: Statistics = SqlStatistics(database)
        self.runners: Runners = self._runners
        self.stacks: Stacks = SqlStacks(database)
        self.deployments: Deployments = SqlDeployments(database)
        self.waits: Waits = SqlWaits(database)
        self.limits: Limits = SqlLimits(database, self._runners)
        self.retention: Retention = SqlRetention(database)
        self.secrets: Secrets = SqlSecrets(database)

    def commit(self, commits: Sequence[Commit]) -> list[Refusal | None]:
        """See ``Store.commit``. A commit that holds a value no row can hold is answered by a ``Refusal``."""
        deadline = _machine.monotonic() + RETRY_SECONDS
        while True:
            try:
                answers = self._commit(commits)
                break
            except NotWritten:
                if _machine.monotonic() > deadline:
                    raise
            _machine.wait(_never, 0.01)
        if self._changes.wanted and (self._database.alone or _moves_an_execution(commits)):
            self._changes.notify()
        return answers

    def _commit(self, commits: Sequence[Commit]) -> list[Refusal | None]:
        sync = not all(commit.hint for commit in commits)
        try:
            with self._database.write(sync=sync, urgent=_moves_an_execution(commits)) as writer:
                return apply(self._transaction(writer), commits)
        except Refusal as refusal:
            if len(commits) == 1:
                return [refusal]
        except (Unchanged, Unwritable):
            pass  # one of them, and which one is found out next
        return self._commit_apart(commits)

    def _commit_apart(self, commits: Sequence[Commit]) -> list[Refusal | None]:
        """Write a group again of which one was refused halfway, so that only that one is left out.

        A savepoint each, which the common path does without, and still one transaction: where the disk
        fails in the middle, nothing at all has been written.
        """
        answers: list[Refusal | None] = []
        with self._database.write() as writer:
            for commit in commits:
                try:
                    with writer.savepoint():
                        (answer,) = apply(self._transaction(writer), [commit], trusting=False)
                    answers.append(answer)
                except Refusal as refusal:
                    answers.append(refusal)
                except Unchanged as unchanged:
                    answers.append(_refusal(writer, unchanged))
                except Unwritable as error:
                    answers.append(Refusal(f"The commit cannot be written, a value in it fits no row: {error}."))
        return answers

    def _transaction(self, writer: Writer) -> Transaction:
        return Transaction(writer, lambda runner_id: self._runners.is_gone(writer, runner_id))

    def changes(self, listener: Callable[[], None]) -> Callable[[], None]:
        """See ``Store.changes``. A commit that moves an execution calls the listeners on its own thread."""
        return self._changes.subscribe(listener)

    def close(self) -> None:
        """End all subscriptions, let go of the locks of this process's runners, close all connections."""
        self._changes.close()
        self._locks.close()
        self._database.close()


_FREQUENT = frozenset({CallStarted, CallRecorded, ProgressMade, LinesPrinted})


def _moves_an_execution(commits: Sequence[Commit]) -> bool:
    # Who waits for an execution is woken at once. Calls and their output come by the thousand, and the thread
    # that watches the file reports them within milliseconds, many at a time.
    return any(type(mutation) not in _FREQUENT for commit in commits for mutation in commit.mutations)


def _refusal(writer: Writer, unchanged: Unchanged) -> Refusal:
    execution_id = unchanged.row[0]
    if unchanged.statement == CREATE_EXECUTION:
        return AlreadyExists(f"an execution with the id {execution_id!r} is recorded already")
    found = writer.fetch(EXECUTION_STATE, {"execution_id": execution_id})
    return Conflict(status_of(found[0][0]) if found else None)
