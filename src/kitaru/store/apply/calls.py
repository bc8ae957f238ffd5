"""Mutations of calls and their attempts."""

from __future__ import annotations

from kitaru.core.mutations import AttemptFailed, CallRecorded, CallStarted, HandledChanged
from kitaru.core.states import CallKind
from kitaru.store import events, rows
from kitaru.store.apply.transaction import Transaction

_INSERT_CALL = f"""
INSERT INTO calls (
    execution_id, call_id, name, kind, position, input_digest, occurrence, inputs, status, attempt, started_at,
    ended_at, output, {rows.FAILURE}, handled, label, code_digest, cache_key, source_execution_id, source_call_id,
    child_id, due_at
) VALUES (
    :execution_id, :call_id, :name, :kind, :position, :input_digest, :occurrence, :inputs, :status, :attempt,
    :started_at, :ended_at, :output, {rows.FAILURE_VALUES}, :handled, :label, :code_digest, :cache_key,
    :source_execution_id, :source_call_id, :child_id, :due_at
)
"""

_REPLACE_CALL = """
ON CONFLICT (execution_id, call_id) DO UPDATE SET
    name = excluded.name, kind = excluded.kind, position = excluded.position,
    input_digest = excluded.input_digest, occurrence = excluded.occurrence, inputs = excluded.inputs,
    status = excluded.status, attempt = excluded.attempt, started_at = excluded.started_at,
    ended_at = excluded.ended_at, output = excluded.output, failure_type = excluded.failure_type,
    failure_message = excluded.failure_message, failure_origin = excluded.failure_origin,
    failure_detail = excluded.failure_detail, handled = excluded.handled, label = excluded.label,
    code_digest = excluded.code_digest, cache_key = excluded.cache_key,
    source_execution_id = excluded.source_execution_id, source_call_id = excluded.source_call_id,
    child_id = excluded.child_id, due_at = excluded.due_at
"""

# The outcome of a call. A success that is recorded already stays: then no row is changed.
RECORD_CALL = _INSERT_CALL + _REPLACE_CALL + "WHERE calls.status <> 'completed'"

# A call is under way. A success stays, and so does an outcome that a late hint would undo; a failure that
# is being run again does not.
START_CALL = (
    _INSERT_CALL + _REPLACE_CALL
    + "WHERE calls.status = 'running' OR (calls.status <> 'completed' AND excluded.attempt >= calls.attempt)"
)  # fmt: skip

# Whether the body has seen a failure.
SET_HANDLED = """
UPDATE calls SET handled = :handled WHERE execution_id = :execution_id AND call_id = :call_id
"""

# An ended attempt.
RECORD_ATTEMPT = f"""
INSERT INTO attempts (execution_id, call_id, number, status, started_at, ended_at, {rows.FAILURE})
VALUES (:execution_id, :call_id, :number, :status, :started_at, :ended_at, {rows.FAILURE_VALUES})
ON CONFLICT (execution_id, call_id, number) DO UPDATE SET
    status = excluded.status, started_at = excluded.started_at, ended_at = excluded.ended_at,
    failure_type = excluded.failure_type, failure_message = excluded.failure_message,
    failure_origin = excluded.failure_origin, failure_detail = excluded.failure_detail
"""

# The start of an attempt is told, unless it is no news: it has been shown, or the call has gone further.
TELL_START = """
INSERT INTO events (execution_id, call_id, at, kind, detail)
SELECT :execution_id, :call_id, :at, :kind, :detail WHERE NOT EXISTS (
    SELECT 1 FROM calls WHERE execution_id = :execution_id AND call_id = :call_id
        AND (status = 'completed' OR attempt > :attempt OR (attempt = :attempt AND status = 'running'))
)
"""


def start_call(transaction: Transaction, execution_id: str, mutation: CallStarted) -> None:
    """See ``CallStarted``."""
    transaction.flush()  # a hint may come after the outcome of its call: then it changes nothing
    row = mutation.row
    known = (execution_id, row.call_id, row.attempt, row.attempt)
    transaction.writer.put(TELL_START, [(*events.of_start(execution_id, row), *known)])
    transaction.writer.put(START_CALL, [rows.call_values(execution_id, row)])


def record_call(transaction: Transaction, execution_id: str, mutation: CallRecorded) -> None:
    """See ``CallRecorded``."""
    row = mutation.row
    transaction.add_each(RECORD_CALL, rows.call_values(execution_id, row))
    if row.kind is not CallKind.VALUE:  # nobody watches kitaru.now()
        transaction.add(events.ADD_EVENT, events.of_call(execution_id, row))


def record_attempt(transaction: Transaction, execution_id: str, mutation: AttemptFailed) -> None:
    """See ``AttemptFailed``."""
    transaction.add(RECORD_ATTEMPT, rows.attempt_values(execution_id, mutation.row))
    transaction.add(events.ADD_EVENT, events.of_attempt(execution_id, mutation.row))


def set_handled(transaction: Transaction, execution_id: str, mutation: HandledChanged) -> None:
    """See ``HandledChanged``."""
    transaction.flush()
    handled = int(mutation.handled)
    transaction.writer.put(SET_HANDLED, [(handled, execution_id, call_id) for call_id in mutation.call_ids])
