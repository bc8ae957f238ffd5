"""The live view: what an execution is at, drawn anew in place, with what it prints scrolling above."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from kitaru.cli import words
from kitaru.cli.calls import BAR, SIGNS, Child, bar, label, state, told
from kitaru.cli.look import log_line, progress_told
from kitaru.cli.report import open_questions, question
from kitaru.cli.terminal import Terminal, columns, cut, pad, printable
from kitaru.core.event import Event, EventKind
from kitaru.core.execution import CheckpointCall, Execution
from kitaru.core.log_entry import LogEntry
from kitaru.core.states import CallKind, Status
from kitaru.core.wait import Wait

_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_UP, _CLEAR_DOWN, _HIDE, _SHOW = "\x1b[{}A", "\x1b[J", "\x1b[?25l", "\x1b[?25h"
_KEPT_FREE = 6


class _Line(NamedTuple):
    """All calls of one name."""

    sign: str
    name: str
    label: str
    duration: str
    note: str


class LiveView:
    """Draws on a terminal; what others print comes to ``above``, on another thread."""

    def __init__(self, terminal: Terminal, child: Child, *, with_logs: bool) -> None:
        self._terminal = terminal
        self._child = child
        self._with_logs = with_logs
        self._lock = threading.Lock()  # guards all below: lines may come while the view is drawn
        self._drawn = 0
        self._frame = 0
        self._execution: Execution | None = None
        self._questions: list[Wait] = []
        self._progress: dict[str, str] = {}

    def show(self, execution: Execution, events: list[Event], logs: list[LogEntry]) -> None:
        """Draw how it stands, with what has come since the last time."""
        for event in events:
            if event.kind is EventKind.PROGRESS:
                self._progress[event.call_id or ""] = progress_told(event)
        # Finished: the view is about to be taken away, and to read all calls once more is not worth it.
        self._execution = None if execution.status.finished else execution
        self._questions = list(open_questions(execution, self._child))
        above = [log_line(self._terminal, entry) for entry in logs] if self._with_logs else []
        self._draw(above)

    def tick(self) -> None:
        """Draw the passing of time."""
        self._draw([])

    def above(self, lines: Sequence[str]) -> None:
        """Show lines above the view, where they stay."""
        self._draw(lines)

    def end(self) -> None:
        """Take the view away, for a while or for good; what was shown above it stays, and more may come."""
        with self._lock:
            self._execution = None
            self._erase()
            self._terminal.write(_SHOW)
            self._terminal.flush()

    def _draw(self, above: Sequence[str]) -> None:
        with self._lock:
            self._frame += 1
            width = self._terminal.width
            lines = [] if self._execution is None else [*self._lines(self._execution)]
            fitting = [line if columns(line) <= width else cut(_uncoloured(line), width) for line in lines]
            self._erase()
            self._terminal.write(_HIDE if fitting else "")
            for line in [*above, *fitting]:
                self._terminal.line(line)
            self._drawn = len(fitting)
            self._terminal.flush()

    def _erase(self) -> None:
        if self._drawn:
            self._terminal.write(_UP.format(self._drawn) + "\r" + _CLEAR_DOWN)
        self._drawn = 0

    def _lines(self, execution: Execution) -> Iterator[str]:
        paint = self._terminal.paint
        began = execution.started_at or execution.created_at
        took = words.so_far((execution.ended_at or datetime.now(UTC)) - began)
        yield ""
        told_here = self._progress.get("", "")
        yield (
            f"{self._sign(execution.status)} {paint(printable(execution.flow), 'bold')}  {execution.exec_id}  "
            f"{words.status(self._terminal, execution.status)}  {paint(took, 'dim')}  {told_here}"
        ).rstrip()
        groups = [self._group(calls) for calls in _by_name(execution.checkpoints)]
        room = max(3, self._terminal.height - _KEPT_FREE)
        if len(groups) > room:
            yield paint(f"  … {len(groups) - room} more above", "dim")
            groups = groups[-room:]
        if groups:
            widths = [max(columns(group[index]) for group in groups) for index in range(1, 4)]
            for group in groups:
                cells = [pad(cell, width) for cell, width in zip(group[1:4], widths, strict=True)]
                yield f"  {group.sign} {'  '.join(cells)}  {group.note}".rstrip()
        for wait in self._questions:
            yield from question(self._terminal, wait)

    def _sign(self, status: str) -> str:
        if status in (Status.RUNNING, "running"):
            return self._terminal.paint(_SPINNER[self._frame % len(_SPINNER)], "cyan")
        sign, colour = SIGNS.get(status, ("◌", "blue"))
        return self._terminal.paint(sign, colour)

    def _group(self, calls: Sequence[CheckpointCall]) -> _Line:
        states = [state(call) for call in calls]
        status = next((one for one in ("running", "waiting", "failed", "timed_out") if one in states), states[-1])
        last = calls[-1]
        name = printable(last.name if len(calls) > 1 else last.call_id)
        began = min(call.started_at for call in calls)
        over = [call.ended_at for call in calls if call.ended_at is not None]
        ended = max(over) if len(over) == len(calls) else datetime.now(UTC)
        note = self._counts(calls, states) if len(calls) > 1 else self._note(last)
        span = ended - began
        took = words.duration(span) if len(over) == len(calls) else words.so_far(span)
        return _Line(self._sign(status), name, label(self._terminal, last), took, note)

    def _counts(self, calls: Sequence[CheckpointCall], states: Sequence[str]) -> str:
        done = sum(one in ("completed", "reused") for one in states)
        drawn = bar(done, len(calls))
        filled = self._terminal.paint(drawn, "green") + self._terminal.paint("░" * (BAR - len(drawn)), "dim")
        kinds = [(word, states.count(word)) for word in ("running", "failed", "timed_out", "cancelled", "reused")]
        rest = "  ".join(f"{number:,} {words.status(self._terminal, word)}" for word, number in kinds if number)
        return f"{filled} {done:,}/{len(calls):,}  {rest}".rstrip()

    def _note(self, call: CheckpointCall) -> str:
        if call.kind is CallKind.SLEEP and call.ended_at is None:
            return ""
        failed = [attempt.failure for attempt in call.attempts if attempt.failure is not None]
        notes = [self._progress.get(call.call_id, "") if call.ended_at is None else ""]
        if failed and call.ended_at is None:
            notes.append(self._terminal.paint(f"attempt {len(failed) + 1}, after {told(failed[-1])}", "yellow"))
        elif call.failure is not None:
            notes.append(self._terminal.paint(told(call.failure), "red"))
        return "  ".join(note for note in notes if note)


def _by_name(calls: Sequence[CheckpointCall]) -> list[list[CheckpointCall]]:
    groups: dict[str, list[CheckpointCall]] = {}
    for call in calls:
        groups.setdefault(call.name, []).append(call)
    return list(groups.values())


def _uncoloured(line: str) -> str:
    return printable(line)
