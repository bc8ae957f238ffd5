"""Rows of two executions to the record of how they differ (S6.6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kitaru.client.records import execution_record
from kitaru.core.diff import CallDiff, ExecutionDiff, Figure
from kitaru.core.execution import CheckpointCall, Execution
from kitaru.core.failure import Failure
from kitaru.core.retry import is_number
from kitaru.core.rows import CallRow, Encoded, ExecutionRow
from kitaru.core.states import CallKind
from kitaru.errors import KitaruUsageError
from kitaru.services.diff import Pair, change, pair, value_diff, value_diffs
from kitaru.services.find import find
from kitaru.services.wiring import Wiring

_COST = "cost"


def execution_diff(wiring: Wiring, a: str, b: str) -> ExecutionDiff:
    """The difference of two executions. Raises ``KitaruUsageError`` where they are not of one flow."""
    rows = find(wiring, a), find(wiring, b)
    first, second = rows
    if first.flow != second.flow:
        raise KitaruUsageError(
            f"execution {first.execution_id} is of flow {first.flow} and {second.execution_id} of flow {second.flow}. "
            "Only executions of one flow can be compared."
        )
    before, after = (execution_record(wiring, row) for row in rows)
    by_id = [{call.call_id: call for call in record.checkpoints} for record in (before, after)]
    pairs = pair(*(wiring.store.calls.of(row.execution_id) for row in rows))
    totals = [
        _numbers((record.metadata, *(call.metadata for call in record.checkpoints))) for record in (before, after)
    ]
    return ExecutionDiff(
        flow=second.flow,
        before=before,
        after=after,
        inputs=value_diffs(*(wiring.values.split_inputs(row.inputs) for row in rows)),
        result=value_diff("result", *(_returned(row) for row in rows)),
        duration=Figure(*(_lasted(record) for record in (before, after))),
        cost=_cost(*totals),
        numbers=_side_by_side(*totals),
        calls=tuple(_call_diff(wiring, both, *_records(both, *by_id)) for both in pairs),
    )


def _records(
    both: Pair, before: Mapping[str, CheckpointCall], after: Mapping[str, CheckpointCall]
) -> tuple[CheckpointCall | None, CheckpointCall | None]:
    return (
        None if both.before is None else before.get(both.before.call_id),
        None if both.after is None else after.get(both.after.call_id),
    )


def _call_diff(wiring: Wiring, both: Pair, before: CheckpointCall | None, after: CheckpointCall | None) -> CallDiff:
    one = both.after or both.before
    assert one is not None
    inputs = output = None
    differs: list[str] = []
    if both.before is not None and both.after is not None:
        inputs = value_diffs(*(wiring.values.split_inputs(row.inputs) for row in (both.before, both.after)))
        output = value_diff("output", *(_output(wiring, row) for row in (both.before, both.after)))
        differs = [
            name
            for name, differ in (
                ("inputs", bool(inputs)),
                ("output", output is not None),
                ("status", both.before.status is not both.after.status),
                ("code", _other_code(both.before, both.after)),
            )
            if differ
        ]
    numbers = [_numbers(() if call is None else (call.metadata,)) for call in (before, after)]
    return CallDiff(
        call_id=one.call_id,
        name=one.name,
        change=change(both, differs),
        differs=tuple(differs),
        before=before,
        after=after,
        inputs=inputs or (),
        output=output,
        duration=Figure(*(_lasted(call) for call in (before, after))),
        cost=_cost(*numbers),
        numbers=_side_by_side(*numbers),
    )


def _output(wiring: Wiring, row: CallRow) -> Encoded | None:
    if row.kind is CallKind.FLOW and row.child_id is not None:  # what it returned is kept with the child
        child = wiring.store.executions.get(row.child_id)
        return None if child is None else _returned(child)
    return row.output if row.failure is None else _told(row.failure)


def _returned(row: ExecutionRow) -> Encoded | None:
    return row.result if row.failure is None else _told(row.failure)


def _told(failure: Failure) -> str:
    return f"{failure.type.rpartition(':')[2]}: {failure.message}"


def _other_code(before: CallRow, after: CallRow) -> bool:
    return None not in (before.code_digest, after.code_digest) and before.code_digest != after.code_digest


def _lasted(record: Execution | CheckpointCall | None) -> float | None:
    if record is None or record.started_at is None or record.ended_at is None:
        return None
    return (record.ended_at - record.started_at).total_seconds()


def _numbers(metadata: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The numeric items, those of one key added up."""
    sums: dict[str, float] = {}
    for items in metadata:
        for key, value in items.items():
            if is_number(value):
                sums[key] = sums.get(key, 0) + value
    return sums


def _cost(before: Mapping[str, float], after: Mapping[str, float]) -> Figure:
    def total(numbers: Mapping[str, float]) -> float | None:
        costs = [number for key, number in numbers.items() if _is_cost(key)]
        return sum(costs) if costs else None

    return Figure(total(before), total(after))


def _side_by_side(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, Figure]:
    return {key: Figure(before.get(key), after.get(key)) for key in {**before, **after} if not _is_cost(key)}


def _is_cost(key: str) -> bool:
    return _COST in key.lower()
