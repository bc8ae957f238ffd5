"""What one write transaction knows of the executions in it, and the rows that it still has to write.

Rows that only have to be written are gathered by statement and written together. They go to different
tables. Mutations that change or look at rows which may still be gathered write them out before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from kitaru.core.states import Status
from kitaru.store import rows
from kitaru.store.database import Writer, parameters

# What a commit is compared with: read once per execution and transaction.
EXECUTION_STATE = "SELECT status, epoch, runner_id FROM executions WHERE execution_id = :execution_id /* lock */"

# The parent of an execution, where it has one.
PARENT = "SELECT parent_id FROM executions WHERE execution_id = :execution_id AND parent_id IS NOT NULL"


class State(NamedTuple):
    """What a commit is compared with."""

    status: Status
    epoch: int
    runner_id: str | None


class Transaction:
    """Commits on their way into one write transaction. Used by one thread.

    Args:
        writer: Of the transaction.
        is_gone: Whether a runner is unknown, dead or without a lease.
    """

    def __init__(self, writer: Writer, is_gone: Callable[[str], bool]) -> None:
        self.writer = writer
        self.is_gone = is_gone
        self._states: dict[str, State | None] = {}
        self._parents: dict[str, str | None] = {}
        self._rows: dict[str, list[rows.Values]] = {}
        self._each: dict[str, list[rows.Values]] = {}

    def state(self, execution_id: str) -> State | None:
        """The execution's state in this transaction; None where there is no such execution."""
        try:
            return self._states[execution_id]
        except KeyError:
            self.read_states([execution_id])
            return self._states[execution_id]

    def read_states(self, execution_ids: Iterable[str]) -> bool:
        """Read, and lock, the states of several executions; False where all are known already."""
        new = sorted(set(execution_ids) - self._states.keys())
        answers = self.writer.fetch_each(EXECUTION_STATE, [(execution_id,) for execution_id in new])
        for execution_id, found in zip(new, answers, strict=True):
            state = State(rows.status_of(found[0][0]), found[0][1], found[0][2]) if found else None
            self._states[execution_id] = state
        return bool(new)

    def parent(self, execution_id: str) -> str | None:
        """The execution that started this one."""
        self.read_parents([execution_id])
        return self._parents[execution_id]

    def read_parents(self, execution_ids: Iterable[str]) -> None:
        """Read the parents of several executions, which never change."""
        new = sorted(set(execution_ids) - self._parents.keys())
        answers = self.writer.fetch_each(PARENT, [(execution_id,) for execution_id in new])
        for execution_id, found in zip(new, answers, strict=True):
            self._parents[execution_id] = found[0][0] if found else None

    def set_state(self, execution_id: str, state: State) -> None:
        """Remember what this transaction has made of an execution."""
        self._states[execution_id] = state

    def forget(self, execution_id: str) -> None:
        """Read its state anew when it is next asked for."""
        self._states.pop(execution_id, None)

    def put(self, statement: str, values: Mapping[str, object]) -> None:
        """Run one statement in its place among the others; what it changes is not asked."""
        self.writer.put(statement, [tuple(values[name] for name in parameters(statement))])

    def add(self, statement: str, values: rows.Values) -> None:
        """Gather a row for a statement."""
        try:
            self._rows[statement].append(values)
        except KeyError:
            self._rows[statement] = [values]

    def add_each(self, statement: str, values: rows.Values) -> None:
        """The same for a row that must be written; it begins with the id of its execution.

        Where it changes nothing, ``Unchanged`` is raised, as late as at the end of the transaction.
        """
        try:
            self._each[statement].append(values)
        except KeyError:
            self._each[statement] = [values]

    def flush(self) -> None:
        """Write the gathered rows."""
        gathered, self._rows = self._rows, {}
        for statement, values in gathered.items():
            self.writer.put(statement, values)
        if not self._each:
            return
        gathered, self._each = self._each, {}
        for statement, values in gathered.items():
            self.writer.put_each(statement, values)
