"""The example in examples/code_audit, as a user runs it: a script in a process of its own."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "code_audit"


@dataclass
class Audit:
    """An audited folder, the report on it, and the ways to start the script."""

    folder: Path
    report: Path
    printed: str = ""

    def start(self, *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(EXAMPLE / "audit.py"), str(self.folder), "--out", str(self.report), *options]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, *options: str) -> tuple[int, int]:
        """Run to the end; how many files were measured now, and how many reused."""
        process = self.start(*options)
        self.printed, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        found = re.search(r"(\d+) files measured now, (\d+) reused", self.printed)
        assert found is not None, self.printed
        return int(found[1]), int(found[2])

    def stop_after(self, tenths: int, number: signal.Signals) -> tuple[int, str]:
        """Run slowly, and send a signal when so many progress lines were printed."""
        process = self.start("--slow", "0.1")
        assert process.stdout is not None
        progress = 0
        for line in process.stdout:
            progress += " of " in line
            if progress == tenths:
                break
        process.send_signal(number)
        printed, _ = process.communicate(timeout=60)
        return process.returncode, printed


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    folder = tmp_path / "code"
    (folder / "package").mkdir(parents=True)
    for number in range(30):
        (folder / "package" / f"module_{number}.py").write_text(f'"""Number {number}."""\n')
    return Audit(folder, tmp_path / "report.md")


@pytest.fixture
def measure_source(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    from metrics import measure_source

    yield measure_source
    del sys.modules["metrics"]


def test_an_audit_that_is_killed_midway_goes_on_as_the_same_execution(audit: Audit) -> None:
    code, _ = audit.stop_after(5, signal.SIGKILL)
    assert code == -signal.SIGKILL
    now, reused = audit.run()
    assert now + reused == 30
    assert reused >= 15
    assert now >= 5
    assert "-1: auditing" in audit.printed
    assert audit.report.read_text().startswith("# Audit of code\n\n30 files")


def test_ctrl_c_stops_at_once_and_says_how_to_go_on(audit: Audit) -> None:
    code, printed = audit.stop_after(5, signal.SIGINT)
    assert code == 130
    assert "The same command goes on from here." in printed
    now, reused = audit.run()
    assert now + reused == 30
    assert reused >= 15


def test_a_finished_audit_measures_only_what_was_edited_since(audit: Audit) -> None:
    assert audit.run() == (30, 0)
    (audit.folder / "package" / "module_7.py").write_text("import os\nos.system('ls')\n")
    assert audit.run() == (1, 29)
    assert "-2: auditing" in audit.printed
    assert "os.system runs a shell command" in audit.report.read_text()


def test_the_same_id_is_the_same_audit(audit: Audit) -> None:
    assert audit.run("--id", "nightly") == (30, 0)
    (audit.folder / "package" / "module_7.py").write_text("'''Edited.'''\n")
    assert audit.run("--id", "nightly") == (0, 30)


def test_a_file_that_cannot_be_measured_is_a_finding_and_stops_nothing(audit: Audit) -> None:
    odd = {
        "wrong.py": b"def (:\n",
        "latin.py": "name = 'gr\u00fc\u00df'\n".encode("latin-1"),
        "null.py": b"a = 1\0\n",
        "deep.py": b"(" * 5_000 + b")" * 5_000,
        "empty.py": b"",
    }
    for name, source in odd.items():
        (audit.folder / name).write_bytes(source)
    (audit.folder / "nowhere.py").symlink_to(audit.folder / "gone.txt")
    (audit.folder / ".hidden").mkdir()
    (audit.folder / ".hidden" / "skipped.py").write_text("eval('1')\n")
    assert audit.run() == (36, 0)
    report = audit.report.read_text()
    assert "| unreadable | 5 |" in report
    assert "cannot be read: No such file or directory" in report
    assert "eval" not in report


def test_a_folder_that_is_not_there_is_refused(audit: Audit) -> None:
    audit.folder = audit.folder / "absent"
    process = audit.start()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "absent is not a folder" in errors


SOURCE = '''
import pickle, subprocess
def outer(a, b):
    """Said."""
    if a and b or a:
        for x in [y for y in a if y]:
            pass
    def inner():
        while True:
            pass
def untold():
    try:
        eval("1"); pickle.loads(b"")
        subprocess.run("ls", shell=True)
        subprocess.run(["ls"], shell=False)
    except:
        pass  # TODO: narrow this
class _Private:
    pass
'''


def test_what_is_found_in_a_file(measure_source) -> None:
    metrics = measure_source("a.py", SOURCE.encode())
    assert [(found.line, found.kind) for found in metrics.findings] == [
        (1, "no docstring"),
        (8, "no docstring"),
        (11, "no docstring"),
        (13, "risky call"),
        (13, "risky call"),
        (14, "risky call"),
        (16, "bare except"),
        (17, "todo"),
    ]
    # if, and, or, for, comprehension: and 1. What is inside `inner` counts for `inner`.
    assert (metrics.functions, metrics.complexity) == (3, 6)


def test_long_and_complex_functions_are_found(measure_source) -> None:
    body = "".join(f"    if x == {number}:\n        pass\n" for number in range(40))
    kinds = [found.kind for found in measure_source("a.py", b"'''A.'''\ndef _f(x):\n" + body.encode()).findings]
    assert kinds == ["complex function", "long function"]
