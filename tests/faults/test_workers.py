"""Workers that are killed, stopped and asked to end while they run (S6.2, S6.3), on both databases."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contract.stores import SHARED
from tests.postgres import needs_postgres
from tests.soak.fleet import Fleet, a_fleet, some_flow

SECONDS = 1.0
LEASE = 2.0


def _kill(fleet: Fleet, chance: random.Random) -> None:
    fleet.signal(chance.choice(fleet.workers), signal.SIGKILL)
    fleet.start()


def _terminate(fleet: Fleet, chance: random.Random) -> None:
    fleet.signal(chance.choice(fleet.workers), signal.SIGTERM)
    fleet.start()


def _stop(fleet: Fleet, chance: random.Random) -> None:
    with fleet.stopped(chance.choice(fleet.workers)):
        time.sleep(LEASE + 1)


FAULTS: dict[str, Callable[[Fleet, random.Random], None]] = {
    "killed": _kill,
    "asked to end": _terminate,
    "stopped past their lease": _stop,
}


USUAL = frozenset({("killed", "sqlite"), ("asked to end", "postgres"), ("stopped past their lease", "postgres")})


@pytest.mark.parametrize(
    ("fault", "url"),
    [
        pytest.param(fault, url, marks=[] if (fault, url) in USUAL else [pytest.mark.slow])
        for fault in FAULTS
        for url in SHARED
    ],
)
def test_s6_3_what_workers_run_goes_on_when_they_are(fault: str, url: str, tmp_path: Path) -> None:
    needs_postgres(url)
    chance = random.Random(fault)
    with a_fleet(tmp_path, SHARED[url](tmp_path), workers=3, lease=LEASE) as fleet:
        for _ in range(40):
            fleet.submit(some_flow(chance))
        for _ in range(3):
            time.sleep(SECONDS)
            FAULTS[fault](fleet, chance)
            fleet.answer_waits()
        fleet.finish()
        report = fleet.report()
        assert report.fine, (report, fleet.complaints())
        assert report.calls
