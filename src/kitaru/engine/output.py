"""What one attempt, or one run of a body, prints, logs and tells of its progress."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from io import StringIO
from typing import TYPE_CHECKING

from kitaru.core.clock import Clock
from kitaru.core.mutations import LinesPrinted, Mutation, ProgressMade
from kitaru.core.redaction import redact
from kitaru.core.rows import LogRow

if TYPE_CHECKING:
    from kitaru.engine.call import CallScope
    from kitaru.engine.run import Run

MOST_KEPT = 1 << 20
"""Characters that are kept of one attempt, so that a loop that prints fills neither memory nor disk."""

ROW_COST = 50
"""What a line counts for beside its characters: a million empty lines would be a million rows."""

_making = threading.RLock()
"""Two threads of one attempt may print their first line at once. Reentrant for the reason given below."""

_FULL = f"This attempt has printed more than {MOST_KEPT >> 20} MiB; what follows is not kept."


class Output:
    """Lines that wait to be written, and the last word on progress. Filled and emptied from any thread.

    Everything but the names is guarded by ``_lock``.
    """

    __slots__ = ("_clock", "_closed", "_left", "_lock", "_progress", "_rows", "_unfinished", "attempt", "call_id")

    def __init__(self, clock: Clock, call_id: str, attempt: int) -> None:
        self.call_id = call_id
        self.attempt = attempt
        self._clock = clock
        # Reentrant: the collector may run a __del__ of user code, which prints, while this thread holds it.
        self._lock = threading.RLock()
        self._rows: list[LogRow] = []
        self._unfinished: dict[str, StringIO] = {}  # by level; not a str: a line may come by the character
        self._progress: ProgressMade | None = None
        self._left = MOST_KEPT
        self._closed = False

    def printed(self, level: str, text: str) -> None:
        """Text was written to a stream; it becomes one entry per line."""
        with self._lock:
            if self._closed or not self._left:
                return
            line = self._unfinished.get(level)
            if line is None:
                line = self._unfinished[level] = StringIO()
            if text.startswith("\r") and text.strip("\r\n"):
                line.seek(line.truncate(0))  # a progress bar draws its line anew: kept is what stays visible
            *ended, rest = text[: self._left + 1].split("\n")
            for part in ended:
                line.write(part)
                self._end_line(level, line)
            line.write(rest)
            if line.tell() > self._left:
                self._end_line(level, line)

    def logged(self, level: str, logger: str, message: str) -> None:
        """A record of ``logging``."""
        with self._lock:
            if not self._closed:
                self._add(level, logger, message)

    def told(self, progress: ProgressMade) -> None:
        """Progress; of several between two flushes the last one is kept."""
        with self._lock:
            if not self._closed:
                message = progress.message
                self._progress = progress._replace(message=None if message is None else redact(message))

    def received(self, rows: Iterable[LogRow], progress: ProgressMade | None) -> None:
        """What an attempt in a child process has said; its lines are counted there."""
        with self._lock:
            if not self._closed:
                self._rows.extend(rows)
                self._progress = progress or self._progress

    def take(self, *, last: bool) -> tuple[list[LogRow], ProgressMade | None]:
        """What has not been taken yet. The ``last`` time unfinished lines are taken too, and it ends."""
        with self._lock:
            if last:
                for level, line in self._unfinished.items():
                    if line.tell():
                        self._end_line(level, line)
                self._closed = True
            rows, self._rows = self._rows, []
            progress, self._progress = self._progress, None
        return rows, progress

    def _end_line(self, level: str, line: StringIO) -> None:
        text = line.getvalue().rstrip("\r")
        line.seek(line.truncate(0))
        self._add(level, None, text.rpartition("\r")[2])

    def _add(self, level: str, logger: str | None, message: str) -> None:
        if not self._left:
            return
        cost = len(message) + ROW_COST
        if cost <= self._left:
            self._left -= cost
            self._rows.append(self._row(level, logger, message))
            return
        self._rows.append(self._row(level, logger, message[: max(self._left - ROW_COST, 0)]))
        self._rows.append(self._row("WARNING", "kitaru", _FULL))
        self._left = 0

    def _row(self, level: str, logger: str | None, message: str) -> LogRow:
        return LogRow(self.call_id, self.attempt, self._clock.now(), level, logger, redact(message))


def output_of(scope: Run | CallScope) -> Output | None:
    """The output of a body or an attempt, made when it first says something; None where it has ended."""
    output = scope.output
    if output is None and not scope.closed:
        run = scope.run
        with _making:
            output = scope.output
            if output is None:
                output = scope.output = Output(run.clock, scope.call_id, scope.attempt)
                run.outputs.add(output)
    return output


def taken(outputs: Iterable[Output], *, last: bool) -> list[Mutation]:
    """What several outputs have to have written, the lines in the order of time."""
    rows: list[LogRow] = []
    mutations: list[Mutation] = []
    for output in outputs:
        lines, progress = output.take(last=last)
        rows += lines
        if progress is not None:
            mutations.append(progress)
    if rows:
        rows.sort(key=lambda row: row.at)
        mutations.append(LinesPrinted(tuple(rows)))
    return mutations
