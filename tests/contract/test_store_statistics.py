"""Figures over executions: the database's answer is that of a few lines of Python (S7.1)."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations, product
from typing import NamedTuple

import pytest

from kitaru.core.mutations import CallRecorded, Commit, MetadataLogged, Mutation, StatusChanged
from kitaru.core.ports import ExecutionFilter, GroupFigures, Store
from kitaru.core.rows import CallRow, ExecutionRow, MetadataRow
from kitaru.core.states import CallKind, Status
from kitaru.core.statistics import Figures, Group, Grouping, Measure, Measured
from tests.contract.stores import SECOND, START, call, create, execution

HOUR = 3600 * SECOND
NOTHING = Figures(None, None, None, None, None, None)

GROUPS = [
    *(Group(grouping) for grouping in Grouping if grouping is not Grouping.METADATA),
    Group(Grouping.METADATA, "tier"),
    Group(Grouping.METADATA, "cost"),
]
MEASURES = [
    Measured(Measure.DURATION),
    Measured(Measure.CHECKPOINTS),
    Measured(Measure.CACHED_SHARE),
    Measured(Measure.METADATA, "cost"),
    Measured(Measure.METADATA, "tier"),
]
FILTERS = [
    ExecutionFilter(),
    ExecutionFilter(flow="f1"),
    ExecutionFilter(statuses=(Status.COMPLETED, Status.FAILED)),
    ExecutionFilter(stack="local", tag="t1"),
    ExecutionFilter(created_after=START + 12 * HOUR, created_before=START + 48 * HOUR),
    ExecutionFilter(flow="unknown"),
]


class One(NamedTuple):
    """An execution and all that the figures are made of."""

    row: ExecutionRow
    calls: list[CallRow]
    metadata: list[MetadataRow]


def drawn(rng: random.Random, number: int) -> One:
    created = START + rng.randrange(60 * HOUR)
    status = rng.choice(list(Status))
    began = None if status is Status.PENDING else created + rng.randrange(SECOND)
    ended = began + rng.choice([0, SECOND, rng.randrange(90 * SECOND)]) if began and status.finished else None
    row = execution(
        f"e{number}",
        flow=rng.choice(["f1", "f2"]),
        stack=rng.choice(["local", "far"]),
        status=status,
        epoch=1,
        created_at=created,
        started_at=began,
        ended_at=ended,
        tags=tuple(rng.sample(["t1", "t2", "t3"], rng.randrange(3))),
    )
    kinds = rng.choices(list(CallKind), weights=[5, *[1] * (len(CallKind) - 1)], k=rng.randrange(5))
    calls = [
        call(f"c{index}", kind=kind, position=index, source_execution_id=rng.choice([None, None, "other"]))
        for index, kind in enumerate(kinds)
    ]
    metadata: list[MetadataRow] = []
    for call_id in ("", "c0", "c1"):
        if rng.random() < 0.5:
            cost = rng.choice([1, 2, 0.25])
            metadata.append(MetadataRow(call_id, "cost", str(cost), cost))
        if rng.random() < 0.4:
            metadata.append(MetadataRow(call_id, "tier", rng.choice(['"gold"', '"free"']), None))
    return One(row, calls, metadata)


def filled(store: Store, seed: int, count: int) -> list[One]:
    rng = random.Random(seed)
    everything = [drawn(rng, number) for number in range(count)]
    for one in everything:
        row = one.row
        create(store, row._replace(status=Status.RUNNING, ended_at=None))  # only a running one takes calls
        mutations: list[Mutation] = [*map(CallRecorded, one.calls), MetadataLogged(tuple(one.metadata))]
        if row.status is not Status.RUNNING:
            mutations.append(StatusChanged(row.status, row.ended_at or START))
        assert store.commit([Commit(row.execution_id, 1, mutations)]) == [None]
    return everything


# ── the same in Python ───────────────────────────────────────────────────────────────────────────


def groups_of(one: One, group: Group) -> Sequence[str | int | None]:
    row = one.row
    values: dict[Grouping, Callable[[], Iterable[str | int]]] = {
        Grouping.STATUS: lambda: [str(row.status)],
        Grouping.FLOW: lambda: [row.flow],
        Grouping.STACK: lambda: [row.stack],
        Grouping.TAG: lambda: row.tags,
        Grouping.HOUR: lambda: [row.created_at - row.created_at % HOUR],
        Grouping.DAY: lambda: [row.created_at - row.created_at % (24 * HOUR)],
        Grouping.METADATA: lambda: {item.value for item in one.metadata if item.key == group.key},
    }
    return list(values[group.grouping]()) or [None]


def value_of(one: One, measured: Measured) -> float | None:
    row = one.row
    checkpoints = [c for c in one.calls if c.kind is CallKind.CHECKPOINT]
    if measured.measure is Measure.DURATION:
        return None if row.ended_at is None or row.started_at is None else (row.ended_at - row.started_at) / SECOND
    if measured.measure is Measure.CHECKPOINTS:
        return len(checkpoints)
    if measured.measure is Measure.CACHED_SHARE:
        reused = sum(c.source_execution_id is not None for c in checkpoints)
        return reused / len(checkpoints) if checkpoints else None
    numbers = [item.number for item in one.metadata if item.key == measured.key and item.number is not None]
    return sum(numbers) if numbers else None


def figures(values: list[float]) -> Figures:
    if not values:
        return NOTHING
    values.sort()

    def percentile(percent: int) -> float:
        return next(value for rank, value in enumerate(values, 1) if rank * 100 >= percent * len(values))

    total = sum(values)
    return Figures(total, total / len(values), values[0], values[-1], percentile(50), percentile(95))


def chosen(one: One, where: ExecutionFilter) -> bool:
    row = one.row
    return (
        where.flow in (None, row.flow)
        and (where.statuses is None or row.status in where.statuses)
        and where.stack in (None, row.stack)
        and (where.tag is None or where.tag in row.tags)
        and (where.created_after is None or row.created_at >= where.created_after)
        and (where.created_before is None or row.created_at < where.created_before)
    )


def expected(everything: list[One], where: ExecutionFilter, group_by: Sequence[Group]) -> dict[object, object]:
    found: defaultdict[tuple[str | int | None, ...], list[One]] = defaultdict(list)
    if not group_by:
        found[()] = []  # without groups there is one answer, of nothing if need be
    for one in everything:
        if chosen(one, where):
            for group in product(*(groups_of(one, grouping) for grouping in group_by)):
                found[group].append(one)
    return {
        group: (
            len(ones),
            [
                pytest.approx(tuple(figures([v for one in ones if (v := value_of(one, measured)) is not None])))
                for measured in MEASURES
            ],
        )
        for group, ones in found.items()
    }


def answered(answer: list[GroupFigures]) -> dict[object, object]:
    return {one.group: (one.executions, [tuple(figures) for figures in one.figures]) for one in answer}


@pytest.mark.parametrize("seed", range(3))
def test_the_figures_are_those_that_python_computes(store: Store, seed: int) -> None:
    everything = filled(store, seed, 60)
    for group_by in [(), *((group,) for group in GROUPS), *combinations(GROUPS, 2)]:
        for where in FILTERS if len(group_by) < 2 else FILTERS[:2]:
            answer = store.statistics.of(where, group_by, MEASURES)
            assert answered(answer) == expected(everything, where, group_by), (group_by, where)


def test_groups_come_in_order_with_none_first(store: Store) -> None:
    create(store, execution("a"), execution("b", tags=("y", "x")), execution("c", tags=("z",), flow="a flow"))
    by = [Group(Grouping.TAG), Group(Grouping.FLOW)]
    answer = store.statistics.of(ExecutionFilter(), by, [])
    assert [(one.group, one.executions, one.figures) for one in answer] == [
        ((None, "flow"), 1, ()),
        (("x", "flow"), 1, ()),
        (("y", "flow"), 1, ()),
        (("z", "a flow"), 1, ()),
    ]


def test_a_filter_that_no_status_passes_and_an_empty_store(store: Store) -> None:
    assert store.statistics.of(ExecutionFilter(statuses=()), [], []) == []
    assert store.statistics.of(ExecutionFilter(), [], MEASURES) == [GroupFigures((), 0, (NOTHING,) * len(MEASURES))]
    assert store.statistics.of(ExecutionFilter(), [Group(Grouping.FLOW)], MEASURES) == []


@pytest.mark.parametrize("key", ["x' OR '1'='1", "%", ":g0", "a.b", "ünï", '"'])
def test_a_metadata_key_is_never_read_as_sql(store: Store, key: str) -> None:
    create(store, execution(status=Status.RUNNING, epoch=1))
    logged = MetadataLogged((MetadataRow("", key, "3", 3), MetadataRow("", "x", "5", 5)))
    assert store.commit([Commit("exec", 1, [logged])]) == [None]
    by, measured = Group(Grouping.METADATA, key), Measured(Measure.METADATA, key)
    (answer,) = store.statistics.of(ExecutionFilter(), [by], [measured])
    assert answer == GroupFigures(("3",), 1, (Figures(3, 3, 3, 3, 3, 3),))
