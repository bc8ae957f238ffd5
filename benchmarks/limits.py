"""What the machine itself reaches: the figures that Kitaru is compared with."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from statistics import median


class BareCommits:
    """One row per transaction into a SQLite table, with the durability that Kitaru's store has."""

    def __init__(self, path: Path, payload: str) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("CREATE TABLE rows (payload TEXT NOT NULL)")
        self._payload = payload

    def commit(self) -> float:
        """BEGIN, INSERT, COMMIT; the seconds that it took."""
        started = time.perf_counter()
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute("INSERT INTO rows VALUES (?)", (self._payload,))
        self._connection.execute("COMMIT")
        return time.perf_counter() - started

    def per_second(self, count: int = 500) -> float:
        return 1 / median(self.commit() for _ in range(count))


def bare_commits(home: Path) -> BareCommits:
    """Commits of as many bytes as the last call that Kitaru recorded in ``home``."""
    with sqlite3.connect(home / "kitaru.db") as connection:
        row = connection.execute("SELECT * FROM calls ORDER BY rowid DESC LIMIT 1").fetchone()
    connection.close()
    payload = "x" * sum(len(str(column)) for column in row)
    return BareCommits(home / f"limit-{time.monotonic_ns()}.db", payload)


def write_and_sync(path: Path, data: bytes) -> float:
    """Write a file and wait until it is on disk; the seconds that it took."""
    started = time.perf_counter()
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return time.perf_counter() - started


def bare_python() -> float:
    """Seconds of ``python -c "import sqlite3"``, the median of seven."""
    return median(_timed([sys.executable, "-c", "import sqlite3"]) for _ in range(7))


def _timed(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - started
