"""Mutations of waits: asked, answered, closed, and the execution parked at them."""

from __future__ import annotations

from kitaru.core.event import EventKind
from kitaru.core.mutations import AnswerRefused, Conflict, Suspended, WaitAnswered, WaitOpened, WaitsClosed
from kitaru.core.states import CallStatus, Status, WaitStatus, may_follow
from kitaru.store import events, rows
from kitaru.store.apply.calls import START_CALL
from kitaru.store.apply.transaction import State, Transaction

# A question, asked anew where it was asked before.
OPEN_WAIT = """
INSERT INTO waits (
    execution_id, wait_id, name, status, opened_at, question, answer_schema, metadata, expires_at, default_answer,
    answer_type
) VALUES (
    :execution_id, :wait_id, :name, :status, :opened_at, :question, :answer_schema, :metadata, :expires_at,
    :default_answer, :answer_type
) ON CONFLICT (execution_id, wait_id) DO UPDATE SET
    status = excluded.status, opened_at = excluded.opened_at, expires_at = excluded.expires_at, answer = NULL,
    answer_type = excluded.answer_type,
    answered_at = NULL, answered_by = NULL, answered_via = NULL
"""

# The outcome of an open wait: the first one counts.
CLOSE_WAIT = """
UPDATE waits SET
    status = :status, answer = :answer, answered_at = :at, answered_by = :answered_by, answered_via = :answered_via
WHERE execution_id = :execution_id AND wait_id = :wait_id AND status = 'open'
"""

# The same in the wait's call.
CLOSE_WAIT_CALL = """
UPDATE calls SET
    status = :status, output = :answer, ended_at = :at, handled = :handled, failure_type = :failure_type,
    failure_message = :failure_message, failure_origin = :failure_origin, failure_detail = :failure_detail
WHERE execution_id = :execution_id AND call_id = :wait_id
"""

# An answered wait is open again.
REOPEN_WAIT = """
UPDATE waits SET status = 'open', answer = NULL, answered_at = NULL, answered_by = NULL, answered_via = NULL
WHERE execution_id = :execution_id AND wait_id = :wait_id AND status = 'answered'
"""

# The same in the wait's call.
REOPEN_WAIT_CALL = """
UPDATE calls SET status = 'running', output = NULL, ended_at = NULL
WHERE execution_id = :execution_id AND call_id = :wait_id
"""

# Waits that are open when their execution ends stay unanswered.
CLOSE_WAITS = "UPDATE waits SET status = 'closed' WHERE execution_id = :execution_id AND status = 'open'"

# Whether a wait is open.
IS_OPEN = "SELECT 1 FROM waits WHERE execution_id = :execution_id AND wait_id = :wait_id AND status = 'open'"

# True where a timer is due by now.
IS_DUE = "SELECT 1 FROM executions WHERE execution_id = :execution_id AND :due_at <= kitaru_now()"

# The owner parks it. Its runner stays named: the one that goes on with it while it lives.
SUSPEND_EXECUTION = "UPDATE executions SET status = 'waiting', due_at = :due_at WHERE execution_id = :execution_id"

# What an execution waits for has come: its runner goes on with it, or, where that is gone, whoever is first.
WAKE_EXECUTION = """
UPDATE executions SET status = 'pending', due_at = NULL, runner_id = :runner_id
WHERE execution_id = :execution_id AND status = 'waiting'
"""


def open_wait(transaction: Transaction, execution_id: str, mutation: WaitOpened) -> None:
    """See ``WaitOpened``."""
    # In its place among the others: what shares the transaction may answer it, close it, or end its execution.
    transaction.flush()
    transaction.writer.put(OPEN_WAIT, [rows.wait_values(execution_id, mutation.row)])
    transaction.writer.put(START_CALL, [rows.call_values(execution_id, mutation.call)])
    transaction.add(events.ADD_EVENT, events.of_start(execution_id, mutation.call))


def suspend(transaction: Transaction, execution_id: str, mutation: Suspended) -> None:
    """See ``Suspended``."""
    state = transaction.state(execution_id)
    if state is None or not may_follow(state.status, Status.WAITING):
        raise Conflict(state.status if state else None)
    if _has_come(transaction, execution_id, mutation):
        raise Conflict(state.status)
    parameters = {"execution_id": execution_id, "due_at": mutation.due_at}
    transaction.put(SUSPEND_EXECUTION, parameters)
    transaction.add(events.ADD_EVENT, events.of_execution(execution_id, EventKind.WAITING, None))
    transaction.set_state(execution_id, State(Status.WAITING, state.epoch, state.runner_id))


def _has_come(transaction: Transaction, execution_id: str, mutation: Suspended) -> bool:
    for wait_id in mutation.wait_ids:
        parameters = {"execution_id": execution_id, "wait_id": wait_id}
        if not transaction.writer.fetch(IS_OPEN, parameters):
            return True
    for child_id in mutation.child_ids:
        child = transaction.state(child_id)
        if child is None or child.status is not Status.WAITING:
            return True
    due = {"execution_id": execution_id, "due_at": mutation.due_at}
    return mutation.due_at is not None and bool(transaction.writer.fetch(IS_DUE, due))


def answer_wait(transaction: Transaction, execution_id: str, mutation: WaitAnswered) -> None:
    """See ``WaitAnswered``."""
    state = transaction.state(execution_id)
    if state is None or state.status.finished:
        raise Conflict(state.status if state else None)
    transaction.flush()
    _close_wait(transaction, execution_id, mutation, state)
    if state.status is Status.WAITING:
        wake(transaction, execution_id, state.runner_id, mutation.at)


def wake(transaction: Transaction, execution_id: str, runner_id: str | None, at: int) -> None:
    """A waiting execution is to go on: by its runner while that lives, else by whoever is first."""
    owner = None if runner_id is None or transaction.is_gone(runner_id) else runner_id
    transaction.put(WAKE_EXECUTION, {"execution_id": execution_id, "runner_id": owner})
    transaction.add(events.ADD_EVENT, events.of_execution(execution_id, EventKind.PENDING, at))
    transaction.forget(execution_id)


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
    if transaction.writer.execute(CLOSE_WAIT, parameters) != 1:
        raise Conflict(state.status)
    of_call = {
        "status": str(CallStatus.FAILED if failed else CallStatus.COMPLETED),
        "handled": int(failed),
        "failure_type": type_,
        "failure_message": message,
        "failure_origin": origin,
        "failure_detail": detail,
    }
    transaction.put(CLOSE_WAIT_CALL, {**parameters, **of_call})
    transaction.add(events.ADD_EVENT, events.of_answer(execution_id, mutation))


def refuse_answer(transaction: Transaction, execution_id: str, mutation: AnswerRefused) -> None:
    """See ``AnswerRefused``."""
    transaction.flush()
    parameters = {"execution_id": execution_id, "wait_id": mutation.wait_id}
    if transaction.writer.execute(REOPEN_WAIT, parameters) != 1:
        state = transaction.state(execution_id)
        raise Conflict(state.status if state else None)
    transaction.put(REOPEN_WAIT_CALL, parameters)
    transaction.add(events.ADD_EVENT, events.of_refusal(execution_id, mutation))


def close_waits(transaction: Transaction, execution_id: str, mutation: WaitsClosed) -> None:
    """See ``WaitsClosed``."""
    nobody = {"at": None, "answer": None, "answered_by": None, "answered_via": None}
    for wait_id in mutation.wait_ids:
        parameters = {**nobody, "execution_id": execution_id, "wait_id": wait_id, "status": str(WaitStatus.CLOSED)}
        transaction.put(CLOSE_WAIT, parameters)
