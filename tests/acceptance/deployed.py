"""What the acceptance tests of deployments share: a project that is deployed by a process of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.acceptance.processes import Scripts

AGENTS = """
import os
import kitaru

LABEL = "{label}"

@kitaru.checkpoint
def greet(name: str) -> str:
    with open(os.environ["EFFECTS"], "a") as file:
        file.write(f"{{LABEL}}:{{name}}\\n")
    return f"{{LABEL}} {{name}}"

@kitaru.flow
def hello(name: str, times: int = 1) -> str:
    return " ".join([greet(name)] * times)

@kitaru.flow
def approved(name: str) -> str:
    first = greet(name)
    given = kitaru.wait("ok", schema=str)
    return f"{{first}} {{given}} {{greet(name + ' again')}} {{LABEL}}"

@kitaru.flow
def late(name: str) -> str:
    first = greet(name)
    kitaru.sleep(3)
    return f"{{first}} {{LABEL}}"

@kitaru.flow
def broken(name: str) -> str:
    greet(name)
    if not os.path.exists(os.environ["EFFECTS"] + ".mended"):
        raise ValueError(f"broken {{LABEL}}")
    return LABEL

@kitaru.flow
def parent(name: str) -> str:
    return hello.run(name).wait() + " by parent"

@kitaru.flow
def dies(name: str) -> str:
    os._exit(7)
"""


class Project:
    """A source tree with ``agents.py`` in it, and processes that deploy its flows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.scripts = Scripts(self.folder)
        self.scripts.write("pyproject.toml", "")
        self.effects_file = folder / "effects"
        self.edit("v1")

    def edit(self, label: str) -> None:
        self.scripts.write("agents.py", AGENTS.format(label=label))

    def git(self, *command: str) -> str:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        done = subprocess.run(["git", *identity, *command], cwd=self.folder, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def python(self, code: str) -> list[str]:
        """Run code in a process of the project; the lines that it printed."""
        return self.scripts.run("-c", code)

    def deploy(self, flow: str, arguments: str = "name='ada'") -> list[str]:
        """Deploy a flow; its version and its tags."""
        code = f"import agents; deployed = agents.{flow}.deploy({arguments}); print(deployed.version, *deployed.tags)"
        return self.python(code)[0].split()

    @property
    def effects(self) -> list[str]:
        return self.effects_file.read_text().split("\n")[:-1] if self.effects_file.exists() else []
