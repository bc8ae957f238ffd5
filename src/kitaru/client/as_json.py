"""The one form in which records leave Python: JSON data with the field names of the records.

Times are ISO 8601 in UTC, durations seconds, enums their words. Values of users are shown plainly, without
loading their types (``kitaru.values.plain``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from kitaru.core.execution import CheckpointCall, Execution
from kitaru.core.failure import Failure

_UNSAID = {"exception"}
"""Of a failure: the exception as it is stored, of no use to anybody but Python."""


def as_json(value: object) -> Any:
    """A record, or a value that one holds, as JSON data. What a record only loads on demand is left out."""
    if isinstance(value, Enum):
        return as_json(value.value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if is_dataclass(value) and not isinstance(value, type):
        return _fields(value)
    named = getattr(value, "_asdict", None)
    if callable(named):
        return as_json(named())
    if isinstance(value, Mapping):
        items: Mapping[object, object] = value  # pyright: ignore[reportUnknownVariableType]  # of anything
        return {str(key): as_json(item) for key, item in items.items()}
    if isinstance(value, (Sequence, Set)) and not isinstance(value, (bytes, bytearray)):
        many: Sequence[object] | Set[object] = value  # pyright: ignore[reportUnknownVariableType]  # of anything
        return [as_json(item) for item in many]
    return repr(value)


def execution_as_json(execution: Execution) -> dict[str, Any]:
    """An execution with all that is recorded of it: inputs, result, calls, waits, drift."""
    return {
        **as_json(execution),
        "inputs": execution.plain_inputs(),
        "result": execution.plain_result(),
        "metadata": as_json(execution.metadata),
        "attempts": as_json(execution.attempts),
        "checkpoints": [call_as_json(call) for call in execution.checkpoints],
        "waits": as_json(execution.waits),
        "drift": as_json(execution.drift),
    }


def call_as_json(call: CheckpointCall) -> dict[str, Any]:
    """A call with its inputs and its output."""
    return {**as_json(call), "inputs": call.plain_inputs(), "output": call.plain_output()}


def _fields(record: Any) -> dict[str, Any]:
    hidden = _UNSAID if isinstance(record, Failure) else frozenset[str]()
    return {
        field.name: as_json(value)
        for field in fields(record)
        if field.name not in hidden and not callable(value := getattr(record, field.name))
    }
