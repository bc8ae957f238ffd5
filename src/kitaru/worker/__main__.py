"""``python -m kitaru.worker``: a worker without the command line's other commands."""

from __future__ import annotations

import argparse

from kitaru.engine.leases import LEASE_SECONDS
from kitaru.worker.worker import GRACE_SECONDS, run_worker


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m kitaru.worker", description="Run the executions of a stack.")
    parser.add_argument("--stack", default="local")
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--isolation", choices=("thread", "process"), default="thread")
    parser.add_argument("--grace", type=float, default=GRACE_SECONDS)
    parser.add_argument("--lease", type=float, default=LEASE_SECONDS)
    given = parser.parse_args()
    run_worker(
        given.stack,
        concurrency=given.concurrency,
        isolated=given.isolation == "process",
        grace=given.grace,
        lease_seconds=given.lease,
    )


if __name__ == "__main__":
    main()
