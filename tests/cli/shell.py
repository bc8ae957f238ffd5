"""The installed command, as a process, in a folder with a few flows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import pexpect

COMMAND = str(Path(sys.executable).parent / "kitaru")
PATIENCE = 60

AGENT = """
import pathlib, time
import kitaru


@kitaru.checkpoint(type="llm_call")
def plan(topic):
    kitaru.log(tokens=12)
    print("planning", topic)
    return [topic, topic.upper()]


@kitaru.checkpoint(type="tool_call", retries=1, cache=False)
def fetch(name):
    if name == "OWLS" and not pathlib.Path("seen").exists():
        pathlib.Path("seen").touch()
        raise ConnectionError("away")
    return len(name)


@kitaru.flow
def research(topic: str, factor: int = 1):
    print("begin")
    return {"sizes": [factor * size for size in fetch.map(plan(topic)).result()]}


@kitaru.checkpoint
def publish(text):
    if not pathlib.Path("token").exists():
        raise PermissionError("token expired")
    return f"published {text}"


@kitaru.flow
def newsletter(text: str):
    return publish(text)


@kitaru.flow
def approval(amount: int) -> str:
    plan("cost")
    approved = kitaru.wait("approve", question=f"Pay {amount}?", schema=bool)
    return "paid" if approved else "kept"


@kitaru.flow
def gate():
    kitaru.wait("go", question="Go on?")
    return 1


@kitaru.flow
def parent():
    return newsletter.run("inner").wait()


@kitaru.flow
def outer():
    return approval.run(5).wait()


@kitaru.checkpoint
def unit(number):
    time.sleep(0.01)
    return number


@kitaru.flow
def fan(count: int):
    return sum(unit.map(range(count)).result())


@kitaru.checkpoint
def until_go():
    kitaru.progress("waiting for the file", percent=40)
    while not pathlib.Path("go").exists():
        time.sleep(0.02)


@kitaru.flow
def held():
    unit.map(range(40)).result()
    until_go()
    return "gone"


@kitaru.checkpoint
def hold():
    pathlib.Path("held").touch()
    time.sleep(60)


@kitaru.flow
def hangs():
    hold()


no_flow = 1
"""


@dataclass
class Done:
    """What a command has left behind."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> dict[str, Any]:
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        return json.loads(self.err.splitlines()[-1])


class Shell:
    """Runs ``kitaru`` in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("agent.py", AGENT)
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(("KITARU_", "NO_COLOR"))}
        self.env |= {"KITARU_HOME": str(folder / "home"), "PYTHONWARNINGS": "error", "TERM": "xterm-256color"}

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(dedent(text))
        return path

    def run(self, *arguments: str, code: int = 0, stdin: str = "") -> Done:
        """Run a command to its end."""
        done = subprocess.run(
            [COMMAND, *arguments],
            cwd=self.folder,
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == code, f"{arguments} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return Done(done.returncode, done.stdout, done.stderr)

    def item(self, *arguments: str, code: int = 0) -> Any:
        """Run a command; the item of its JSON answer."""
        return self.run(*arguments, "-o", "json", code=code).data["item"]

    def popen(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [COMMAND, *arguments],
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def until(self, happens: Callable[[], bool]) -> None:
        """Wait for what another process does."""
        deadline = time.monotonic() + PATIENCE
        while not happens():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def terminal(self, *arguments: str) -> pexpect.spawn:
        """A command on a terminal of its own."""
        return pexpect.spawn(
            COMMAND,
            list(arguments),
            cwd=str(self.folder),
            env=self.env,
            dimensions=(30, 100),
            encoding="utf-8",
            timeout=PATIENCE,
        )
