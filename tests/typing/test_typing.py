"""S1.1, S2.1, S2.2: decorated functions keep their types, as both type checkers see it.

The files beside this one hold lines to accept and lines to reject.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FILES = sorted(path for path in HERE.glob("*.py") if not path.name.startswith("test_"))
Lines = set[tuple[str, int]]


def expected(checker: str) -> Lines:
    """The lines that say that this checker rejects them."""
    marked = re.compile(rf"# E:.*\b{checker}\b[a-z ]*$")
    return {
        (path.name, number)
        for path in FILES
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if marked.search(line)
    }


def tool(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a module of this environment from the root, where its settings are."""
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr or done.stdout
    return done


def rejected_by_pyright(_: Path) -> dict[tuple[str, int], str]:
    report = json.loads(tool("pyright", "--outputjson", *map(str, FILES)).stdout)
    return {
        (Path(found["file"]).name, found["range"]["start"]["line"] + 1): found["message"]
        for found in report["generalDiagnostics"]
        if found["severity"] == "error"
    }


def rejected_by_mypy(cache: Path) -> dict[tuple[str, int], str]:
    report = tool("mypy", "--cache-dir", str(cache), "--no-error-summary", "--hide-error-context", *map(str, FILES))
    found = re.findall(r"^(.+?):(\d+): error: (.*)$", report.stdout, re.MULTILINE)
    return {(Path(file).name, int(line)): message for file, line, message in found}


@pytest.mark.parametrize("checker", [rejected_by_pyright, rejected_by_mypy], ids=["pyright", "mypy"])
def test_s1_1_s2_1_wrong_calls_are_rejected_and_right_ones_are_not(checker, tmp_path: Path) -> None:
    rejected = checker(tmp_path)
    should = expected(checker.__name__.removeprefix("rejected_by_"))
    assert should, "no line to reject was found"
    wrongly = {line: message for line, message in rejected.items() if line not in should}
    assert not wrongly, "rejected, but right"
    assert not should - rejected.keys(), "accepted, but wrong"
