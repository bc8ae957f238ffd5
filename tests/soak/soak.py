"""``make soak MINUTES=30``: random faults over workers, on SQLite and on PostgreSQL.

Prints what was run and what was done to it, and exits with 1 where a recorded call ran again or an execution
was lost. ``--seed`` repeats the same choices, not the same moments.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from kitaru.errors import KitaruStoreError
from tests.postgres import MISSING, Server, binaries
from tests.soak.fleet import Fleet, Report, a_fleet, some_flow

LEASE = 3.0
MOST_UNFINISHED = 60
DATABASE = "kitaru"

Fault = Callable[[Fleet, random.Random], None]


def _kill(fleet: Fleet, chance: random.Random) -> None:
    fleet.signal(chance.choice(fleet.workers), signal.SIGKILL)
    fleet.start()


def _terminate(fleet: Fleet, chance: random.Random) -> None:
    fleet.signal(chance.choice(fleet.workers), signal.SIGTERM)
    fleet.start()


def _stop(fleet: Fleet, chance: random.Random) -> None:
    """For less than its lease, or for more."""
    with fleet.stopped(chance.choice(fleet.workers)):
        time.sleep(LEASE * chance.choice([0.3, 1.5]))


def _cancel(fleet: Fleet, chance: random.Random) -> None:
    rows = [row for row in fleet.unfinished() if row.parent_id is None]  # a child's would fail its parent
    if rows:
        fleet.cancel(chance.choice(rows).execution_id)


def _lock(file: Path) -> Fault:
    """Another program holds the lock of the database: a backup, or somebody's browser."""

    def lock(fleet: Fleet, chance: random.Random) -> None:
        connection = sqlite3.connect(file, isolation_level=None)
        with contextlib.suppress(sqlite3.OperationalError):
            connection.execute("BEGIN IMMEDIATE")
            time.sleep(chance.choice([0.5, LEASE + 1]))
        connection.close()

    return lock


def _crash(server: Server) -> Fault:
    def crash(fleet: Fleet, chance: random.Random) -> None:
        server.stop("immediate")
        time.sleep(chance.choice([0.1, 1, LEASE + 1]))
        server.start()

    return crash


def _cut(server: Server) -> Fault:
    def cut(fleet: Fleet, chance: random.Random) -> None:
        server.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'kitaru' AND random() < 0.5"
        )

    return cut


OF_WORKERS: dict[str, Fault] = {"kill": _kill, "terminate": _terminate, "stop": _stop, "cancel": _cancel}


def soak(
    folder: Path, url: str, faults: dict[str, Fault], *, seconds: float, workers: int, seed: int
) -> tuple[Report, Counter[str]]:
    """Let workers run executions for so long, with faults; then let them finish, and look."""
    chance = random.Random(seed)
    injected: Counter[str] = Counter()
    with a_fleet(folder, url, workers=workers, lease=LEASE) as fleet:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(KitaruStoreError):
                for _ in range(MOST_UNFINISHED - len(fleet.unfinished())):
                    fleet.submit(some_flow(chance))
                fault = chance.choice(list(faults))
                faults[fault](fleet, chance)
                injected[fault] += 1
            fleet.answer_waits()
            time.sleep(chance.uniform(0.0, 1.0))
        fleet.finish()
        report = fleet.report()
        if not report.fine:
            print(fleet.complaints(), file=sys.stderr)
        return report, injected


def tell(store: str, report: Report, injected: Counter[str]) -> None:
    faults = ", ".join(f"{number} {name}" for name, number in sorted(injected.items()))
    print(f"{store}: {report.executions} executions, {report.cancelled} of them cancelled")
    print(f"  faults injected: {injected.total()} ({faults})")
    print(f"  calls run: {report.calls}, {report.repeated} of them again, as nothing was recorded")
    print(f"  duplicates of recorded calls: {len(report.duplicates)}")
    print(f"  lost executions: {len(report.lost)}")
    for one in (*report.duplicates, *report.lost):
        print(f"    {one}")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="in all")
    parser.add_argument("--store", choices=("both", "sqlite", "postgres"), default="both")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10_000)
    given = parser.parse_args()
    stores = ["sqlite", "postgres"] if given.store == "both" else [given.store]
    if "postgres" in stores and binaries() is None:
        parser.error(MISSING)
    print(f"seed {given.seed}, {given.workers} workers, leases of {LEASE:g} s")
    fine = True
    for store in stores:
        with tempfile.TemporaryDirectory(prefix="kitaru-soak-") as name, contextlib.ExitStack() as stack:
            folder = Path(name)
            if store == "sqlite":
                file = folder / "soak.db"
                url, faults = f"sqlite:///{file}", {**OF_WORKERS, "lock": _lock(file)}
            else:
                server = Server()
                stack.callback(server.remove)
                server.sql(f"CREATE DATABASE {DATABASE}")
                url, faults = server.url(DATABASE), {**OF_WORKERS, "crash": _crash(server), "cut": _cut(server)}
            seconds = given.minutes * 60 / len(stores)
            report, injected = soak(folder, url, faults, seconds=seconds, workers=given.workers, seed=given.seed)
            tell(store, report, injected)
            fine = fine and report.fine
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
