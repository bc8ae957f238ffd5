"""Rows of the vocabulary <-> tuples of the database.

Written for speed where it is felt: a call is written for every checkpoint, and ten thousand are read
when an execution resumes. A member of a ``StrEnum`` is bound as a plain ``str``, a ``bool`` as an
``int``: the driver looks for an adapter for every other type, which takes longer than the binding.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kitaru.core.failure import Failure
from kitaru.core.rows import ArtifactRow, AttemptRow, CallRow, ExecutionRow, LogRow, MetadataRow, RecordedCall, WaitRow
from kitaru.core.states import CallKind, CallStatus, Status, WaitStatus
from kitaru.errors import FailureOrigin

Values = tuple[Any, ...]
"""A row as the database takes and gives it. ``Any``, because each column has a type of its own."""

# A dictionary finds a member five times faster than calling the enumeration does.
_STATUS: Mapping[str, Status] = {str(member): member for member in Status}
_CALL_STATUS: Mapping[str, CallStatus] = {str(member): member for member in CallStatus}
_CALL_KIND: Mapping[str, CallKind] = {str(member): member for member in CallKind}
_WAIT_STATUS: Mapping[str, WaitStatus] = {str(member): member for member in WaitStatus}
_ORIGIN: Mapping[str, FailureOrigin] = {str(member): member for member in FailureOrigin}

FAILURE = "failure_type, failure_message, failure_origin, failure_detail"
FAILURE_VALUES = ":failure_type, :failure_message, :failure_origin, :failure_detail"
"""The columns of a failure, and their parameters."""

_NO_FAILURE: tuple[str | None, ...] = (None, None, None, None)


def status_of(text: str) -> Status:
    """The status that a column names."""
    return _STATUS[text]


def failure_values(failure: Failure | None) -> tuple[str | None, ...]:
    """The four columns of a failure."""
    if failure is None:
        return _NO_FAILURE
    detail = json.dumps({"traceback": failure.traceback, "exception": failure.exception})
    return failure.type, _storable(failure.message), str(failure.origin), detail


def _storable(text: str) -> str:
    """The text with what no database can keep written as escapes: lone surrogates and the zero character.

    Messages of exceptions may hold anything, and a failure that cannot be recorded would be lost.
    """
    if text.isprintable():
        return text
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")


def read_failure(type_: str | None, message: str, origin: str, detail: str) -> Failure | None:
    """The failure that four columns hold."""
    if type_ is None:
        return None
    parts = json.loads(detail)
    return Failure(type_, message, _ORIGIN[origin], parts["traceback"], parts["exception"])


def execution_values(row: ExecutionRow) -> Values:
    """The parameters of ``CREATE_EXECUTION``."""
    return (
        row.execution_id, row.project, row.flow, row.flow_ref, str(row.status), row.stack, row.inputs,
        row.input_digest, row.created_at, row.epoch, row.runner_id, row.parent_id, row.parent_call_id,
        row.original_id, row.retries, int(row.cache), row.image, row.code_digest, row.attempt, row.started_at,
        row.ended_at, row.result, row.replay, row.deployment_version, row.snapshot, row.priority,
        *failure_values(row.failure),
    )  # fmt: skip


def read_execution(values: Values, tags: tuple[str, ...]) -> ExecutionRow:
    """The execution in a row of the database; its tags are kept in a table of their own."""
    (
        execution_id, project, flow, flow_ref, status, stack, inputs, input_digest, created_at, epoch, runner_id,
        parent_id, parent_call_id, original_id, retries, cache, image, code_digest, attempt, started_at, ended_at,
        result, replay, deployment_version, snapshot, priority, takeovers,
        first_attempt, *failure,
    ) = values  # fmt: skip
    return ExecutionRow(
        execution_id, project, flow, flow_ref, _STATUS[status], stack, inputs, input_digest, created_at, epoch,
        runner_id, parent_id, parent_call_id, original_id, retries, bool(cache), image, code_digest, attempt,
        started_at, ended_at, result, read_failure(*failure), tags, replay, deployment_version, snapshot, priority,
        takeovers, first_attempt,
    )  # fmt: skip


def call_values(execution_id: str, row: CallRow) -> Values:
    """The parameters of ``RECORD_CALL`` and ``START_CALL``."""
    (
        call_id, name, kind, position, input_digest, occurrence, inputs, status, attempt, started_at, ended_at,
        output, failure, handled, label, code_digest, cache_key, source_execution_id, source_call_id, child_id,
        due_at,
    ) = row  # fmt: skip
    return (
        execution_id, call_id, name, str(kind), position, input_digest, occurrence, inputs, str(status), attempt,
        started_at, ended_at, output, *failure_values(failure), 1 if handled else 0, label, code_digest, cache_key,
        source_execution_id, source_call_id, child_id, due_at,
    )  # fmt: skip


def read_call(values: Values) -> CallRow:
    """The call in a row of the database."""
    (
        call_id, name, kind, position, input_digest, occurrence, inputs, status, attempt, started_at, ended_at,
        output, type_, message, origin, detail, handled, label, code_digest, cache_key, source_execution_id,
        source_call_id, child_id, due_at,
    ) = values  # fmt: skip
    return CallRow(
        call_id, name, _CALL_KIND[kind], position, input_digest, occurrence, inputs, _CALL_STATUS[status], attempt,
        started_at, ended_at, output, read_failure(type_, message, origin, detail), bool(handled), label,
        code_digest, cache_key, source_execution_id, source_call_id, child_id, due_at,
    )  # fmt: skip


def read_memo(rows: list[Values]) -> list[RecordedCall]:
    """The memo in the rows of ``MEMO``."""
    make = RecordedCall._make  # a third faster than calling the class
    return [
        make((
            call_id, name, _CALL_KIND[kind], input_digest, occurrence, _CALL_STATUS[status], attempt, handled == 1,
            output, None if type_ is None else read_failure(type_, message, origin, detail), inputs, due_at, position,
            child_id, source_execution_id,
        ))
        for (
            call_id, name, kind, input_digest, occurrence, status, attempt, handled, output, inputs, due_at, position,
            child_id, source_execution_id, type_, message, origin, detail,
        ) in rows
    ]  # fmt: skip


def attempt_values(execution_id: str, row: AttemptRow) -> Values:
    """The parameters of ``RECORD_ATTEMPT``."""
    return (
        execution_id, row.call_id, row.number, str(row.status), row.started_at, row.ended_at,
        *failure_values(row.failure),
    )  # fmt: skip


def read_attempt(values: Values) -> AttemptRow:
    """The attempt in a row of the database."""
    call_id, number, status, started_at, ended_at, *failure = values
    return AttemptRow(call_id, number, _CALL_STATUS[status], started_at, ended_at, read_failure(*failure))


def wait_values(execution_id: str, row: WaitRow) -> Values:
    """The parameters of ``OPEN_WAIT``."""
    return (
        execution_id, row.wait_id, row.name, str(row.status), row.opened_at, row.question, row.schema, row.metadata,
        row.expires_at, row.default, row.answer_type,
    )  # fmt: skip


def read_wait(values: Values) -> WaitRow:
    """The wait in a row of the database."""
    wait_id, name, status, *rest = values
    return WaitRow(wait_id, name, _WAIT_STATUS[status], *rest)


def metadata_values(execution_id: str, row: MetadataRow) -> Values:
    """The parameters of ``LOG_METADATA``."""
    return (execution_id, row.call_id, row.key, row.value, row.number)


def log_values(execution_id: str, row: LogRow) -> Values:
    """The parameters of ``ADD_LINE``."""
    return (execution_id, row.call_id, row.attempt, row.at, row.level, row.logger, _storable(row.message))


def artifact_values(execution_id: str, row: ArtifactRow) -> Values:
    """The parameters of ``SAVE_ARTIFACT``."""
    return (execution_id, row.name, row.call_id, row.value, row.created_at)
