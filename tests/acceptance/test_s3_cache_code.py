"""S3.5: a result is reused by the same code only."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from kitaru import FlowHandle
from tests.acceptance.runs import TIMEOUT, Program, failure_of, retry

SOURCES = {
    "agent_flow": """
        from kitaru import checkpoint, flow
        from agent_tools import clean
        RAN = []
        @checkpoint
        def work(text):
            RAN.append(text)
            return clean(text)
        @flow
        def agent(text):
            return work(text)
        """,
    "agent_tools": """
        import agent_words
        def clean(text):
            return agent_words.strip(text) + "!"
        """,
    "agent_words": """
        MARK = "?"
        def strip(text):
            return text.strip() + MARK
        def unrelated():
            return 1
        """,
}


class Project:
    """Modules that can be edited between executions, as a developer does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sources = {name: "\n".join(line[8:] for line in text.splitlines()) for name, text in SOURCES.items()}

    def load(self) -> ModuleType:
        for name, text in self.sources.items():
            (self.folder / f"{name}.py").write_text(text)
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module("agent_flow")

    def edit(self, module: str, old: str, new: str) -> None:
        assert old in self.sources[module]
        self.sources[module] = self.sources[module].replace(old, new)

    def runs_again(self) -> bool:
        """Run the flow with the sources as they are; whether its checkpoint ran."""
        module = self.load()
        module.agent.run(" x ").wait(timeout=TIMEOUT)
        return bool(module.RAN)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield Project(folder)
    for name in SOURCES:
        sys.modules.pop(name, None)


def test_s3_5_unchanged_code_is_reused_after_a_reload(project: Project) -> None:
    assert [project.runs_again(), project.runs_again()] == [True, False]


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        pytest.param("agent_flow", "return clean(text)", "return clean(text) + '.'", id="the function"),
        pytest.param("agent_tools", '"!"', '"!!"', id="a helper"),
        pytest.param("agent_words", "text.strip()", "text.lstrip()", id="a helper two modules away"),
        pytest.param("agent_words", 'MARK = "?"', 'MARK = "¿"', id="a constant two modules away"),
        pytest.param("agent_flow", "def work(text)", "def work(text, *, new=1)", id="the signature"),
    ],
)
def test_s3_5_edited_code_runs_again(project: Project, module: str, old: str, new: str) -> None:
    assert project.runs_again()
    project.edit(module, old, new)
    assert [project.runs_again(), project.runs_again()] == [True, False]


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        pytest.param("agent_flow", "return work(text)", "return [work(text)]", id="the flow's body"),
        pytest.param("agent_words", "return 1", "return 2", id="a function that is not reached"),
        pytest.param("agent_tools", "def clean", "# a comment\ndef clean", id="a comment"),
        pytest.param("agent_flow", "@checkpoint", "@checkpoint(type='tool_call')", id="an option"),
    ],
)
def test_s3_5_an_edit_that_does_not_concern_the_checkpoint_keeps_the_cache(
    project: Project, module: str, old: str, new: str
) -> None:
    assert project.runs_again()
    project.edit(module, old, new)
    assert not project.runs_again()


def test_s3_5_and_s3_2_within_one_execution_edited_code_does_not_undo_what_was_recorded(project: Project) -> None:
    """Code may be edited while an execution is parked; its records stay (S3)."""
    project.edit("agent_flow", "return work(text)", "value = work(text)\n    raise ConnectionError(value)")
    module = project.load()
    handle: FlowHandle[str] = module.agent.run(" x ")
    failure_of(handle)
    project.edit("agent_flow", "\n    raise ConnectionError(value)", "\n    return value")
    project.edit("agent_tools", '"!"', '"!!"')
    module = project.load()
    assert retry(handle).wait(timeout=TIMEOUT) == "x?!"
    assert module.RAN == []


def test_s3_5_the_cache_holds_across_processes(tmp_path: Path) -> None:
    program = Program(
        tmp_path,
        """
from kitaru import checkpoint, flow
RAN = []
@checkpoint
def work(x):
    RAN.append(x)
    return {x, "b", "c"}
@flow
def agent():
    return work("a")
print(sorted(agent.run().wait(timeout=30)), len(RAN))
""",
    )
    assert [program.printed(), program.printed()] == ["['a', 'b', 'c'] 1", "['a', 'b', 'c'] 0"]
