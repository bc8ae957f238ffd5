"""S4.2: pickle is opt-in."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitaru import KitaruClient, KitaruUsageError
from tests.acceptance.runs import Program

PICKLED = """
import sys
from kitaru import KitaruClient, checkpoint, flow
class Odd:
    def __init__(self, x):
        self.x = x
    def __reduce__(self):
        print("pickled")
        return Odd, (self.x,)
@checkpoint
def make():
    return [Odd(7)]
@flow
def agent():
    value = make()
    return value[0].x
if __name__ == "__main__":
    try:
        if len(sys.argv) == 1:
            print(agent.run(execution_id="one").wait(timeout=30))
        else:
            print(KitaruClient().executions.get("one").checkpoints[0].output[0].x)
    except Exception as error:
        print(type(error.__cause__ or error).__name__, error)
"""


def test_s4_2_pickle_is_used_where_the_project_allows_it_and_never_loaded_where_it_does_not(tmp_path: Path) -> None:
    program = Program(tmp_path, PICKLED)
    settings = tmp_path / "pyproject.toml"
    settings.write_text("[tool.kitaru]\nallow_pickle = true\n")
    assert program.printed() == "pickled\n7"
    assert program.printed("look") == "7"
    settings.write_text("[tool.kitaru]\nallow_pickle = false\n")
    printed = program.printed("look")
    assert printed.startswith("KitaruSerializationError")
    assert "allow_pickle = true under [tool.kitaru]" in printed


def test_s4_2_without_leave_nothing_is_pickled(tmp_path: Path) -> None:
    printed = Program(tmp_path, PICKLED).printed()
    assert printed.startswith("KitaruSerializationError")
    assert "result[0] cannot be recorded exactly" in printed
    assert "pickled" not in printed


def test_s4_2_allow_pickle_must_be_a_truth_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.kitaru]\nallow_pickle = "yes"\n')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KitaruUsageError, match="allow_pickle = 'yes' has the wrong type"):
        KitaruClient()
