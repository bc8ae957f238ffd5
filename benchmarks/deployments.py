"""How long an invocation of a deployed version takes to its first checkpoint, and a snapshot of 5,000 files.

Run it alone: ``python benchmarks/deployments.py``.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

AGENT = """
import time
import kitaru

@kitaru.checkpoint
def now() -> float:
    return time.time()

@kitaru.flow
def first_checkpoint() -> float:
    return now()
"""


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="kitaru-bench-"))
    os.environ["KITARU_HOME"] = str(folder / "home")
    project = folder / "project"
    project.mkdir()
    (project / "pyproject.toml").touch()
    (project / "agent.py").write_text(AGENT)
    os.chdir(project)
    sys.path.insert(0, str(project))
    import agent

    from kitaru.deployments.snapshot import Facts, pack
    from kitaru.deployments.tree import source_files

    began = time.perf_counter()
    agent.first_checkpoint.deploy(cache=False)
    print(f"deploy                                {time.perf_counter() - began:6.3f} s")
    cold, warm = [], []
    for number in range(5):
        os.environ["BENCH"] = str(number)  # a spare process waits for equal variables only
        cold.append(_invoke(agent.first_checkpoint))
    for _ in range(8):
        warm.append(_invoke(agent.first_checkpoint))
        time.sleep(1)  # the spare of the next one loads the flow
    print(f"invoke to first checkpoint, cold      {statistics.median(cold):6.3f} s")
    print(f"invoke to first checkpoint, spare     {statistics.median(warm[2:]):6.3f} s")
    for number in range(5000):
        place = project / f"package_{number % 50}"
        place.mkdir(exist_ok=True)
        (place / f"module_{number}.py").write_text(f"VALUE = {number}\n" * 40)
    began = time.perf_counter()
    files = source_files(project, apart_from=folder / "home")
    archive = pack(project, files, Facts(python="3.11", paths=(".",)))
    took = time.perf_counter() - began
    print(f"snapshot of {len(files)} files, {len(archive.data) >> 20} MiB     {took:6.3f} s")


def _invoke(flow) -> float:
    began = time.time()
    return flow.invoke().wait(60) - began


if __name__ == "__main__":
    main()
