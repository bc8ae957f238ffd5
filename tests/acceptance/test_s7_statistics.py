"""Figures over executions (S7.1). The arithmetic is compared in tests/contract/test_store_statistics.py."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

import kitaru
from kitaru import ExecutionStatistics, KitaruClient, KitaruExecutionError, KitaruUsageError, checkpoint, flow

pytestmark = pytest.mark.usefixtures("home")


@checkpoint
def ask(question: int) -> int:
    kitaru.log(cost=0.25, model="small")
    return question


@flow
def report(questions: int, tier: str = "gold") -> int:
    kitaru.log(tier=tier, cost=1)
    return sum(ask(question) for question in range(questions))


@flow
def broken() -> None:
    raise ValueError


def filled() -> None:
    for questions in (2, 4):
        report.run(questions, tags=["nightly", "eu"] if questions == 4 else ["nightly"]).wait(timeout=30)
    report.run(1, tier="free").wait(timeout=30)
    with pytest.raises(KitaruExecutionError):
        broken.run().wait(timeout=30)


def test_s7_1_without_a_group_there_is_one_record() -> None:
    statistics = KitaruClient().executions.statistics
    assert statistics() == (ExecutionStatistics({}, {"count": 0}),)
    filled()
    assert statistics() == (ExecutionStatistics({}, {"count": 4}),)


def test_s7_1_groups_are_named_as_they_were_asked_for() -> None:
    filled()
    statistics = KitaruClient().executions.statistics

    def counts(*group_by: str) -> list[tuple[object, ...]]:
        found = statistics(group_by=group_by)
        return [(*(one.group[name] for name in group_by), one.metrics["count"]) for one in found]

    assert counts("flow") == [("broken", 1), ("report", 3)]
    assert counts("status", "stack") == [("completed", "local", 3), ("failed", "local", 1)]
    assert counts("tag") == [(None, 2), ("eu", 1), ("nightly", 2)]
    assert counts("metadata.tier") == [(None, 1), ("free", 1), ("gold", 2)]
    # The third run of the report reused its only question, so nobody logged a model.
    assert counts("metadata.model", "flow") == [(None, "broken", 1), (None, "report", 1), ("small", "report", 2)]
    ((day, count),) = counts("day")
    assert isinstance(day, datetime)
    began = KitaruClient().executions.list().items[-1].created_at
    assert day == began.replace(hour=0, minute=0, second=0, microsecond=0)
    assert count == 4
    assert statistics(group_by="flow")[0].group == {"flow": "broken"}


def test_s7_1_s3_5_figures_of_checkpoints_cache_and_metadata() -> None:
    filled()
    (figures,) = KitaruClient().executions.statistics(
        flow="report",
        metrics=[
            "count",
            "checkpoints.sum",
            "checkpoints.max",
            "cached_share.avg",
            "metadata.cost.sum",
            "metadata.cost.max",
            "metadata.unknown.avg",
            "duration.p95",
            "duration.min",
        ],
    )
    metrics = dict(figures.metrics)
    p95, least = metrics.pop("duration.p95"), metrics.pop("duration.min")
    assert p95 is not None
    assert least is not None
    assert 0 < least <= p95 < 60
    assert metrics == {
        "count": 3,
        "checkpoints.sum": 7,
        "checkpoints.max": 4,
        # The second run reuses two of four, the third its one.
        "cached_share.avg": pytest.approx((0 + 0.5 + 1) / 3),
        # 1 for each body, 0.25 for each question that was asked and not reused.
        "metadata.cost.sum": 1 * 3 + 0.25 * 4,
        "metadata.cost.max": 1.5,
        "metadata.unknown.avg": None,
    }


def test_s7_1_executions_are_chosen_as_in_a_list() -> None:
    filled()
    statistics = KitaruClient().executions.statistics
    soon = datetime.now(UTC) + timedelta(hours=1)

    def count(**where: object) -> float | None:
        return statistics(**where)[0].metrics["count"]  # type: ignore[arg-type]

    assert count(flow="report") == 3
    assert count(status=["failed", "cancelled"]) == 1
    assert count(tag="eu") == 1
    assert count(stack="far") == 0
    assert count(created_before=soon) == 4
    assert count(created_after=soon) == 0


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"group_by": "flows"}, "group_by: 'flows' is not known; did you mean 'flow'"),
        ({"group_by": ["status", "metadata."]}, "group_by: 'metadata.' is not known"),
        ({"group_by": "zzz"}, "Possible are status, flow, stack, tag, day, hour and metadata.KEY"),
        ({"metrics": "duration"}, "metrics: 'duration' is not known; did you mean 'duration"),
        ({"metrics": ["count", "duration.p59"]}, "metrics: 'duration.p59' is not known; did you mean 'duration.p"),
        ({"metrics": "metadata.cost"}, "did you mean 'metadata.cost.sum'? Possible are count, or one of duration,"),
        ({"metrics": "metadata..sum"}, "is not known"),
        ({"metrics": "cached.avg"}, "did you mean 'cached_share.avg'"),
        ({"status": "done"}, "the statuses are"),
    ],
)
def test_s7_1_an_unknown_name_is_refused_with_the_nearest_one(asked: dict[str, object], message: str) -> None:
    with pytest.raises(KitaruUsageError) as refused:
        KitaruClient().executions.statistics(**asked)  # type: ignore[arg-type]
    assert message in str(refused.value)
