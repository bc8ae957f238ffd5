"""A process is killed, the one that resumes it too, and so on; and inside transactions (S3.2, S6.3)."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash.flows import FLOWS, VERBS
from tests.crash.killing import Case, Kill, Undisturbed, killed_and_resumed
from tests.postgres import needs_postgres, postgres_server

RunUndisturbed = Callable[[str], Undisturbed]

MOST_KILLS = 5


def _attempt(flow: str, seed: int, folder: Path, expected: Undisturbed) -> None:
    chance = random.Random(f"{flow} {seed}")
    places = [Kill(point, chance.randint(1, passings)) for point, passings in expected.passings.items()]
    # A flow of these writes some dozens of statements.
    places += [Kill("write", chance.randint(1, 40)) for _ in range(len(places) // 2)]
    kills = [chance.choice(places) for _ in range(chance.randint(2, MOST_KILLS))]
    verbs = [chance.choice(list(VERBS)) for _ in kills]
    killed_and_resumed(Case(folder, flow), expected, kills, verbs)


@pytest.mark.parametrize("flow", FLOWS)
def test_s3_2_a_flow_killed_again_and_again_gets_to_its_end(
    flow: str, tmp_path: Path, run_undisturbed: RunUndisturbed
) -> None:
    _attempt(flow, 0, tmp_path / "home", run_undisturbed(flow))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 9))
@pytest.mark.parametrize("flow", FLOWS)
def test_s3_2_a_flow_killed_at_random_places_gets_to_its_end(
    flow: str, seed: int, tmp_path: Path, run_undisturbed: RunUndisturbed
) -> None:
    _attempt(flow, seed, tmp_path / "home", run_undisturbed(flow))


@pytest.mark.parametrize("number", [2, 5, 9, 14, 20])
def test_s3_2_a_kill_between_begin_and_commit_leaves_all_or_nothing(
    number: int, tmp_path: Path, run_undisturbed: RunUndisturbed
) -> None:
    case = Case(tmp_path / "home", "recorded")
    killed_and_resumed(case, run_undisturbed("recorded"), [Kill("write", number)], list(VERBS))
    assert case.kills == 1


@pytest.mark.parametrize(
    "number", [3, pytest.param(8, marks=pytest.mark.slow), pytest.param(17, marks=pytest.mark.slow)]
)
def test_s3_2_a_kill_between_begin_and_commit_leaves_all_or_nothing_in_postgresql(
    number: int, tmp_path: Path, run_undisturbed: RunUndisturbed
) -> None:
    needs_postgres()
    case = Case(tmp_path / "home", "recorded", postgres_server().database())
    killed_and_resumed(case, run_undisturbed("recorded"), [Kill("write", number)], list(VERBS))
    assert case.kills == 1


@pytest.mark.slow
@pytest.mark.parametrize("flow", FLOWS)
def test_s3_2_a_kill_at_any_statement_leaves_all_or_nothing(
    flow: str, tmp_path: Path, run_undisturbed: RunUndisturbed
) -> None:
    """Until a run comes to its end before the n-th statement."""
    number = 0
    while True:
        number += 1
        case = Case(tmp_path / str(number), flow)
        verbs = list(VERBS)[number % len(VERBS) :]
        killed_and_resumed(case, run_undisturbed(flow), [Kill("write", number)], verbs)
        if not case.kills:
            break
    assert number > 10
