"""The example in examples/approval, as a user runs it: a new process for each command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kitaru import KitaruClient

AGENT = Path(__file__).parents[2] / "examples" / "approval" / "agent.py"


class Agent:
    """The script, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "error", str(AGENT), *arguments],
            cwd=self.folder, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    def start(self, topic: str) -> str:
        assert "Started" in self.run("start", topic)
        return KitaruClient().executions.latest("notice").exec_id

    @property
    def published(self) -> list[str]:
        return [path.read_text() for path in (self.folder / "published").glob("*.md")]


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    folder = tmp_path / "work"
    folder.mkdir()
    return Agent(folder)


def test_a_notice_is_revised_until_it_is_approved_and_published_once(agent: Agent) -> None:
    """S5.1, S5.2: each command is a process that has ended before the next begins."""
    exec_id = agent.start("bees")
    assert KitaruClient().executions.get(exec_id).status == "waiting"
    assert "There is news about bees." in agent.run("list")
    assert "asks again" in agent.run("answer", exec_id, "revise", "They sting.")
    assert f"{exec_id} review_2" in agent.run("list")
    assert agent.published == []
    assert agent.run("answer", exec_id[:8], "approve").strip().endswith(f"{exec_id}.md")
    assert agent.published == ["# bees\n\nThere is news about bees.\n\nAdded in review: They sting.\n"]
    assert "Nobody is asked anything." in agent.run("list")
    names = [call.call_id for call in KitaruClient().executions.get(exec_id).checkpoints if "review" not in call.name]
    assert names == ["draft", "revise", "publish"]


def test_a_rejected_notice_is_not_published(agent: Agent) -> None:
    exec_id = agent.start("wasps")
    assert "rejected: nobody likes them" in agent.run("answer", exec_id, "reject", "nobody likes them")
    assert agent.published == []


def test_an_answer_that_does_not_fit_the_form_is_refused_and_the_form_is_shown(agent: Agent) -> None:
    """S5.1"""
    exec_id = agent.start("bees")
    errors = agent.run("answer", exec_id, "perhaps", code=1)
    assert "'perhaps' is not one of" in errors
    assert "What to change, or why not." in errors
    assert KitaruClient().executions.get(exec_id).status == "waiting"


def test_a_second_answer_is_told_who_was_first(agent: Agent) -> None:
    """S5.5"""
    exec_id = agent.start("bees")
    agent.run("answer", exec_id, "approve")
    assert "the first answer counts" in agent.run("answer", exec_id, "reject", code=1)
    assert len(agent.published) == 1


def test_an_unknown_agent_is_refused(agent: Agent) -> None:
    assert "nobody" in agent.run("answer", "nobody", "approve", code=1)
