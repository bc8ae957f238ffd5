"""Figures over executions (S7.1)."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple, cast

from kitaru.core.clock import to_datetime
from kitaru.core.ports import ExecutionFilter, GroupFigures
from kitaru.core.statistics import Aggregate, ExecutionStatistics, Group, Grouping, Measure, Measured
from kitaru.errors import KitaruUsageError
from kitaru.services.wiring import Wiring

_COUNT = "count"
_METADATA = "metadata."
_GROUPINGS = tuple(str(one) for one in Grouping if one is not Grouping.METADATA)
_METRICS = (
    _COUNT,
    *(f"{measure}.{figure}" for measure in Measure if measure is not Measure.METADATA for figure in Aggregate),
)
_ALL = f"count, or one of {', '.join(Measure)}.KEY with .{', .'.join(Aggregate)} at its end"
_BUCKETS = (Grouping.DAY, Grouping.HOUR)


class _Metric(NamedTuple):
    """One figure that was asked for; without a measure it is the count."""

    name: str
    measured: Measured | None
    aggregate: Aggregate | None


def statistics(
    wiring: Wiring, where: ExecutionFilter, group_by: str | Sequence[str] | None, metrics: str | Sequence[str]
) -> tuple[ExecutionStatistics, ...]:
    """The figures that were asked for, one record per group; without ``group_by`` one record in all.

    Raises:
        KitaruUsageError: A name is unknown; the message has the nearest one there is.
    """
    names = _names(group_by)
    groups = [_group(name) for name in names]
    asked = [_metric(name) for name in _names(metrics)]
    measures = list(dict.fromkeys(metric.measured for metric in asked if metric.measured is not None))
    return tuple(
        ExecutionStatistics(
            {
                name: _group_value(wiring, group, value)
                for name, group, value in zip(names, groups, found.group, strict=True)
            },
            {metric.name: _figure(metric, measures, found) for metric in asked},
        )
        for found in wiring.store.statistics.of(where, groups, measures)
    )


def _names(given: str | Sequence[str] | None) -> tuple[str, ...]:
    if given is None:
        return ()
    return tuple(dict.fromkeys((given,) if isinstance(given, str) else given))


def _group(name: str) -> Group:
    if name.startswith(_METADATA) and name != _METADATA:
        return Group(Grouping.METADATA, name.removeprefix(_METADATA))
    if name not in _GROUPINGS:
        raise _unknown("group_by", name, _GROUPINGS, f"{', '.join(_GROUPINGS)} and metadata.KEY")
    return Group(Grouping(name))


def _metric(name: str) -> _Metric:
    if name == _COUNT:
        return _Metric(name, None, None)
    measure, _, figure = name.rpartition(".")
    if measure.startswith(_METADATA) and measure != _METADATA and figure in set(Aggregate):
        return _Metric(name, Measured(Measure.METADATA, measure.removeprefix(_METADATA)), Aggregate(figure))
    if name not in _METRICS:
        # Often only the aggregate was forgotten.
        raise _unknown("metrics", name, (f"{name}.sum", *_METRICS) if name.startswith(_METADATA) else _METRICS, _ALL)
    return _Metric(name, Measured(Measure(measure)), Aggregate(figure))


def _unknown(argument: str, name: str, near: Sequence[str], possible: str) -> KitaruUsageError:
    found = get_close_matches(name, near, n=1, cutoff=0.4)
    hint = f" did you mean {found[0]!r}?" if found else ""
    return KitaruUsageError(f"{argument}: {name!r} is not known;{hint} Possible are {possible}.")


def _group_value(wiring: Wiring, group: Group, value: str | int | None) -> Any:
    if value is None:
        return None
    if group.grouping in _BUCKETS:
        return to_datetime(cast("int", value))
    if group.grouping is Grouping.METADATA:
        return wiring.values.decode(cast("str", value))
    return value


def _figure(metric: _Metric, measures: Sequence[Measured], found: GroupFigures) -> float | None:
    if metric.measured is None or metric.aggregate is None:
        return found.executions
    figures = found.figures[measures.index(metric.measured)]
    return figures._asdict()[metric.aggregate]
