"""A process is killed at each named crash point, and another one goes on (S3.2, S6.3).

The usual run takes a sample that comes to every point and every flow. The slow one (``make crash``) kills
at each passing of each point of each flow.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kitaru.engine.crash_points import POINTS
from tests.crash.flows import FLOWS, VERBS
from tests.crash.killing import Case, Kill, Undisturbed, killed_and_resumed
from tests.postgres import needs_postgres, postgres_server

RunUndisturbed = Callable[[str], Undisturbed]

PASSED_ON_RESUMPTION = frozenset({"after_claim"})
"""Points to which a process comes only when it takes over from a dead one: it is the second that is killed there."""


def _sample() -> list[tuple[str, str]]:
    """Each flow with a quarter of the points, shifted from flow to flow."""
    return [("retried", "before_retry")] + [
        (flow, point)
        for number, flow in enumerate(FLOWS)
        for index, point in enumerate(POINTS)
        if (index + number) % 4 == 0 and point != "before_retry"
    ]


FEW = frozenset({("sequential", "after_create"), ("family", "before_commit"), ("asking", "after_attempt")})
"""For PostgreSQL the usual run takes these: only the end of its lease tells there that a process is dead."""


def _kills(point: str, number: int) -> list[Kill]:
    last = Kill(point, number)
    return [Kill("before_attempt", 1), last] if point in PASSED_ON_RESUMPTION else [last]


def _verbs(start: int) -> list[str]:
    """Each way to go on, a different one first each time."""
    names = list(VERBS)
    return [names[(start + index) % len(names)] for index in range(len(names))]


@pytest.mark.parametrize(("flow", "point"), _sample())
def test_s3_2_a_killed_flow_goes_on_and_repeats_nothing_recorded(
    flow: str, point: str, tmp_path: Path, run_undisturbed: RunUndisturbed
) -> None:
    expected = run_undisturbed(flow)
    passings = 1 if point in PASSED_ON_RESUMPTION else expected.passings[point]
    number = 1 + POINTS.index(point) % passings
    start = POINTS.index(point) + list(FLOWS).index(flow) // 4
    killed_and_resumed(Case(tmp_path / "home", flow), expected, _kills(point, number), _verbs(start))


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("flow", FLOWS)
def test_s3_2_a_flow_killed_at_any_passing_of_a_point_goes_on(
    flow: str, point: str, tmp_path: Path, run_undisturbed: RunUndisturbed
) -> None:
    expected = run_undisturbed(flow)
    # Who takes over from a dead process claims its executions one by one.
    passings = len(expected.end.statuses) if point in PASSED_ON_RESUMPTION else expected.passings[point]
    killed = 0
    for number in range(1, passings + 1):
        case = Case(tmp_path / str(number), flow)
        killed_and_resumed(case, expected, _kills(point, number), _verbs(number))
        killed += case.kills
    # How many commits share a group differs from run to run, so the last passings may not come; the first do.
    assert killed or not passings


@pytest.mark.parametrize(
    ("flow", "point"),
    [
        pytest.param(flow, point, marks=[] if (flow, point) in FEW else [pytest.mark.slow])
        for flow in FLOWS
        for point in POINTS
    ],
)
def test_s3_2_a_killed_flow_goes_on_in_postgresql(
    flow: str, point: str, tmp_path: Path, run_undisturbed: RunUndisturbed
) -> None:
    needs_postgres()
    expected = run_undisturbed(flow)  # of the embedded store: both have to hold the same in the end
    passings = 1 if point in PASSED_ON_RESUMPTION else expected.passings[point]
    if not passings:
        pytest.skip("the flow does not come to this point")
    number = 1 + POINTS.index(point) % passings
    case = Case(tmp_path / "home", flow, postgres_server().database())
    killed_and_resumed(case, expected, _kills(point, number), _verbs(POINTS.index(point)))


def test_every_point_is_passed_by_some_flow(run_undisturbed: RunUndisturbed) -> None:
    passed = {point for flow in FLOWS for point in run_undisturbed(flow).passings}
    assert passed | PASSED_ON_RESUMPTION == set(POINTS)
