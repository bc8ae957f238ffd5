"""The calls of an execution as a tree, with a bar per duration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from kitaru.cli import words
from kitaru.cli.terminal import Terminal, columns, cut, pad, printable
from kitaru.client.client import KitaruClient
from kitaru.core.execution import CheckpointCall, Execution
from kitaru.core.states import CallKind, CallStatus
from kitaru.errors import KitaruNotFoundError

BAR = 20
_LEAST_BAR = 6
_BESIDE_BAR = 28
"""Columns for what separates the others, and for a note."""
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_MANY = 12
_FIRST = 3
_MOST_DEEP = 5

SIGNS = {
    "completed": ("✓", "green"),
    "reused": ("↺", "cyan"),
    "failed": ("✗", "red"),
    "timed_out": ("✗", "red"),
    "running": ("◷", "cyan"),
    "waiting": ("‖", "yellow"),
    "cancelled": ("◌", "dim"),
}
_LABELS = {"llm_call": ("✦ llm", "magenta"), "tool_call": ("⚙ tool", "blue")}
_KINDS = {CallKind.FLOW: "flow", CallKind.VALUE: "value", CallKind.WAIT: "wait", CallKind.SLEEP: "timer"}
_NO_WORK = (CallKind.WAIT, CallKind.SLEEP)

Child = Callable[[str], Execution | None]
"""Finds a child execution by its id."""


def children_of(client: KitaruClient) -> Child:
    """How a client finds one."""

    def found(exec_id: str) -> Execution | None:
        try:
            return client.executions.get(exec_id)
        except KitaruNotFoundError:
            return None  # deleted: its parent is shown without it

    return found


class _Row(NamedTuple):
    """A line: its branch, sign and name, what kind it is, how long it took, what is to say, and its bar."""

    name: str
    label: str
    duration: str
    note: str
    seconds: float = 0.0
    colour: str = ""


def tree(terminal: Terminal, execution: Execution, child: Child, *, every: bool) -> Iterator[str]:
    """The calls of an execution and of its children, a line each.

    Args:
        terminal: Where they are shown.
        execution: The execution.
        child: Finds the child of a flow call.
        every: Show all calls of a large fan-out too.
    """
    calls = list(_deep(execution, child, 0))
    longest = max((_seconds(call) for call, _ in calls if call.kind not in _NO_WORK), default=0.0)
    rows = list(_rows(terminal, execution, child, every=every, prefix="", depth=0))
    if not rows:
        return
    widths = [max(columns(row[index]) for row in rows) for index in range(3)]  # pyright: ignore[reportArgumentType]  # the first three are text
    size = max(_LEAST_BAR, min(BAR, terminal.width - sum(widths) - _BESIDE_BAR))
    for row in rows:
        drawn = terminal.paint(bar(row.seconds, longest, size), row.colour) if row.colour else ""
        left = f"  {pad(row.name, widths[0])}  {pad(row.label, widths[1])}"
        left += f"  {' ' * (widths[2] - columns(row.duration))}{row.duration}  {pad(drawn, size)}"
        room = terminal.width - columns(left) - 2
        note = row.note if not terminal.is_terminal else cut(row.note, max(room, 20))
        yield f"{left}  {_painted(terminal, note)}".rstrip()


def _painted(terminal: Terminal, note: str) -> str:
    return terminal.paint(note, "dim")


def _deep(execution: Execution, child: Child, depth: int) -> Iterator[tuple[CheckpointCall, int]]:
    for call in execution.checkpoints:
        yield call, depth
        inner = _child_of(call, child, depth)
        if inner is not None:
            yield from _deep(inner, child, depth + 1)


def _child_of(call: CheckpointCall, child: Child, depth: int) -> Execution | None:
    return child(call.child_exec_id) if call.child_exec_id and depth < _MOST_DEEP else None


def _rows(
    terminal: Terminal, execution: Execution, child: Child, *, every: bool, prefix: str, depth: int
) -> Iterator[_Row]:
    groups = [(name, list(calls)) for name, calls in groupby(execution.checkpoints, lambda call: call.name)]
    for place, (name, calls) in enumerate(groups):
        is_last_group = place == len(groups) - 1
        shown = calls if every or len(calls) <= _MANY else _chosen(calls)
        left_out = len(calls) - len(shown)
        for index, call in enumerate(shown):
            is_last = is_last_group and index == len(shown) - 1 and not left_out
            branch, below = ("", "") if depth == 0 else (("└ ", "  ") if is_last else ("├ ", "│ "))
            yield _row(terminal, call, f"{prefix}{branch}")
            yield from _attempts(terminal, call, prefix + below)
            inner = _child_of(call, child, depth)
            if inner is not None:
                deeper = f"{prefix}{below}" if depth else "  "
                yield from _rows(terminal, inner, child, every=every, prefix=deeper, depth=depth + 1)
        if left_out:
            rest = [call for call in calls if call not in shown]
            yield _Row(f"{prefix}… {left_out:,} more {name}", "", "", f"{_counts(rest)}; --all shows them")


def _chosen(calls: Sequence[CheckpointCall]) -> list[CheckpointCall]:
    """The first ones, and what is not simply done."""
    unusual = [call for call in calls[_FIRST:] if call.status is not CallStatus.COMPLETED]
    return [*calls[:_FIRST], *unusual[:_MANY]]


def _counts(calls: Iterable[CheckpointCall]) -> str:
    return ", ".join(f"{number:,} {status}" for status, number in Counter(state(call) for call in calls).items())


def _row(terminal: Terminal, call: CheckpointCall, branch: str) -> _Row:
    sign, colour = SIGNS[state(call)]
    return _Row(
        f"{terminal.paint(branch, 'dim')}{terminal.paint(sign, colour)} {printable(call.call_id)}",
        label(terminal, call),
        words.duration(call.duration) if call.duration is not None else "",
        _note(call),
        _seconds(call),
        "dim" if call.kind in _NO_WORK else colour,
    )


def _attempts(terminal: Terminal, call: CheckpointCall, prefix: str) -> Iterator[_Row]:
    failed = [attempt for attempt in call.attempts if attempt.failure is not None]
    if len(call.attempts) < 2:
        return
    for attempt in failed:
        assert attempt.failure is not None
        span = None if attempt.ended_at is None else attempt.ended_at - attempt.started_at
        name = terminal.paint(f"{prefix}  attempt {attempt.number}", "dim")
        yield _Row(name, terminal.paint("failed", "red"), words.duration(span), told(attempt.failure))


def state(call: CheckpointCall) -> str:
    """The status of a call as it is shown: an open wait waits, a reused result is reused."""
    if call.cached_from is not None and call.status is CallStatus.COMPLETED:
        return "reused"
    if call.status is CallStatus.RUNNING and call.kind in _NO_WORK:
        return "waiting"
    return call.status.value


def label(terminal: Terminal, call: CheckpointCall) -> str:
    """What kind of call it is; model and tool calls stand out (S2.7)."""
    if call.type in _LABELS:
        text, colour = _LABELS[call.type]
        return terminal.paint(text, colour)
    return terminal.paint(printable(call.type or _KINDS.get(call.kind, "")), "dim")


def bar(seconds: float, longest: float, size: int = BAR) -> str:
    """A bar in proportion; the smallest one for what took hardly any time."""
    if seconds <= 0 or longest <= 0:
        return ""
    eighths = max(1, round(min(1.0, seconds / longest) * size * 8))
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def told(failure: object) -> str:
    """A failure on one line: ``ValueError: what it says``."""
    return words.failure(getattr(failure, "type", ""), getattr(failure, "message", ""))


def _seconds(call: CheckpointCall) -> float:
    return 0.0 if call.duration is None else call.duration.total_seconds()


def _note(call: CheckpointCall) -> str:
    notes: list[str] = []
    if call.failure is not None and call.status is not CallStatus.COMPLETED:
        notes.append(told(call.failure))
    if call.cached_from is not None:
        notes.append(f"from {call.cached_from}")
    if call.child_exec_id is not None:
        notes.append(call.child_exec_id)
    tries = len(call.attempts)
    if tries > 1 and call.status is CallStatus.COMPLETED:
        notes.append(f"at attempt {tries}")
    notes += [f"{printable(key)}={words.value(_short(value), 40)}" for key, value in call.metadata.items()]
    return " · ".join(notes)


def _short(value: object) -> object:
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)
