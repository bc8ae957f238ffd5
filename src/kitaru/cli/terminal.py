"""A stream, and what it can show: colours, its width, signs beyond ASCII."""

from __future__ import annotations

import os
import re
import unicodedata
from typing import TextIO

_CODES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "blue": 34, "magenta": 35, "cyan": 36}
_ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_ASCII = str.maketrans("✓✗◌↺◷‖▸·…→├└│─█░━✦⚙▏▎▍▌▋▊▉⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "+x.<t=> .>|`|-#.-*o:::::::**********")
MOST_COLUMNS = 120
"""Wider lines are hard to follow with the eye."""


class ClosedPipe(Exception):
    """Whoever read what is printed has gone (``| head``): there is nothing left to do, and nothing to say."""


class Terminal:
    """Prints lines to a stream. Colours only where it is a terminal and ``NO_COLOR`` is not set.

    Attributes:
        is_terminal: Somebody looks at it.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.is_terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._colours = self.is_terminal and not os.environ.get("NO_COLOR")
        self._is_unicode = (stream.encoding or "ascii").lower().startswith("utf")

    @property
    def width(self) -> int:
        """Columns of a line."""
        return min(self._size().columns, MOST_COLUMNS)

    @property
    def height(self) -> int:
        """Lines that can be seen at once."""
        return self._size().lines

    def _size(self) -> os.terminal_size:
        try:
            return os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError):  # no terminal
            given = os.environ.get("COLUMNS", "")
            return os.terminal_size((int(given) if given.isdecimal() else 100, 24))

    def paint(self, text: str, *styles: str) -> str:
        """The text in a colour, or in several styles; unchanged where there are none."""
        codes = ";".join(str(_CODES[style]) for style in styles)
        return f"\x1b[{codes}m{text}\x1b[0m" if self._colours and text and codes else text

    def line(self, text: str = "") -> None:
        """Print a line; ``flush`` shows it. Raises ``ClosedPipe``."""
        self.write(f"{text}\n")

    def write(self, text: str) -> None:
        """Print text as it is, in ASCII where the stream can do no more. Raises ``ClosedPipe``."""
        if not self._is_unicode:
            text = text.translate(_ASCII).encode("ascii", "replace").decode()
        try:
            self._stream.write(text.encode("utf-8", "replace").decode())
        except BrokenPipeError:
            self._closed()

    def flush(self) -> None:
        """Show what was printed. Raises ``ClosedPipe``."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._closed()

    def close(self) -> None:
        """Close the stream. Raises ``ClosedPipe``."""
        try:
            self._stream.close()
        except BrokenPipeError:
            raise ClosedPipe from None

    def _closed(self) -> None:
        # Python flushes its streams at its end, and would then complain about the pipe: let it write nowhere.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        raise ClosedPipe


def printable(text: str) -> str:
    """One line without anything that would move the cursor or change colours: texts come from models and users."""
    return _CONTROL.sub("", _ESCAPE.sub("", text.replace("\n", " ").replace("\t", " ")))


def printable_lines(text: str) -> str:
    """Several lines without anything that would move the cursor; their indentation is kept."""
    return "\n".join(_CONTROL.sub("", _ESCAPE.sub("", line.replace("\t", "    "))) for line in text.split("\n"))


def columns(text: str) -> int:
    """How many columns a text takes, escape sequences not counted."""
    plain = _ESCAPE.sub("", text)
    if plain.isascii():
        return len(plain)
    return sum(
        0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in plain
    )


def cut(text: str, width: int) -> str:
    """The text in at most so many columns, with a sign where something is left out. Without colours."""
    if columns(text) <= width:
        return text
    kept = ""
    for sign in text:
        if columns(kept + sign) >= width:
            break
        kept += sign
    return f"{kept}…" if width > 0 else ""


def pad(text: str, width: int) -> str:
    """The text, and spaces up to this column."""
    return text + " " * (width - columns(text))
