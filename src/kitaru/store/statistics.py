"""Figures over executions, in one statement that is put together from what was asked for.

Only words of this file and ``executions`` get into it; names that a caller chose are parameters. Plain
SQL: percentiles by row numbers, because SQLite has no ``percentile_disc``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kitaru.core.ports import ExecutionFilter, GroupFigures
from kitaru.core.statistics import Figures, Group, Grouping, Measure, Measured
from kitaru.store.database import Database
from kitaru.store.executions import conditions

_HOUR = 3_600_000_000

# Where the values of a grouping come from: an expression over ``chosen``, and a join that it needs.
_GROUPINGS: Mapping[Grouping, tuple[str, str]] = {
    Grouping.STATUS: ("chosen.status", ""),
    Grouping.FLOW: ("chosen.flow", ""),
    Grouping.STACK: ("chosen.stack", ""),
    # Division of integers: times are after 1970.
    Grouping.HOUR: (f"chosen.created_at / {_HOUR} * {_HOUR}", ""),
    Grouping.DAY: (f"chosen.created_at / {24 * _HOUR} * {24 * _HOUR}", ""),
    Grouping.TAG: (
        "{name}.tag",
        "LEFT JOIN execution_tags AS {name} ON {name}.execution_id = chosen.execution_id",
    ),
    Grouping.METADATA: (
        "{name}.value",
        # Each value once, in however many calls it was logged.
        """LEFT JOIN (SELECT DISTINCT execution_id, value FROM metadata WHERE key = :{name}) AS {name}
            ON {name}.execution_id = chosen.execution_id""",
    ),
}

# The value of a measure for each execution that has one.
_MEASURES: Mapping[Measure, str] = {
    Measure.DURATION: """
        SELECT execution_id, (ended_at - started_at) / 1000000.0 AS value
        FROM chosen WHERE ended_at IS NOT NULL AND started_at IS NOT NULL""",
    Measure.CHECKPOINTS: """
        SELECT chosen.execution_id, COUNT(calls.call_id) AS value
        FROM chosen LEFT JOIN calls ON calls.execution_id = chosen.execution_id AND calls.kind = 'checkpoint'
        GROUP BY chosen.execution_id""",
    Measure.CACHED_SHARE: """
        SELECT chosen.execution_id, AVG(CASE WHEN calls.source_execution_id IS NULL THEN 0.0 ELSE 1.0 END) AS value
        FROM chosen JOIN calls ON calls.execution_id = chosen.execution_id AND calls.kind = 'checkpoint'
        GROUP BY chosen.execution_id""",
    Measure.METADATA: """
        SELECT chosen.execution_id, SUM(metadata.number) AS value
        FROM chosen JOIN metadata ON metadata.execution_id = chosen.execution_id
            AND metadata.key = :{name} AND metadata.number IS NOT NULL
        GROUP BY chosen.execution_id""",
}

_EACH = "SELECT execution_id, 1 AS value FROM chosen"
"""The first measure of every statement: its number of values is the number of executions."""

# One measure of all groups. {by} is a comma-separated list of the columns g0, g1 ...
_PART = """
SELECT {part} AS part, {by} COUNT(value) AS n, SUM(value) AS total, AVG(value) AS mean, MIN(value) AS least,
    MAX(value) AS most, MAX(CASE WHEN place = (n * 50 + 99) / 100 THEN value END) AS p50,
    MAX(CASE WHEN place = (n * 95 + 99) / 100 THEN value END) AS p95
FROM (
    SELECT {by} CAST(measured.value AS DOUBLE PRECISION) AS value,
        ROW_NUMBER() OVER (PARTITION BY {partition} ORDER BY measured.value) AS place,
        COUNT(*) OVER (PARTITION BY {partition}) AS n
    FROM grouped JOIN ({measure}) AS measured ON measured.execution_id = grouped.execution_id
) AS ranked {group_by}
"""


class SqlStatistics:
    """The ``Statistics`` port in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, where: ExecutionFilter, group_by: Sequence[Group], measures: Sequence[Measured]) -> list[GroupFigures]:
        if where.statuses == ():
            return []
        parameters: dict[str, object] = {
            name: value for name, value in where._asdict().items() if value is not None and name != "statuses"
        }
        statuses = where.statuses or ()
        chosen = conditions(tuple(parameters), len(statuses))
        parameters |= {f"status_{index}": str(status) for index, status in enumerate(statuses)}
        parameters |= {f"g{index}": group.key for index, group in enumerate(group_by)}
        parameters |= {f"m{index}": measured.key for index, measured in enumerate(measures)}
        found = self._database.read(statement_of(chosen, group_by, measures), parameters)
        absent = Figures(None, None, None, None, None, None)
        width = len(group_by)
        counts: dict[tuple[str | int | None, ...], int] = {}
        figures: dict[tuple[tuple[str | int | None, ...], int], Figures] = {}
        for part, *values in found:
            group = tuple(values[:width])
            if part == 0:
                counts[group] = values[width]
            else:
                figures[group, part] = Figures(*values[width + 1 :])
        parts = range(1, len(measures) + 1)
        # Sorted here: the databases disagree on where NULL stands. The values of one column have one type.
        return [
            GroupFigures(group, counts[group], tuple(figures.get((group, part), absent) for part in parts))
            for group in sorted(counts, key=lambda group: [(value is not None, value) for value in group])
        ]


def statement_of(chosen: str, group_by: Sequence[Group], measures: Sequence[Measured]) -> str:
    """The statement: the executions that meet the condition, the groups of each, and one SELECT per measure."""
    columns = [f"g{index}" for index in range(len(group_by))]
    values: list[str] = []
    joins: list[str] = []
    for name, group in zip(columns, group_by, strict=True):
        expression, join = _GROUPINGS[group.grouping]
        values.append(f", {expression.format(name=name)} AS {name}")
        joins.append(join.format(name=name))
    sources = [_EACH]
    sources += [_MEASURES[one.measure].format(name=f"m{index}") for index, one in enumerate(measures)]
    by = "".join(f"{column}, " for column in columns)
    parts = [
        _PART.format(
            part=part,
            by=by,
            # Constant where there is no grouping: then all executions are one partition.
            partition=", ".join(columns) or "1",
            measure=source,
            group_by="GROUP BY " + ", ".join(columns) if columns else "",
        )
        for part, source in enumerate(sources)
    ]
    return (
        "WITH chosen AS (SELECT execution_id, status, flow, stack, created_at, started_at, ended_at FROM executions "
        f"WHERE {chosen}), "
        f"grouped AS (SELECT chosen.execution_id{''.join(values)} FROM chosen {' '.join(joins)}) "
        + " UNION ALL ".join(parts)
    )
