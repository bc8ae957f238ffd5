"""What a command answers: text for eyes, or one JSON envelope (``-o json``).

The answer goes to stdout; what happens meanwhile, and errors, go to stderr. So an answer can be piped.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any

import click

from kitaru.cli.terminal import Terminal

OK, ERROR, USAGE, UNSUCCESSFUL = 0, 1, 2, 3
"""Exit codes. ``UNSUCCESSFUL``: the command did its work, and the execution it was for failed or was cancelled."""
INTERRUPTED, CLOSED_PIPE = 130, 141
"""As shells count processes that SIGINT or SIGPIPE has ended."""


class Output:
    """Where a command answers.

    Attributes:
        json: Whether JSON was asked for.
        terminal: stdout, for renderers that colour and measure text.
        beside: stderr, for what happens meanwhile.
    """

    def __init__(self, command: str, *, json: bool) -> None:
        self._command = command
        self.json = json
        self.terminal = Terminal(sys.stdout)
        self.beside = Terminal(sys.stderr)
        self._diverted = False

    def divert(self) -> None:
        """From here on, what others print to stdout goes to stderr: stdout is for the answer alone.

        Others are flows, and whatever processes they start: so it is the file descriptor that is diverted.
        """
        if self._diverted:
            return
        self._diverted = True
        sys.stdout.flush()
        own = os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding)
        self.terminal = Terminal(own)
        os.dup2(2, 1)
        # A new one, that shows lines as they come: in order with what goes to stderr by itself.
        sys.stdout = os.fdopen(1, "w", buffering=1, encoding=sys.stdout.encoding, errors="replace", closefd=False)

    def item(self, data: Any, text: Iterable[str]) -> None:
        """Answer one thing. ``text`` is only gone through where text is asked for."""
        self._answer({"command": self._command, "item": data}, text)

    def items(self, data: Sequence[Any], text: Iterable[str], *, next: str | None = None) -> None:
        """Answer a list; ``next`` is what continues it."""
        self._answer({"command": self._command, "items": data, "count": len(data), "next": next}, text)

    def each(self, data: Any, text: str) -> None:
        """Answer a part of what goes on: a line each, in JSON too, shown at once."""
        line = json.dumps({"command": self._command, "item": data}, ensure_ascii=False) if self.json else text
        self.terminal.line(line)
        self.terminal.flush()

    def tell(self, text: str) -> None:
        """Say something beside the answer; nothing where JSON is asked for."""
        if not self.json:
            self.beside.line(text)
            self.beside.flush()

    def close(self) -> None:
        """Nothing more is answered."""
        if self._diverted:
            self.terminal.close()

    def _answer(self, envelope: dict[str, Any], text: Iterable[str]) -> None:
        for line in [json.dumps(envelope, ensure_ascii=False, indent=2)] if self.json else text:
            self.terminal.line(line)
        self.terminal.flush()


def command(name: str) -> Callable[[Callable[..., int | None]], click.Command]:
    """Make a function a command: its first argument is its ``Output``; what it returns is the exit code, None for 0."""

    def decorate(function: Callable[..., int | None]) -> click.Command:
        @wraps(function)
        def call(*, output: str, **given: Any) -> int | None:
            path = click.get_current_context().command_path.partition(" ")[2]
            out = Output(path, json=output == "json")
            try:
                return function(out, **given)
            finally:
                out.close()

        option = click.Option(
            ["-o", "--output"], type=click.Choice(["text", "json"]), default="text", help="How to answer."
        )
        made = click.command(name)(call)
        made.params.append(option)
        return made

    return decorate


def wants_json(argv: Sequence[str]) -> bool:
    """Whether JSON is asked for, in arguments that may not be parseable."""
    words = " ".join(argv)
    return any(form in f"{words} " for form in ("-o json ", "-ojson ", "--output json ", "--output=json "))
