"""Applies commits within one transaction: each type of mutation has one function here.

Rows that only have to be written are gathered by statement and written together at the end. They go to
different tables. ``HandledChanged`` and ``CallStarted`` change or look at rows that may still be gathered,
so they write them out before.

Events come from here, so that no caller can forget one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from kitaru.core.event import EventKind
from kitaru.core.mutations import (
    AlreadyExists,
    ArtifactSaved,
    AttemptFailed,
    CallRecorded,
    CallStarted,
    Claimed,
    Commit,
    Conflict,
    CopyRenamed,
    DriftFound,
    ExecutionCreated,
    Fenced,
    FlowAttemptStarted,
    HandledChanged,
    LinesPrinted,
    MetadataLogged,
    ProgressMade,
    Refusal,
    ReuseSettled,
    SlotsFreed,
    StatusChanged,
    Suspended,
    WaitAnswered,
    WaitOpened,
    WaitsClosed,
)
from kitaru.core.rows import ExecutionRow
from kitaru.core.states import CallKind, CallStatus, Status, WaitStatus, may_follow
from kitaru.store import events, limits, rows, statements
from kitaru.store.faults import UNWRITABLE

_OWN_COMPARISON = frozenset({ExecutionCreated, Claimed, StatusChanged, WaitAnswered})
"""Mutations that a commit without an epoch may hold."""


class State(NamedTuple):
    """What a commit is compared with."""

    status: Status
    epoch: int
    runner_id: str | None


class Transaction:
    """Commits on their way into one write transaction. Used by one thread, under the writer's lock.

    Args:
        connection: In the transaction.
        is_gone: Whether a runner is unknown, dead or without a lease.
    """

    def __init__(self, connection: sqlite3.Connection, is_gone: Callable[[str], bool]) -> None:
        self.connection = connection
        self.is_gone = is_gone
        self._states: dict[str, State | None] = {}
        self._rows: dict[str, list[rows.Values]] = {}

    def apply(self, commits: Sequence[Commit]) -> list[Refusal | None]:
        """Write the commits; answer ``Fenced`` for those whose epoch is over.

        Raises ``Refusal`` where one is refused later than that. Something of it may have been written
        then: the transaction must be rolled back, to the last savepoint at least.
        """
        try:
            answers = [self._apply(commit) for commit in commits]
            self.flush()
        except UNWRITABLE as error:
            raise Refusal(f"The commit cannot be written, a value in it fits no row: {error}.") from error
        return answers

    def _apply(self, commit: Commit) -> Refusal | None:
        execution_id, epoch, mutations, _ = commit
        if epoch is None:
            refusal = _without_epoch(mutations)
            if refusal is not None:
                return refusal
        else:
            state = self.state(execution_id)
            if state is None or state.epoch != epoch or state.status is not Status.RUNNING:
                return Fenced(state.status if state else None)
        for mutation in mutations:
            _APPLY[type(mutation)](self, execution_id, mutation)
        return None

    def state(self, execution_id: str) -> State | None:
        """The execution's state in this transaction; None where there is no such execution."""
        try:
            return self._states[execution_id]
        except KeyError:
            row = self.connection.execute(statements.EXECUTION_STATE, {"execution_id": execution_id}).fetchone()
            state = None if row is None else State(rows.status_of(row[0]), row[1], row[2])
            self._states[execution_id] = state
            return state

    def set_state(self, execution_id: str, state: State) -> None:
        """Remember what this transaction has made of an execution."""
        self._states[execution_id] = state

    def forget_states(self) -> None:
        """Read states anew: a statement has changed some without saying which."""
        self._states.clear()

    def add(self, statement: str, values: rows.Values) -> None:
        """Gather a row for a positional statement."""
        try:
            self._rows[statement].append(values)
        except KeyError:
            self._rows[statement] = [values]

    def flush(self) -> None:
        """Write the gathered rows."""
        gathered, self._rows = self._rows, {}
        for statement, values in gathered.items():
            written = self.connection.executemany(statement, values).rowcount
            if statement is _RECORD_CALL and written != len(values):
                raise self._recorded_already(values)

    def _recorded_already(self, values: list[rows.Values]) -> Conflict:
        state = self.state(values[0][0])
        return Conflict(state.status if state else None)


def _without_epoch(mutations: Sequence[object]) -> Refusal | None:
    for mutation in mutations:
        if type(mutation) not in _OWN_COMPARISON:
            return Refusal(
                f"A commit without an epoch cannot hold {type(mutation).__name__}: nothing says that the writer "
                "owns the execution. Give the commit the epoch of the claim."
            )
    return None


def _create(transaction: Transaction, _: str, mutation: ExecutionCreated) -> None:
    row = mutation.row
    if transaction.connection.execute(_CREATE_EXECUTION, rows.execution_values(row)).rowcount != 1:
        raise AlreadyExists(f"an execution with the id {row.execution_id!r} is recorded already")
    for position, tag in enumerate(row.tags):
        transaction.add(_TAG_EXECUTION, (row.execution_id, tag, position))
    transaction.add(_ADD_EVENT, events.of_execution(row.execution_id, EventKind.CREATED, row.created_at))
    if row.status is Status.RUNNING:  # created and claimed in one
        transaction.add(_ADD_EVENT, _running(row.execution_id, row.started_at, row.runner_id, row.attempt))
    transaction.set_state(row.execution_id, State(row.status, row.epoch, row.runner_id))
    if mutation.copied:
        _copy(transaction, row, mutation.copied)


def _copy(transaction: Transaction, row: ExecutionRow, call_ids: Sequence[str]) -> None:
    both = {"execution_id": row.execution_id, "source_id": row.original_id}
    copies = [{**both, "call_id": call_id, "at": row.created_at} for call_id in call_ids]
    transaction.connection.executemany(statements.COPY_CALL, copies)
    transaction.connection.execute(statements.COPY_ARTIFACTS, both)


def _claim(transaction: Transaction, execution_id: str, mutation: Claimed) -> None:
    state = transaction.state(execution_id)
    if state is None:
        raise Conflict(None)
    legal = (
        state.status is mutation.from_status
        and state.epoch == mutation.from_epoch
        and may_follow(state.status, Status.RUNNING)
    )
    owned = state.status is Status.RUNNING and state.runner_id is not None and not transaction.is_gone(state.runner_id)
    if not legal or owned:
        raise Conflict(state.status)
    transaction.connection.execute(
        statements.CLAIM_EXECUTION,
        {"execution_id": execution_id, "runner_id": mutation.runner_id, "attempt": mutation.attempt},
    )
    transaction.add(_ADD_EVENT, _running(execution_id, None, mutation.runner_id, mutation.attempt))
    transaction.set_state(execution_id, State(Status.RUNNING, state.epoch + 1, mutation.runner_id))


def _running(execution_id: str, at: int | None, runner_id: str | None, attempt: int) -> rows.Values:
    return events.of_execution(execution_id, EventKind.RUNNING, at, {"runner": runner_id, "attempt": attempt})


def _change_status(transaction: Transaction, execution_id: str, mutation: StatusChanged) -> None:
    state = transaction.state(execution_id)
    if state is None:
        raise Conflict(None)
    if state.status not in mutation.from_statuses or not may_follow(state.status, mutation.to):
        raise Conflict(state.status)
    _move(transaction, execution_id, mutation, runner_id=state.runner_id, result=mutation.result)
    if mutation.cascade:
        descendants = transaction.connection.execute(statements.DESCENDANTS, {"execution_id": execution_id}).fetchall()
        for descendant_id, text in descendants:
            status = rows.status_of(text)
            if not status.finished and may_follow(status, mutation.to):
                _move(transaction, descendant_id, mutation, runner_id=None, result=None)


def _move(
    transaction: Transaction, execution_id: str, mutation: StatusChanged, *, runner_id: str | None, result: str | None
) -> None:
    state = transaction.state(execution_id)
    # A pending execution that was handed back is its runner's to go on with, while that lives.
    keeps = mutation.to in (Status.RUNNING, Status.PENDING) and not mutation.released
    owner = runner_id if keeps else None
    type_, message, origin, detail = rows.failure_values(mutation.failure)
    transaction.connection.execute(
        statements.MOVE_EXECUTION,
        {
            "execution_id": execution_id,
            "status": str(mutation.to),
            "runner_id": owner,
            "ended_at": mutation.at if mutation.to.finished else None,
            "result": result,
            "failure_type": type_,
            "failure_message": message,
            "failure_origin": origin,
            "failure_detail": detail,
        },
    )
    transaction.add(_ADD_EVENT, events.of_status(execution_id, mutation.to, mutation.at, mutation.failure))
    if state is not None:
        transaction.set_state(execution_id, State(mutation.to, state.epoch, owner))
    if mutation.to.finished:
        transaction.connection.execute(statements.CLOSE_WAITS, {"execution_id": execution_id})
        parent = transaction.connection.execute(statements.WAITING_PARENT, {"execution_id": execution_id}).fetchone()
        if parent is not None:
            _wake(transaction, parent[0], parent[1], mutation.at)


def _wake(transaction: Transaction, execution_id: str, runner_id: str | None, at: int) -> None:
    """A waiting execution is to go on: by its runner while that lives, else by whoever is first."""
    owner = None if runner_id is None or transaction.is_gone(runner_id) else runner_id
    parameters = {"execution_id": execution_id, "runner_id": owner}
    transaction.connection.execute(statements.WAKE_EXECUTION, parameters)
    transaction.add(_ADD_EVENT, events.of_execution(execution_id, EventKind.PENDING, at))
    transaction.forget_states()


def _suspend(transaction: Transaction, execution_id: str, mutation: Suspended) -> None:
    state = transaction.state(execution_id)
    if state is None or not may_follow(state.status, Status.WAITING):
        raise Conflict(state.status if state else None)
    transaction.flush()  # the wait itself may be in this very commit
    if _has_come(transaction, execution_id, mutation):
        raise Conflict(state.status)
    parameters = {"execution_id": execution_id, "due_at": mutation.due_at}
    transaction.connection.execute(statements.SUSPEND_EXECUTION, parameters)
    transaction.add(_ADD_EVENT, events.of_execution(execution_id, EventKind.WAITING, None))
    transaction.set_state(execution_id, State(Status.WAITING, state.epoch, state.runner_id))


def _has_come(transaction: Transaction, execution_id: str, mutation: Suspended) -> bool:
    connection = transaction.connection
    for wait_id in mutation.wait_ids:
        parameters = {"execution_id": execution_id, "wait_id": wait_id}
        if connection.execute(statements.IS_OPEN, parameters).fetchone() is None:
            return True
    for child_id in mutation.child_ids:
        child = transaction.state(child_id)
        if child is None or child.status is not Status.WAITING:
            return True
    due = {"execution_id": execution_id, "due_at": mutation.due_at}
    return mutation.due_at is not None and connection.execute(statements.IS_DUE, due).fetchone() is not None


def _open_wait(transaction: Transaction, execution_id: str, mutation: WaitOpened) -> None:
    transaction.add(_OPEN_WAIT, rows.wait_values(execution_id, mutation.row))
    transaction.add(_ADD_EVENT, events.of_start(execution_id, mutation.call))
    transaction.add(_START_CALL, rows.call_values(execution_id, mutation.call))


def _answer_wait(transaction: Transaction, execution_id: str, mutation: WaitAnswered) -> None:
    state = transaction.state(execution_id)
    if state is None or state.status.finished:
        raise Conflict(state.status if state else None)
    transaction.flush()
    _close_wait(transaction, execution_id, mutation, state)
    if state.status is Status.WAITING:
        _wake(transaction, execution_id, state.runner_id, mutation.at)


def _close_wait(transaction: Transaction, execution_id: str, mutation: WaitAnswered, state: State) -> None:
    type_, message, origin, detail = rows.failure_values(mutation.failure)
    failed = mutation.failure is not None
    parameters = {
        "execution_id": execution_id,
        "wait_id": mutation.wait_id,
        "status": str(mutation.to),
        "answer": mutation.answer,
        "at": mutation.at,
        "answered_by": mutation.by,
        "answered_via": mutation.via,
    }
    if transaction.connection.execute(statements.CLOSE_WAIT, parameters).rowcount != 1:
        raise Conflict(state.status)
    of_call = {
        "status": str(CallStatus.FAILED if failed else CallStatus.COMPLETED),
        "handled": int(failed),
        "failure_type": type_,
        "failure_message": message,
        "failure_origin": origin,
        "failure_detail": detail,
    }
    transaction.connection.execute(statements.CLOSE_WAIT_CALL, {**parameters, **of_call})
    transaction.add(_ADD_EVENT, events.of_answer(execution_id, mutation))


def _close_waits(transaction: Transaction, execution_id: str, mutation: WaitsClosed) -> None:
    nobody = {"at": None, "answer": None, "answered_by": None, "answered_via": None}
    for wait_id in mutation.wait_ids:
        parameters = {**nobody, "execution_id": execution_id, "wait_id": wait_id, "status": str(WaitStatus.CLOSED)}
        transaction.connection.execute(statements.CLOSE_WAIT, parameters)


def _start_flow_attempt(transaction: Transaction, execution_id: str, mutation: FlowAttemptStarted) -> None:
    transaction.connection.execute(statements.SET_ATTEMPT, {"execution_id": execution_id, "number": mutation.number})
    detail = {"attempt": mutation.number}
    transaction.add(_ADD_EVENT, events.of_execution(execution_id, EventKind.RETRIED, None, detail))


def _start_call(transaction: Transaction, execution_id: str, mutation: CallStarted) -> None:
    transaction.flush()  # a hint may come after the outcome of its call: then it changes nothing
    row = mutation.row
    parameters = {"execution_id": execution_id, "call_id": row.call_id, "attempt": row.attempt}
    if transaction.connection.execute(statements.START_IS_KNOWN, parameters).fetchone() is None:
        transaction.add(_ADD_EVENT, events.of_start(execution_id, row))
    transaction.connection.execute(_START_CALL, rows.call_values(execution_id, row))


def _record_call(transaction: Transaction, execution_id: str, mutation: CallRecorded) -> None:
    row = mutation.row
    transaction.add(_RECORD_CALL, rows.call_values(execution_id, row))
    if row.kind is not CallKind.VALUE:  # nobody watches kitaru.now()
        transaction.add(_ADD_EVENT, events.of_call(execution_id, row))


def _record_attempt(transaction: Transaction, execution_id: str, mutation: AttemptFailed) -> None:
    transaction.add(_RECORD_ATTEMPT, rows.attempt_values(execution_id, mutation.row))
    transaction.add(_ADD_EVENT, events.of_attempt(execution_id, mutation.row))


def _set_handled(transaction: Transaction, execution_id: str, mutation: HandledChanged) -> None:
    transaction.flush()
    handled = int(mutation.handled)
    transaction.connection.executemany(
        statements.SET_HANDLED,
        [{"execution_id": execution_id, "call_id": call_id, "handled": handled} for call_id in mutation.call_ids],
    )


def _rename_copy(transaction: Transaction, execution_id: str, mutation: CopyRenamed) -> None:
    parameters = {"execution_id": execution_id, **mutation._asdict()}
    transaction.connection.execute(statements.RENAME_COPY, parameters)
    transaction.connection.execute(statements.MOVE_ARTIFACTS, parameters)


def _settle_reuse(transaction: Transaction, execution_id: str, mutation: ReuseSettled) -> None:
    transaction.flush()
    connection = transaction.connection
    connection.executemany(
        statements.MOVE_CALL,
        [
            {"execution_id": execution_id, "call_id": call_id, "position": position}
            for call_id, position in mutation.moved
        ],
    )
    if mutation.unused:
        unused = [{"execution_id": execution_id, "call_id": call_id} for call_id in mutation.unused]
        connection.executemany(statements.REMOVE_COPY, unused)
        connection.execute(statements.REMOVE_ARTIFACTS, {"execution_id": execution_id})


def _log_metadata(transaction: Transaction, execution_id: str, mutation: MetadataLogged) -> None:
    for row in mutation.rows:
        transaction.add(_LOG_METADATA, rows.metadata_values(execution_id, row))


def _save_artifact(transaction: Transaction, execution_id: str, mutation: ArtifactSaved) -> None:
    transaction.add(_SAVE_ARTIFACT, rows.artifact_values(execution_id, mutation.row))


def _tell_progress(transaction: Transaction, execution_id: str, mutation: ProgressMade) -> None:
    transaction.add(_ADD_EVENT, events.of_progress(execution_id, mutation))


def _keep_lines(transaction: Transaction, execution_id: str, mutation: LinesPrinted) -> None:
    for row in mutation.rows:
        transaction.add(_ADD_LINE, rows.log_values(execution_id, row))


def _free_slots(transaction: Transaction, execution_id: str, mutation: SlotsFreed) -> None:
    for limit in mutation.limits:
        transaction.add(_LEAVE_LIMIT, (limit, execution_id, mutation.call_id))


def _report_drift(transaction: Transaction, execution_id: str, mutation: DriftFound) -> None:
    transaction.connection.execute(statements.CLEAR_DRIFT, {"execution_id": execution_id})
    transaction.connection.executemany(
        _RECORD_DRIFT, [(execution_id, position, *row) for position, row in enumerate(mutation.rows)]
    )


_CREATE_EXECUTION = statements.positional(statements.CREATE_EXECUTION)
_TAG_EXECUTION = statements.positional(statements.TAG_EXECUTION)
_RECORD_CALL = statements.positional(statements.RECORD_CALL)
_START_CALL = statements.positional(statements.START_CALL)
_OPEN_WAIT = statements.positional(statements.OPEN_WAIT)
_RECORD_ATTEMPT = statements.positional(statements.RECORD_ATTEMPT)
_LOG_METADATA = statements.positional(statements.LOG_METADATA)
_SAVE_ARTIFACT = statements.positional(statements.SAVE_ARTIFACT)
_ADD_EVENT = statements.positional(statements.ADD_EVENT)
_ADD_LINE = statements.positional(statements.ADD_LINE)
_LEAVE_LIMIT = statements.positional(limits.LEAVE_LIMIT)
_RECORD_DRIFT = statements.positional(statements.RECORD_DRIFT)

# ``Any``: each function takes the type of mutation that it stands under.
_APPLY: Mapping[type[Any], Callable[[Transaction, str, Any], None]] = {
    ExecutionCreated: _create,
    Claimed: _claim,
    StatusChanged: _change_status,
    FlowAttemptStarted: _start_flow_attempt,
    CallStarted: _start_call,
    CallRecorded: _record_call,
    AttemptFailed: _record_attempt,
    HandledChanged: _set_handled,
    CopyRenamed: _rename_copy,
    ReuseSettled: _settle_reuse,
    MetadataLogged: _log_metadata,
    ArtifactSaved: _save_artifact,
    WaitOpened: _open_wait,
    WaitAnswered: _answer_wait,
    WaitsClosed: _close_waits,
    Suspended: _suspend,
    ProgressMade: _tell_progress,
    LinesPrinted: _keep_lines,
    SlotsFreed: _free_slots,
    DriftFound: _report_drift,
}
