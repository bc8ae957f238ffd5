"""Runs a peer's script in an environment of its own, and collects its figures.

Each peer does W1 to W5 with the same no-op steps as Kitaru, on SQLite, with its durable settings. What a
peer does differently by its nature is said at the top of its script.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from statistics import median

PACKAGES = {
    "dbos": ["dbos>=3.4"],
    "langgraph": ["langgraph>=1.2", "langgraph-checkpoint-sqlite>=3.1"],
}
_ROOT = Path(__file__).parents[2]
_RUNS = 5
_RECORDED = 2_000


def measure(peer: str, folder: Path) -> dict[str, float]:
    """The peer's figures by the ``peer_key`` of our rows. Installs it under ``folder`` the first time."""
    python = _environment(peer, folder / peer)
    data = folder / f"{peer}-data"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir()
    try:
        firsts = [_first(python, peer, data / f"first-{number}.db") for number in range(_RUNS)]
        figures = _run(python, peer, "steps", data / "steps.db")
        (data / "record").mkdir()
        _run(python, peer, "record", data / "record" / "steps.db", _RECORDED)
        retries = [_retry(python, peer, data / "record", data / f"retry-{number}") for number in range(_RUNS)]
    finally:
        shutil.rmtree(data, ignore_errors=True)
    return {
        **figures,
        "W1": median(run["seconds"] for run in firsts),
        "W1 memory": median(run["memory"] for run in firsts),
        f"W5 {_RECORDED}": median(run["seconds"] for run in retries),
        f"W5 memory {_RECORDED}": median(run["memory"] for run in retries),
    }


def _environment(peer: str, folder: Path) -> Path:
    python = folder / "bin" / "python"
    ready = folder / ".ready"
    if not ready.exists():
        subprocess.run(["uv", "venv", "--quiet", "--allow-existing", str(folder)], check=True)
        subprocess.run(["uv", "pip", "install", "--quiet", "--python", str(python), *PACKAGES[peer]], check=True)
        ready.touch()
    return python


def _first(python: Path, peer: str, database: Path) -> dict[str, float]:
    started = time.time()
    figures = _run(python, peer, "first", database)
    return {**figures, "seconds": figures["ended"] - started}


def _retry(python: Path, peer: str, recorded: Path, copy: Path) -> dict[str, float]:
    """On a copy of the store: a peer may note who has retried, and do something else the next time."""
    shutil.copytree(recorded, copy)
    return _run(python, peer, "retry", copy / "steps.db", _RECORDED)


def _run(python: Path, peer: str, command: str, database: Path, *arguments: int) -> dict[str, float]:
    """Run one command of the peer's script. Its last line of output is JSON; peers log before it."""
    done = subprocess.run(
        [str(python), "-m", f"benchmarks.peers.{peer}_peer", command, str(database), *map(str, arguments)],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    if not lines:
        raise RuntimeError(f"{peer} {command} printed nothing; it ended with {done.returncode}:\n{done.stderr}")
    return json.loads(lines[-1])
