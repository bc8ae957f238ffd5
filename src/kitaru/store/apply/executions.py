"""Mutations of the execution itself: created, claimed, moved to another status."""

from __future__ import annotations

from kitaru.core.event import EventKind
from kitaru.core.mutations import Claimed, Conflict, ExecutionCreated, FlowAttemptStarted, StatusChanged
from kitaru.core.states import Status, may_follow
from kitaru.store import events, rows
from kitaru.store.apply.copies import copy_calls
from kitaru.store.apply.locks import DESCENDANTS
from kitaru.store.apply.transaction import State, Transaction
from kitaru.store.apply.waits import CLOSE_WAITS, wake

# A new execution, unless its id is taken.
CREATE_EXECUTION = f"""
INSERT INTO executions (
    execution_id, project, flow, flow_ref, status, stack, inputs, input_digest, created_at, epoch, runner_id,
    parent_id, parent_call_id, original_id, retries, cache, image, code_digest, attempt, started_at, ended_at,
    result, replay, deployment_version, snapshot, priority, {rows.FAILURE}
) VALUES (
    :execution_id, :project, :flow, :flow_ref, :status, :stack, :inputs, :input_digest, :created_at, :epoch,
    :runner_id, :parent_id, :parent_call_id, :original_id, :retries, :cache, :image, :code_digest, :attempt,
    :started_at, :ended_at, :result, :replay, :deployment_version, :snapshot, :priority, {rows.FAILURE_VALUES}
) ON CONFLICT (execution_id) DO NOTHING
"""

# One tag of a new execution; the same tag given twice counts once.
TAG_EXECUTION = """
INSERT INTO execution_tags (execution_id, tag, position) VALUES (:execution_id, :tag, :position)
ON CONFLICT (execution_id, tag) DO NOTHING
"""

# A runner takes an execution over. The caller has compared status and epoch in this transaction.
CLAIM_EXECUTION = """
UPDATE executions SET
    takeovers = CASE
        WHEN status <> 'running' THEN 0
        WHEN runner_id = :runner_id THEN takeovers
        WHEN recorded = (SELECT COUNT(*) FROM calls
            WHERE calls.execution_id = executions.execution_id AND calls.ended_at IS NOT NULL) THEN takeovers + 1
        ELSE 1 END,
    recorded = CASE WHEN status = 'running' THEN (SELECT COUNT(*) FROM calls
            WHERE calls.execution_id = executions.execution_id AND calls.ended_at IS NOT NULL) END,
    first_attempt = CASE WHEN status = 'failed' THEN :attempt ELSE first_attempt END,
    status = 'running', epoch = epoch + 1, runner_id = :runner_id, attempt = :attempt,
    started_at = COALESCE(started_at, kitaru_now()), due_at = NULL, ended_at = NULL, result = NULL,
    failure_type = NULL, failure_message = NULL, failure_origin = NULL, failure_detail = NULL
WHERE execution_id = :execution_id
"""

# Another status, with all that belongs to it. The caller has compared the one before in this transaction.
MOVE_EXECUTION = """
UPDATE executions SET
    status = :status, runner_id = :runner_id, due_at = NULL, ended_at = :ended_at, result = :result,
    failure_type = :failure_type, failure_message = :failure_message,
    failure_origin = :failure_origin, failure_detail = :failure_detail
WHERE execution_id = :execution_id
"""

# The body of a flow runs again.
SET_ATTEMPT = "UPDATE executions SET attempt = :number WHERE execution_id = :execution_id"


def create(transaction: Transaction, _: str, mutation: ExecutionCreated) -> None:
    """See ``ExecutionCreated``."""
    row = mutation.row
    transaction.writer.put_each(CREATE_EXECUTION, [rows.execution_values(row)])
    for position, tag in enumerate(row.tags):
        transaction.add(TAG_EXECUTION, (row.execution_id, tag, position))
    transaction.add(events.ADD_EVENT, events.of_execution(row.execution_id, EventKind.CREATED, row.created_at))
    if row.status is Status.RUNNING:  # created and claimed in one
        transaction.add(events.ADD_EVENT, _running(row.execution_id, row.started_at, row.runner_id, row.attempt))
    transaction.set_state(row.execution_id, State(row.status, row.epoch, row.runner_id))
    if mutation.copied:
        copy_calls(transaction, row, mutation.copied)


def claim(transaction: Transaction, execution_id: str, mutation: Claimed) -> None:
    """See ``Claimed``."""
    state = transaction.state(execution_id)
    if state is None:
        raise Conflict(None)
    legal = (
        state.status is mutation.from_status
        and state.epoch == mutation.from_epoch
        and may_follow(state.status, Status.RUNNING)
    )
    other = state.status is Status.RUNNING and state.runner_id not in (None, mutation.runner_id)
    if not legal or (other and not transaction.is_gone(state.runner_id or "")):
        raise Conflict(state.status)
    transaction.put(
        CLAIM_EXECUTION,
        {"execution_id": execution_id, "runner_id": mutation.runner_id, "attempt": mutation.attempt},
    )
    transaction.add(events.ADD_EVENT, _running(execution_id, None, mutation.runner_id, mutation.attempt))
    transaction.set_state(execution_id, State(Status.RUNNING, state.epoch + 1, mutation.runner_id))


def _running(execution_id: str, at: int | None, runner_id: str | None, attempt: int) -> rows.Values:
    return events.of_execution(execution_id, EventKind.RUNNING, at, {"runner": runner_id, "attempt": attempt})


def change_status(transaction: Transaction, execution_id: str, mutation: StatusChanged) -> None:
    """See ``StatusChanged``."""
    state = transaction.state(execution_id)
    if state is None:
        raise Conflict(None)
    if state.status not in mutation.from_statuses or not may_follow(state.status, mutation.to):
        raise Conflict(state.status)
    _move(transaction, execution_id, mutation, runner_id=state.runner_id, result=mutation.result)
    if mutation.cascade:
        for descendant_id, text in transaction.writer.fetch(DESCENDANTS, {"execution_id": execution_id}):
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
    transaction.put(
        MOVE_EXECUTION,
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
    transaction.add(events.ADD_EVENT, events.of_status(execution_id, mutation.to, mutation.at, mutation.failure))
    if state is not None:
        transaction.set_state(execution_id, State(mutation.to, state.epoch, owner))
    if mutation.to.finished:
        ended = {"execution_id": execution_id}
        transaction.put(CLOSE_WAITS, ended)
        if not mutation.has_parent:
            return
        parent_id = transaction.parent(execution_id)
        parent = transaction.state(parent_id) if parent_id is not None else None
        if parent_id is not None and parent is not None and parent.status is Status.WAITING:
            wake(transaction, parent_id, parent.runner_id, mutation.at)


def start_flow_attempt(transaction: Transaction, execution_id: str, mutation: FlowAttemptStarted) -> None:
    """See ``FlowAttemptStarted``."""
    transaction.put(SET_ATTEMPT, {"execution_id": execution_id, "number": mutation.number})
    detail = {"attempt": mutation.number}
    transaction.add(events.ADD_EVENT, events.of_execution(execution_id, EventKind.RETRIED, None, detail))
