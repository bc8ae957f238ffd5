"""One undisturbed run for each flow, and a line on how much was tried."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from kitaru.engine.crash_points import POINTS
from tests.crash.flows import FLOWS
from tests.crash.killing import Undisturbed, tally, undisturbed


@pytest.fixture(scope="session")
def run_undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Undisturbed]:
    """How a flow goes when nobody kills it; each is run once."""

    @cache
    def run(flow: str) -> Undisturbed:
        return undisturbed(tmp_path_factory.mktemp(flow), flow)

    return run


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if tally:
        terminalreporter.write_line(
            f"crash tests: {len(POINTS)} named points, {len(FLOWS)} flows, "
            f"{tally['kills']} kills in {tally['processes']} processes"
        )
