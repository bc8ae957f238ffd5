"""Figures over executions: what can be asked for, and the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple


class Aggregate(StrEnum):
    """How the values of a group become one figure.

    ``p50`` and ``p95`` are nearest-rank percentiles: the smallest value that at least so many per cent
    of the values do not exceed. They are always one of the values.
    """

    SUM = "sum"
    AVG = "avg"
    MIN = "min"
    MAX = "max"
    P50 = "p50"
    P95 = "p95"


class Measure(StrEnum):
    """What is measured of one execution. An execution that has no such value does not count for it.

    ``duration``: seconds from its first start to its end, waits included; finished ones only.
    ``checkpoints``: its checkpoint calls. ``cached_share``: the part of them, 0 to 1, that was reused
    from other executions; none where it made no calls. ``metadata``: the sum of the numbers that
    ``kitaru.log`` kept under one key, in its body and in all its calls.
    """

    DURATION = "duration"
    CHECKPOINTS = "checkpoints"
    CACHED_SHARE = "cached_share"
    METADATA = "metadata"


class Grouping(StrEnum):
    """What executions are grouped by.

    ``day`` and ``hour`` are those in which it was created, in UTC. An execution with several tags, or
    several values under one metadata key, counts in each of their groups; one with none, under None.
    """

    STATUS = "status"
    FLOW = "flow"
    STACK = "stack"
    TAG = "tag"
    DAY = "day"
    HOUR = "hour"
    METADATA = "metadata"


class Group(NamedTuple):
    """A grouping; ``key`` is the metadata key, ``""`` for the other groupings."""

    grouping: Grouping
    key: str = ""


class Measured(NamedTuple):
    """A measure; ``key`` is the metadata key, ``""`` for the other measures."""

    measure: Measure
    key: str = ""


class Figures(NamedTuple):
    """All aggregates of one measure in one group. None where no execution of the group has a value."""

    sum: float | None
    avg: float | None
    min: float | None
    max: float | None
    p50: float | None
    p95: float | None


@dataclass(frozen=True, slots=True)
class ExecutionStatistics:
    """The figures of one group of executions (S7.1).

    Attributes:
        group: The value of each grouping that was asked for, by its name: ``{"flow": "report"}``.
            Days and hours are aware datetimes, metadata is the logged value.
        metrics: Each figure that was asked for, by its name: ``{"count": 3, "duration.p95": 1.25}``.
            None where no execution of the group has such a value.
    """

    group: Mapping[str, Any]
    metrics: Mapping[str, float | None]
