"""S5.8, S6.3: a process that only waits for an execution goes on with it when its time comes."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.processes import Scripts

SCRIPT = """
import os, signal, sys
import kitaru

@kitaru.flow
def sleeper() -> str:
    kitaru.sleep(2)
    return "woken"

if sys.argv[1] == "start":
    print(sleeper.run(execution_id="it").exec_id, flush=True)
else:
    print(kitaru.KitaruClient().executions.handle("it").wait(timeout=60), flush=True)
"""


def test_s5_8_a_timer_fires_in_a_process_that_only_waits_for_the_execution(tmp_path: Path) -> None:
    scripts = Scripts(tmp_path / "project")
    scripts.write("agent.py", SCRIPT)
    assert scripts.run("agent.py", "start") == ["it"]
    assert scripts.run("agent.py", "wait") == ["woken"]
