"""Processes that share a home: one is stopped past its lease, several work at once (S6.2, S6.3)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kitaru import KitaruClient
from kitaru.core.states import Status
from kitaru.services.wiring import wiring

SCRIPT = Path(__file__).with_name("processes.py")
PATIENCE = 90.0

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path, home: Path) -> Iterator[Start]:
    """Start ``processes.py`` with these arguments, on the test's home; whatever lives at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def go(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), *arguments],
            env={**os.environ, "FAULTS_FOLDER": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield go
    for process in started:
        process.kill()
        process.communicate()


def _printed(process: subprocess.Popen[str]) -> Any:
    output, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (0, "")
    return json.loads(output)


def _until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _effects(folder: Path) -> list[tuple[str, int, str]]:
    lines = [line.split() for line in (folder / "effects").read_text().splitlines()]
    return [(name, int(pid), key) for name, pid, key in lines]


@pytest.mark.parametrize("first_to_go_on", ["taker", "stopped"])
def test_s6_2_a_runner_that_was_stopped_past_its_lease_records_nothing_more(
    first_to_go_on: str, tmp_path: Path, start: Start
) -> None:
    stopped = start("hold")
    _until((tmp_path / f"second {stopped.pid}").exists)
    stopped.send_signal(signal.SIGSTOP)
    taker = start("take_over")
    _until((tmp_path / f"second {taker.pid}").exists)  # once the lease has run out

    def let_go_on(process: subprocess.Popen[str]) -> None:
        (tmp_path / f"go on {process.pid}").touch()
        if process is stopped:
            process.send_signal(signal.SIGCONT)
        _until((tmp_path / f"left {process.pid}").exists)  # its body has ended, or was unwound

    for process in (taker, stopped) if first_to_go_on == "taker" else (stopped, taker):
        let_go_on(process)

    assert _printed(taker) == _printed(stopped) == [stopped.pid, taker.pid, taker.pid]
    second, third = wiring().store.calls.of("held")[1:]
    assert (second.output, third.output) == (str(taker.pid), str(taker.pid))
    assert sorted((name, pid) for name, pid, _ in _effects(tmp_path)) == sorted(
        [("first", stopped.pid), ("second", stopped.pid), ("second", taker.pid), ("third", taker.pid)]
    )


def test_s6_2_four_processes_in_one_home_finish_all_flows_and_do_each_call_once(tmp_path: Path, start: Start) -> None:
    workers, count = 4, 50
    processes = [start("many", str(worker), str(count)) for worker in range(workers)]
    (tmp_path / "go on").touch()
    results = [_printed(process) for process in processes]

    assert [value for worker in results for value in worker] == [3 * x + 6 for x in range(workers * count)]
    page = KitaruClient().executions.list(flow="one_of_many", limit=1000)
    assert Counter(execution.status for execution in page) == {Status.COMPLETED: workers * count}
    keys = Counter(key for _, _, key in _effects(tmp_path))
    assert len(keys) == 3 * workers * count
    assert set(keys.values()) == {1}
    assert wiring().store.runners.list() == []
