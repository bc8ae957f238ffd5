"""What the machine itself reaches: the figures that Kitaru is compared with."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any


class BareCommits:
    """One call's row per transaction, into a table like Kitaru's, with the durability that its store has.

    The table has Kitaru's columns and indexes: what is left between the two is what Kitaru itself costs. (Into
    a table of one column with as many bytes, which has no index, a commit takes about a fifth less.)
    """

    def __init__(self, path: Path, schema: Sequence[str], row: Mapping[str, Any]) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        for statement in schema:
            self._connection.execute(statement)
        self._row = row
        self._insert = f"INSERT INTO calls ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"
        self._count = 0

    def commit(self) -> float:
        """BEGIN, INSERT, COMMIT; the seconds that it took."""
        self._count += 1
        own = {"call_id": f"step_{self._count}", "cache_key": hashlib.sha256(b"%d" % self._count).hexdigest()[:32]}
        values = tuple({**self._row, **own}.values())
        started = time.perf_counter()
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute(self._insert, values)
        self._connection.execute("COMMIT")
        return time.perf_counter() - started

    def per_second(self, count: int = 500) -> float:
        return 1 / median(self.commit() for _ in range(count))


def bare_commits(home: Path) -> BareCommits:
    """Commits of the row of the last call that Kitaru recorded in ``home``, each under an id of its own."""
    connection = sqlite3.connect(home / "kitaru.db")
    connection.row_factory = sqlite3.Row
    row = connection.execute("SELECT * FROM calls ORDER BY rowid DESC LIMIT 1").fetchone()
    schema = connection.execute("SELECT sql FROM sqlite_master WHERE tbl_name = 'calls' AND sql IS NOT NULL").fetchall()
    connection.close()
    return BareCommits(home / f"limit-{time.monotonic_ns()}.db", [text for (text,) in schema], dict(row))


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
