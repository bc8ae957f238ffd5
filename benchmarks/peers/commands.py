"""The commands that every peer's script understands. Imports little: it is part of what W1 measures."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Protocol

from benchmarks.memory import peak_memory_mb


class Peer(Protocol):
    """What a peer can do. Times are seconds."""

    def open(self, database: str, *, recovers: bool = False) -> None:
        """Open its store; ``recovers`` where another process has recorded into it."""
        ...

    def three_steps(self) -> None: ...

    def sequential(self, count: int) -> float:
        """The time of all steps together."""
        ...

    def fan_out(self, count: int) -> float: ...

    def pauses(self, count: int, seconds: float) -> float: ...

    def flows(self, count: int, at_a_time: int) -> float: ...

    def record(self, count: int) -> None:
        """Run ``count`` steps and one more that does not succeed."""
        ...

    def retry(self, count: int) -> None:
        """Go on with what was recorded. Its new step calls ``reached``."""
        ...


_retried = 0.0  # owned by `main` and `reached`


def main(peer: Peer) -> None:
    """Run the command that the arguments name, and print its figures as JSON."""
    global _retried
    command, database, *rest = sys.argv[1:]
    peer.open(database, recovers=command == "retry")
    if command == "first":
        peer.three_steps()
        finish({"ended": time.time(), "memory": peak_memory_mb()})
    elif command == "steps":
        peer.three_steps()
        finish(
            {
                "W2": peer.sequential(500) / 500 * 1e3,
                "W3": 1_000 / peer.fan_out(1_000),
                "W3s": peer.pauses(500, 0.05),
                "W4": 200 / peer.flows(200, 8),
            }
        )
    elif command == "record":
        peer.record(int(rest[0]))
        finish({})
    else:
        _retried = time.perf_counter()
        peer.retry(int(rest[0]))


def reached() -> None:
    """The first new step of a retry runs: print how long it took to get here, and end."""
    finish({"seconds": time.perf_counter() - _retried, "memory": peak_memory_mb()})


def finish(figures: dict[str, float]) -> None:
    """Print the figures and end at once, whatever threads the peer still has."""
    print(json.dumps(figures), flush=True)
    os._exit(0)
