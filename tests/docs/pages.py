"""Runs the Python blocks of a Markdown page as one script, and keeps what each of them printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from textwrap import dedent

_FENCE = re.compile(r"\s*```(?P<language>\w*)(?P<rest>.*)")
_NO_RUN = "no-run"
_MARK = "\x1e"


@dataclass(frozen=True)
class Block:
    """A fenced block. ``line`` is that of its opening fence, from 1; ``rest`` what stands behind the language."""

    language: str
    rest: str
    line: int
    text: str

    @property
    def runs(self) -> bool:
        return self.language == "python" and not self.rest.startswith(_NO_RUN)


def blocks_of(page: str) -> list[Block]:
    """All fenced blocks of a page, in order."""
    found: list[Block] = []
    lines = page.splitlines()
    opened: int | None = None
    for number, line in enumerate(lines, start=1):
        fence = _FENCE.fullmatch(line)
        if fence is None:
            continue
        if opened is None:
            opened = number
            continue
        head = _FENCE.fullmatch(lines[opened - 1])
        assert head is not None
        text = dedent("\n".join(lines[opened : number - 1]))
        found.append(Block(head["language"], head["rest"].strip(), opened, text))
        opened = None
    assert opened is None, f"the fence in line {opened} is never closed"
    return found


def without_reason(blocks: list[Block]) -> list[Block]:
    """The blocks that are not run and do not say why: ```` ```python no-run: needs a server ````."""
    return [b for b in blocks if b.rest.startswith(_NO_RUN) and not re.fullmatch(rf"{_NO_RUN}:\s*\S.*", b.rest)]


def run(blocks: list[Block], folder: Path, *, timeout: float = 120) -> dict[int, str]:
    """Run the blocks in a process of their own, in ``folder``; what each printed, by the line of its fence.

    The script has every block on the lines where the page has it, so a traceback names the page's lines.
    """
    script: list[str] = []
    for block in (b for b in blocks if b.runs):
        script += [""] * (block.line - 1 - len(script))
        script += [f"print({_MARK + str(block.line)!r}, flush=True)", *block.text.splitlines()]
    path = folder / "page.py"
    path.write_text("\n".join(script) + "\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KITARU_")}
    environment["KITARU_HOME"] = str(folder / "home")
    done = subprocess.run(
        [sys.executable, "-W", "error", path.name],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"the page's script ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    printed: dict[int, str] = {}
    for part in done.stdout.split(_MARK)[1:]:
        line, _, output = part.partition("\n")
        printed[int(line)] = output
    return printed


def differences(blocks: list[Block], printed: dict[int, str]) -> list[str]:
    """Where a ``text`` block stands right behind a block that ran, and says something else than it printed."""
    found: list[str] = []
    for block, shown in pairwise(blocks):
        if block.runs and shown.language == "text" and not matches(shown.text, printed[block.line]):
            found.append(f"line {block.line} printed\n{printed[block.line]}\nbut the page shows\n{shown.text}")
    return found


def matches(shown: str, printed: str) -> bool:
    """True where both have the same lines; ``...`` in a shown line stands for anything within it."""
    patterns = [".*".join(map(re.escape, line.rstrip().split("..."))) for line in shown.strip("\n").split("\n")]
    lines = [line.rstrip() for line in printed.strip("\n").split("\n")]
    return len(patterns) == len(lines) and all(map(re.fullmatch, patterns, lines))
