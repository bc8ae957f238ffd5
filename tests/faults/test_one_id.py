"""Fifty starts with one id at the same moment, from several processes: one execution, run once (S1.2)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.contract.stores import SHARED
from tests.postgres import needs_postgres

SCRIPT = Path(__file__).with_name("processes.py")
PATIENCE = 90.0
PROCESSES, THREADS = 5, 10


@pytest.mark.parametrize("backend", SHARED)
def test_s1_2_of_fifty_starts_with_one_id_one_runs_and_all_get_its_result(backend: str, tmp_path: Path) -> None:
    needs_postgres(backend)
    variables = {**os.environ, "FAULTS_FOLDER": str(tmp_path), "KITARU_STORE": SHARED[backend](tmp_path)}
    processes = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), "one_id", str(THREADS)],
            env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(PROCESSES)
    ]  # fmt: skip
    try:
        (tmp_path / "go on").touch()
        ended = [process.communicate(timeout=PATIENCE) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [errors for _, errors in ended] == [""] * PROCESSES
    assert [json.loads(output) for output, _ in ended] == [[3 * 5 + 6] * THREADS] * PROCESSES
    keys = Counter(line.split()[2] for line in (tmp_path / "effects").read_text().splitlines())
    assert list(keys.values()) == [1, 1, 1]
