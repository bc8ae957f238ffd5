"""Records a store for the test of this folder: ``python -m tests.golden.record`` in the repository's root.

It leaves ``tests/golden/VERSION/``: a failed execution and an orphan, with their artifacts. Recorded once for
each version that changes what is stored, and never again after that version is out.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import kitaru
from tests.golden.flows import audit

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent.parent
URL = "https://example.com/page"
INPUTS = {"failed": True, "orphan": False}
"""By the id of the execution: whether it asks the service."""

_KILLED_AT = "before_attempt:7"
"""At the orphan's last call."""


def run(execution_id: str) -> None:
    """Run one execution in this process."""
    os.chdir("/")  # the project's folder is recorded with it
    socket.gethostname = lambda: "golden"  # and so is the machine's name
    audit.run(URL, ask_service=INPUTS[execution_id], execution_id=execution_id).wait()


def _process(execution_id: str, home: Path, **variables: str) -> int:
    environment = {**os.environ, **variables, "KITARU_HOME": str(home), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.golden.record", execution_id]
    return subprocess.run(command, env=environment, stderr=subprocess.DEVNULL, check=False).returncode


def record() -> None:
    """Record both executions and put them into place."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        assert _process("failed", home, GOLDEN_SERVICE_DOWN="1") == 1
        assert _process("orphan", home, KITARU_CRASH_AT=_KILLED_AT, KITARU_CACHE="false") == -signal.SIGKILL
        _tidy(home / "kitaru.db")
        target = FOLDER / kitaru.__version__
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        shutil.copy(home / "kitaru.db", target)
        shutil.copytree(home / "artifacts", target / "artifacts")


def _tidy(database: Path) -> None:
    """Fold the log into the file, and take the paths of this checkout out of the tracebacks."""
    connection = sqlite3.connect(database)
    for table in ("executions", "calls", "attempts"):
        connection.execute(
            f"UPDATE {table} SET failure_detail = replace(failure_detail, :root, '/project')", {"root": str(ROOT)}
        )
    connection.execute("UPDATE runners SET lease_until = 0")  # as it is soon: the recording can be tested at once
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute("PRAGMA page_size = 1024")  # most tables are empty, and take a page each
    connection.execute("VACUUM")
    connection.close()


if __name__ == "__main__":
    if len(sys.argv) == 2:
        run(sys.argv[1])
    else:
        record()
