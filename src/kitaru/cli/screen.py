"""A terminal of one's own: whatever else is printed meanwhile, by this process or by others, is taken in as lines."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

from kitaru.cli.terminal import Terminal

_LAST_WORDS = 0.5
"""Seconds that what was printed at the end may take to arrive; a process that goes on holds nobody up."""


class Screen:
    """The terminal, and where the lines go that others print.

    Attributes:
        terminal: To draw on.
        show: Takes their lines, on a thread of its own.
    """

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self.show: Callable[[Sequence[str]], None] = self._as_they_come

    def _as_they_come(self, lines: Sequence[str]) -> None:
        for line in lines:
            self.terminal.line(line)
        self.terminal.flush()

    def read(self, pipe: int) -> None:
        """Take in what is printed, until nobody can print any more."""
        rest = b""
        while chunk := os.read(pipe, 65536):
            *lines, rest = (rest + chunk).split(b"\n")
            rest = rest.rpartition(b"\r")[2]  # of a progress bar, what would still be seen
            if lines:
                self.show([_text(line) for line in lines])
        if rest:
            self.show([_text(rest)])


def _text(line: bytes) -> str:
    return line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace")


@contextmanager
def own_screen() -> Generator[Screen]:
    """Have the terminal of stderr for oneself.

    It is the file descriptors that are taken, since child processes and libraries print too. A child that
    lives longer goes on printing: to what ``show`` is then.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    real = os.dup(2)
    screen = Screen(Terminal(os.fdopen(real, "w", encoding=sys.stderr.encoding, closefd=False)))
    before = os.dup(1)
    pipe, theirs = os.pipe()
    os.dup2(theirs, 1)
    os.dup2(theirs, 2)
    os.close(theirs)
    reader = threading.Thread(target=screen.read, args=(pipe,), name="kitaru-screen", daemon=True)
    reader.start()
    try:
        yield screen
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(before, 1)
        os.dup2(real, 2)
        os.close(before)
        reader.join(_LAST_WORDS)
