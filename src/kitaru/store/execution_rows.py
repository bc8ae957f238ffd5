"""Executions as they are read, with their tags, which are kept in a table of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from kitaru.core.rows import ExecutionRow
from kitaru.store import rows

EXECUTION = f"""
execution_id, project, flow, flow_ref, status, stack, inputs, input_digest, created_at, epoch, runner_id,
parent_id, parent_call_id, original_id, retries, cache, image, code_digest, attempt, started_at, ended_at,
result, replay, deployment_version, snapshot, priority, takeovers, first_attempt, {rows.FAILURE},
EXISTS (SELECT 1 FROM execution_tags WHERE execution_tags.execution_id = executions.execution_id)
"""
"""What ``read_executions`` reads, behind SELECT or RETURNING. Tags are asked for only where there are any."""

MOST_AT_ONCE = 500
"""Values in a list: databases bound the number of parameters."""


def get_tags(count: int) -> str:
    """The tags of ``count`` many executions ``:id_N``, each one's in the order in which they were given."""
    return (
        f"SELECT execution_id, tag FROM execution_tags WHERE execution_id IN {placeholders('id', count)} "
        "ORDER BY execution_id, position"
    )


def placeholders(name: str, count: int) -> str:
    """A list of so many parameters, ``:name_0`` and so on."""
    return "(" + ", ".join(f":{name}_{index}" for index in range(count)) + ")"


def read_executions(
    found: Sequence[rows.Values], read: Callable[[str, Mapping[str, object]], list[rows.Values]]
) -> list[ExecutionRow]:
    """The executions in rows of ``EXECUTION``; ``read`` asks for the rows of another SELECT."""
    tags: dict[str, list[str]] = {}
    tagged = [values[0] for values in found if values[-1]]
    for first in range(0, len(tagged), MOST_AT_ONCE):
        part = tagged[first : first + MOST_AT_ONCE]
        parameters = {f"id_{index}": execution_id for index, execution_id in enumerate(part)}
        for execution_id, tag in read(get_tags(len(part)), parameters):
            tags.setdefault(execution_id, []).append(tag)
    return [rows.read_execution(values[:-1], tuple(tags.get(values[0], ()))) for values in found]
