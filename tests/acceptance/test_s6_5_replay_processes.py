"""S6.5 across processes: a killed replay goes on with its overrides, and the flow is found where it was recorded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from kitaru import KitaruClient, checkpoint, flow

pytestmark = pytest.mark.usefixtures("home")

PATIENCE = 60.0

AGENT = """
    import sys
    from pathlib import Path

    from kitaru import KitaruClient, checkpoint, flow

    def note(word):
        with Path("effects").open("a") as file:
            file.write(word + "\\n")

    @checkpoint
    def step(number):
        note(f"step-{number}")
        return number

    @checkpoint
    def send(total):
        note(f"send-{total}")
        return f"sent {total}"

    @flow
    def agent(count):
        return send(sum(step(number) for number in range(1, count + 1)))

    if __name__ == "__main__":
        print(agent.run(4, execution_id="first").wait())
"""

REPLAY = """
    from pathlib import Path

    from kitaru import KitaruClient

    def tenfold(number):
        with Path("effects").open("a") as file:
            file.write(f"tenfold-{number}\\n")
        return number * 10

    if __name__ == "__main__":
        overrides = {
            "step_1": {"output": 100},
            "step_2": {"input": {"number": 7}},
            "step_3": {"code": "__main__:tenfold"},
            "send": {"input": {"total": 1}},
        }
        print(KitaruClient().executions.replay("first", "step_4", overrides, execution_id="second").wait())
"""

RESUME = """
    from kitaru import KitaruClient

    print(KitaruClient().executions.resume("second").wait())
"""


class Folder:
    """Scripts, run as processes of their own in one folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text(dedent(text))

    def run(self, name: str, *, crash_at: str = "") -> str:
        environment = {**os.environ, "KITARU_CRASH_AT": crash_at} if crash_at else dict(os.environ)
        done = subprocess.run(
            [sys.executable, name], cwd=self.path, env=environment, capture_output=True, text=True, timeout=PATIENCE,
            check=False,
        )  # fmt: skip
        assert done.returncode == (-signal.SIGKILL if crash_at else 0), done.stderr
        return done.stdout.strip()

    def effects(self) -> list[str]:
        """What was done since it was last asked."""
        path = self.path / "effects"
        done = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return done


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path / "project")
    folder.write("agent.py", AGENT)
    folder.write("replay.py", REPLAY)
    folder.write("resume.py", RESUME)
    assert folder.run("agent.py") == "sent 10"
    assert folder.effects() == ["step-1", "step-2", "step-3", "step-4", "send-10"]
    return folder


def test_s6_5_the_flow_is_found_by_the_script_that_was_recorded(folder: Folder) -> None:
    assert folder.run("replay.py") == "sent 1"
    assert folder.effects() == ["step-7", "tenfold-3", "step-4", "send-1"]


@pytest.mark.parametrize(
    ("crash_at", "done"),
    [
        ("after_create", []),
        ("body_start", []),
        ("before_attempt:1", []),  # the call whose output is given is not on disk yet
        ("before_attempt:2", ["step-7"]),
        ("before_attempt:3", ["step-7", "tenfold-3"]),
        ("before_attempt:4", ["step-7", "tenfold-3", "step-4"]),
        ("body_end", ["step-7", "tenfold-3", "step-4", "send-1"]),
    ],
)
def test_s6_5_a_killed_replay_resumes_with_its_overrides(folder: Folder, crash_at: str, done: list[str]) -> None:
    folder.run("replay.py", crash_at=crash_at)
    assert folder.effects() == done
    assert folder.run("resume.py") == "sent 1"
    assert done + folder.effects() == ["step-7", "tenfold-3", "step-4", "send-1"]
    execution = KitaruClient().executions.get("second")
    assert [(call.call_id, call.output) for call in execution.checkpoints] == [
        ("step", 100), ("step_2", 7), ("step_3", 30), ("step_4", 4), ("send", "sent 1"),
    ]  # fmt: skip
    assert execution.drift == ()


# ── 5,000 calls ──────────────────────────────────────────────────────────────────────────────────

CALLS = 5000
BEGAN: list[int] = []


@checkpoint
def small(number: int) -> int:
    return number


@checkpoint
def last(number: int) -> int:
    BEGAN.append(number)
    return number


@flow
def long_flow(count: int) -> int:
    for number in range(count - 1):
        small(number)
    return last(count)


def test_s6_5_a_replay_of_a_long_flow_from_its_last_call_runs_that_one_alone() -> None:
    first = long_flow.run(CALLS)
    first.wait(timeout=PATIENCE)
    executions = KitaruClient().executions
    replay = executions.replay(first.exec_id, "last")
    assert replay.wait(timeout=PATIENCE) == CALLS
    assert BEGAN == [CALLS, CALLS]
    reused = [call for call in executions.get(replay.exec_id).checkpoints if call.cached_from]
    assert len(reused) == CALLS - 1
