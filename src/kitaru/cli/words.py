"""Times, durations, values and tables, as people read them."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from kitaru.cli.terminal import Terminal, columns, cut, pad, printable, printable_lines

STATUS_COLOURS = {
    "completed": "green",
    "failed": "red",
    "timed_out": "red",
    "running": "cyan",
    "waiting": "yellow",
    "open": "yellow",
    "pending": "blue",
    "cancelled": "dim",
}

_LINE = 90
"""Columns of a line of JSON."""


def status(terminal: Terminal, word: str) -> str:
    """A status in its colour."""
    colour = STATUS_COLOURS.get(word)
    return terminal.paint(word.replace("_", " "), colour) if colour else word


def duration(span: timedelta | float | None) -> str:
    """``340 ms``, ``2.31 s``, ``4 min 10 s``, ``3 h 20 min``, ``2 d 5 h``; ``-`` where there is none."""
    if span is None:
        return "-"
    seconds = span.total_seconds() if isinstance(span, timedelta) else span
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, part, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit} {rest} {smaller}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def so_far(span: timedelta) -> str:
    """The duration of what goes on: its digits do not jump about."""
    seconds = span.total_seconds()
    return f"{seconds:.1f} s" if seconds < 60 else duration(span)


def ago(at: datetime | None, now: datetime | None = None) -> str:
    """How long ago something was, or when it will be: ``3 min ago``, ``in 2 h``; a date beyond two days."""
    if at is None:
        return "-"
    now = now or datetime.now(UTC)
    seconds = (now - at).total_seconds()
    if abs(seconds) < 1:
        return "now"
    if abs(seconds) >= 48 * 3600:
        return moment(at, now)
    size, unit = next(one for one in ((3600, "h"), (60, "min"), (1, "s")) if abs(seconds) >= one[0])
    number = int(abs(seconds) // size)
    return f"{number} {unit} ago" if seconds > 0 else f"in {number} {unit}"


def moment(at: datetime, now: datetime | None = None) -> str:
    """A time in the zone of this machine; the date only where it is not today."""
    now = now or datetime.now(UTC)
    here, today = at.astimezone(), now.astimezone()
    if here.date() == today.date():
        return f"{here:%H:%M:%S}"
    return f"{here:%d %b %H:%M}" if here.year == today.year else f"{here:%d %b %Y}"


def failure(kind: str, message: str) -> str:
    """A failure on one line: ``ValueError: what it says``."""
    name, said = kind.rpartition(":")[2], printable(message)
    return f"{name}: {said}" if said else name


def wrapped(terminal: Terminal, text: str, indent: int = 2) -> Iterable[str]:
    """Sentences, broken between words where a terminal is too narrow for them."""
    for line in printable_lines(text).splitlines():
        margin = " " * (indent + len(line) - len(line.lstrip()))
        room = terminal.width - len(margin) if terminal.is_terminal else len(line) + 1
        yield from (f"{margin}{part}" for part in textwrap.wrap(line.lstrip(), max(room, 20), break_long_words=False,
                                                                break_on_hyphens=False))  # fmt: skip


def value(data: Any, width: int | None = None) -> str:
    """JSON data on one line; cut to a width where one is given."""
    text = printable(json.dumps(data, ensure_ascii=False))
    return text if width is None else cut(text, width)


def on_a_line(data: Any) -> str:
    """A result for a pipe: text as it is, all else as JSON on one line."""
    return data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)


def result(data: Any) -> str:
    """A result for eyes: text as it is, all else as JSON, over several lines where one is too short."""
    return data if isinstance(data, str) else _laid_out(data, 0)


def _laid_out(data: Any, indent: int) -> str:
    """JSON that breaks a container only where it does not fit on a line."""
    line = json.dumps(data, ensure_ascii=False)
    if len(line) + indent <= _LINE or not isinstance(data, (dict, list)) or not data:
        return line
    inner = " " * (indent + 2)
    if isinstance(data, dict):
        items: dict[str, Any] = data  # pyright: ignore[reportUnknownVariableType]  # of JSON
        parts = [
            f"{inner}{json.dumps(key, ensure_ascii=False)}: {_laid_out(item, indent + 2)}"
            for key, item in items.items()
        ]
        return "{\n" + ",\n".join(parts) + f"\n{' ' * indent}}}"
    many: list[Any] = data  # pyright: ignore[reportUnknownVariableType]  # of JSON
    texts = [_laid_out(item, indent + 2) for item in many]
    if not any(isinstance(item, (dict, list)) for item in many):
        return f"[\n{_filled(texts, inner)}\n{' ' * indent}]"
    return "[\n" + ",\n".join(f"{inner}{text}" for text in texts) + f"\n{' ' * indent}]"


def _filled(texts: list[str], inner: str) -> str:
    """Many short values, as many on a line as fit."""
    lines = [inner]
    for text in texts:
        if len(lines[-1]) + len(text) > _LINE and lines[-1] != inner:
            lines[-1] = lines[-1].rstrip()
            lines.append(inner)
        lines[-1] += f"{text}, "
    return "\n".join(lines).rstrip().removesuffix(",")


def table(
    terminal: Terminal, heads: Sequence[str], rows: Sequence[Sequence[str]], *, right: Iterable[int] = ()
) -> Iterable[str]:
    """Rows in columns under dim heads. The last column is cut where a terminal is too narrow.

    Args:
        terminal: Where it is shown.
        heads: The names of the columns.
        rows: Cells, coloured or not.
        right: Columns of numbers, by index.
    """
    to_right = set(right)
    widths = [max(map(columns, column)) for column in zip(heads, *rows, strict=True)]
    styled = [[terminal.paint(head, "dim") for head in heads], *rows]
    for row in styled:
        cells = [
            f"{' ' * (width - columns(cell))}{cell}" if index in to_right else pad(cell, width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        line = "  ".join(cells).rstrip()
        yield cut(line, terminal.width) if terminal.is_terminal and "\x1b" not in cells[-1] else line


def count(number: int, noun: str) -> str:
    """``1 execution``, ``12,000 executions``, ``2 processes``."""
    many = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else many}"
