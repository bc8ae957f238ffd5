"""Which inputs of a resumed call differ from what was recorded (S3.3)."""

from __future__ import annotations

from collections.abc import Sequence

from kitaru.core.ports import Values
from kitaru.core.rows import DriftRow, RecordedCall
from kitaru.engine.call import Call
from kitaru.engine.run import Run
from kitaru.errors import FailureOrigin, KitaruDivergenceError

_SHOWN = 120


def compare(call: Call, recorded: RecordedCall, values: Values) -> list[DriftRow]:
    """The inputs in which a call differs from a record of the same name."""
    given = values.split_inputs(call.inputs.text)
    before = values.split_inputs(recorded.inputs)
    return [
        DriftRow(call.call_id, recorded.call_id, name, before.get(name), given.get(name))
        for name in {**before, **given}
        if before.get(name) != given.get(name)
    ]


def report(run: Run) -> Sequence[DriftRow]:
    """The drift of a run that has ended: calls that missed, each beside a record that was left over."""
    left = {name: run.memo.left_over(name) for name in {call.identity.name for call in run.misses}}
    rows: list[DriftRow] = []
    for call in run.misses:
        if left[call.identity.name]:
            rows += compare(call, left[call.identity.name].pop(0), run.values)
    return rows


def check_drift(run: Run, call: Call) -> None:
    """Refuse a call that is not what was recorded, for a checkpoint with ``on_drift="fail"``.

    Raises:
        KitaruDivergenceError: A record of the same name is left over.
    """
    # A replay is made to differ from its source; what it has done itself it must meet again.
    source = run.row.original_id
    left = [
        one for one in run.memo.left_over(call.identity.name) if source is None or one.source_execution_id != source
    ]
    if not left:
        return
    rows = compare(call, left[0], run.values)
    changes = "; ".join(f"{row.input} was {_short(row.recorded)} and is {_short(row.given)}" for row in rows)
    error = KitaruDivergenceError(
        f"{call.call_id} does not match its record {left[0].call_id} in execution {run.execution_id}: "
        f"{changes or 'it is called more often than before'}. It was not run, because its checkpoint says "
        'on_drift="fail". Give it the recorded inputs again (kitaru.now(), kitaru.uuid4() and kitaru.random() '
        "are recorded values), or start a new execution.",
        exec_id=run.execution_id,
        status="running",
        failure_origin=FailureOrigin.DIVERGENCE,
    )
    run.remember(error, call.call_id, FailureOrigin.DIVERGENCE)
    raise error


def _short(text: str | None) -> str:
    if text is None:
        return "absent"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"
