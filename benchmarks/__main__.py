"""Runs the workloads and prints the table."""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.results import Row, table

FOLDER = Path(__file__).parents[1] / ".benchmarks"
PEERS = ("dbos", "langgraph")


def workloads() -> dict[str, Callable[[Path], Iterator[Row]]]:
    """By name. Imported late: they import kitaru, which must find its home in the environment."""
    from benchmarks import flows, postgres, resume, start, steps, waiting

    return {
        "W1": start.start,
        "W2": steps.sequential,
        "W3": steps.fan_out,
        "W4": flows.flows,
        "W5": resume.resume,
        "W6": steps.large,
        "growth": steps.growth,
        "postgres": postgres.postgres,
        "isolated": steps.isolated,
        "waiting": waiting.waiting,
    }


def main() -> None:
    """Measure on the disk that the repository is on, in a folder that is deleted afterwards."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure Kitaru against the limits.")
    parser.add_argument("--only", nargs="+", metavar="WORKLOAD", help="for example W2 W3")
    parser.add_argument("--peer", choices=PEERS, default="", help="measure a peer beside us, in its own environment")
    options = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="home-", dir=FOLDER))
    for name in [name for name in os.environ if name.startswith("KITARU_")]:
        del os.environ[name]
    os.environ["KITARU_HOME"] = str(home)
    try:
        rows: list[Row] = []
        for name, run in workloads().items():
            if not options.only or name in options.only:
                print(f"{name} ...", flush=True)
                rows += run(home)
        figures: dict[str, float] = {}
        if options.peer:
            from benchmarks.peers import measure

            print(f"{options.peer} ...", flush=True)
            figures = measure(options.peer, FOLDER)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print()
    print(table(rows, options.peer, figures))


if __name__ == "__main__":
    main()
