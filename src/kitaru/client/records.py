"""Rows of the store to the records that people see."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from typing import Any

from kitaru.client.waits import wait_record
from kitaru.core.artifact import Artifact
from kitaru.core.clock import to_datetime
from kitaru.core.execution import Attempt, CheckpointCall, Details, Drift, Execution
from kitaru.core.ports import Values
from kitaru.core.rows import ArtifactRow, AttemptRow, CallRow, Encoded, ExecutionRow, MetadataRow
from kitaru.core.states import CallStatus
from kitaru.services.wiring import Wiring


def execution_record(wiring: Wiring, row: ExecutionRow) -> Execution:
    """The record of an execution; its calls are read when they are first looked at."""
    return Execution(
        exec_id=row.execution_id,
        flow=row.flow,
        status=row.status,
        stack=row.stack,
        created_at=to_datetime(row.created_at),
        started_at=None if row.started_at is None else to_datetime(row.started_at),
        ended_at=None if row.ended_at is None else to_datetime(row.ended_at),
        failure=row.failure,
        retries=row.retries,
        cache=row.cache,
        image=row.image,
        tags=row.tags,
        parent_id=row.parent_id,
        original_exec_id=row.original_id,
        deployment_version=row.deployment_version,
        load_inputs=partial(wiring.values.decode_inputs, row.inputs),
        load_result=partial(_decode, wiring.values, row.result),
        plain_inputs=partial(wiring.values.plain, row.inputs),
        plain_result=partial(_plain, wiring.values, row.result),
        load_details=partial(_details, wiring, row),
    )


def artifact_record(wiring: Wiring, execution_id: str, row: ArtifactRow) -> Artifact:
    """The record of an artifact."""
    return Artifact(
        exec_id=execution_id,
        name=row.name,
        call_id=row.call_id or None,
        created_at=to_datetime(row.created_at),
        load=partial(wiring.values.decode, row.value),
    )


def _details(wiring: Wiring, execution: ExecutionRow) -> Details:
    calls, execution_id = wiring.store.calls, execution.execution_id
    attempts: defaultdict[str, list[Attempt]] = defaultdict(list)
    for row in calls.attempts(execution_id):
        attempts[row.call_id].append(_attempt(row))
    metadata: defaultdict[str, list[MetadataRow]] = defaultdict(list)
    for row in calls.metadata(execution_id):
        metadata[row.call_id].append(row)
    values = wiring.values
    return Details(
        checkpoints=tuple(
            _call(values, _ended_with(execution, row), attempts[row.call_id], _metadata(values, metadata[row.call_id]))
            for row in calls.of(execution_id)
        ),
        attempts=tuple(attempts[""]),
        metadata=_metadata(values, metadata[""]),
        drift=tuple(
            Drift(
                call_id=row.call_id,
                recorded_call_id=row.recorded_call_id,
                input=row.input,
                recorded=row.recorded,
                given=row.given,
            )
            for row in calls.drift(execution_id)
        ),
        waits=tuple(wait_record(wiring, execution_id, row) for row in wiring.store.waits.of(execution_id)),
    )


def _ended_with(execution: ExecutionRow, row: CallRow) -> CallRow:
    """A call that was under way when its execution ended will never have an outcome of its own (S2.5, S6.8)."""
    if row.status is not CallStatus.RUNNING or not execution.status.finished:
        return row
    return row._replace(status=CallStatus.CANCELLED, attempt=row.attempt + 1, ended_at=execution.ended_at)


def _call(values: Values, row: CallRow, failed: list[Attempt], metadata: Mapping[str, Any]) -> CheckpointCall:
    attempts = list(failed)
    # The store keeps failed attempts only; the one that goes on or succeeded is the call's own row.
    number = row.attempt + 1 if row.status is CallStatus.RUNNING else row.attempt
    if row.status in (CallStatus.COMPLETED, CallStatus.RUNNING, CallStatus.CANCELLED) and number > 0:
        attempts.append(
            Attempt(
                number=number,
                status=row.status,
                started_at=to_datetime(row.started_at),
                ended_at=None if row.ended_at is None else to_datetime(row.ended_at),
                failure=None,
            )
        )
    return CheckpointCall(
        call_id=row.call_id,
        name=row.name,
        kind=row.kind,
        type=row.label,
        status=row.status,
        started_at=to_datetime(row.started_at),
        ended_at=None if row.ended_at is None else to_datetime(row.ended_at),
        attempts=tuple(attempts),
        failure=row.failure,
        cached_from=row.source_execution_id,
        cached_from_call=row.source_call_id,
        child_exec_id=row.child_id,
        metadata=metadata,
        load_inputs=partial(values.decode_inputs, row.inputs),
        load_output=partial(_decode, values, row.output),
        plain_inputs=partial(values.plain, row.inputs),
        plain_output=partial(_plain, values, row.output),
    )


def _attempt(row: AttemptRow) -> Attempt:
    return Attempt(
        number=row.number,
        status=row.status,
        started_at=to_datetime(row.started_at),
        ended_at=to_datetime(row.ended_at),
        failure=row.failure,
    )


def _metadata(values: Values, rows: list[MetadataRow]) -> Mapping[str, Any]:
    return {row.key: values.decode(row.value) for row in rows}


def _plain(values: Values, text: Encoded | None) -> Any:
    return None if text is None else values.plain(text)


def _decode(values: Values, text: Encoded | None) -> Any:
    return None if text is None else values.decode(text)
