"""S6.3, S6.4: an execution goes on with the very flow that it was started with, wherever that is defined."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitaru import KitaruClient, KitaruNotFoundError
from tests.acceptance.processes import Scripts
from tests.acceptance.runs import TIMEOUT

AGENT = """
from kitaru import KitaruUserCodeError, flow

@flow
def agent(text: str) -> str:
    if text == "later" and __name__ in ("__main__", "__mp_main__"):
        raise RuntimeError("not yet")
    return "the right one"

def begin(exec_id: str) -> None:
    try:
        agent.run("later", execution_id=exec_id).wait()
    except KitaruUserCodeError:
        print(exec_id, "failed", flush=True)
"""
START = """
if __name__ == "__main__":
    begin("one")
"""
SPAWN = """
if __name__ == "__main__":
    import multiprocessing
    child = multiprocessing.get_context("spawn").Process(target=begin, args=("one",))
    child.start()
    child.join()
"""


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scripts:
    monkeypatch.setenv("KITARU_HOME", str(tmp_path / "home"))
    return Scripts(tmp_path / "work")


@pytest.mark.parametrize(("name", "end"), [("agent", START), ("agent.py", SPAWN)], ids=["no suffix", "spawned"])
def test_s6_4_a_flow_of_a_script_is_found_again(scripts: Scripts, name: str, end: str) -> None:
    path = scripts.write(name, AGENT + end)
    assert scripts.run(str(path)) == ["one failed"]
    assert KitaruClient().executions.retry("one").wait(timeout=TIMEOUT) == "the right one"


def test_s6_4_a_flow_of_a_session_is_not_mistaken_for_another_of_its_name(scripts: Scripts) -> None:
    printed, _ = scripts.popen().communicate(AGENT + START, timeout=TIMEOUT)
    assert printed == "one failed\n"
    with pytest.raises(KitaruNotFoundError, match="a session without a file"):
        KitaruClient().executions.retry("one")
    last = 'from kitaru import KitaruClient\nif __name__ == "__main__":\n    KitaruClient().executions.retry("one")'
    scripts.run(str(scripts.write("other.py", AGENT + last)), code=1)
    assert KitaruClient().executions.get("one").status == "failed"
