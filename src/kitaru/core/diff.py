"""How two executions of one flow differ (S6.6)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from kitaru.core.execution import CheckpointCall, Execution
from kitaru.core.table import table

_SHOWN = 60


class Change(StrEnum):
    """What became of a call, from the first execution to the second.

    ``reused`` and ``same`` are equal in all that is compared; a reused call did not run in the second.
    """

    REUSED = "reused"
    SAME = "same"
    CHANGED = "changed"
    ADDED = "added"
    REMOVED = "removed"


class Figure(NamedTuple):
    """A number on both sides; None where that side has none."""

    before: float | None
    after: float | None

    @property
    def difference(self) -> float | None:
        """By how much it grew."""
        return None if self.before is None or self.after is None else self.after - self.before


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueDiff:
    """A value that is not the same on both sides, as it is stored (JSON).

    Attributes:
        name: The parameter; ``output`` and ``result`` for what was returned.
        before: Its text in the first execution; None where it is absent. A failure is its type and message.
        after: Its text in the second, likewise.
    """

    name: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        return f"{self.name}: {_short(self.before)} -> {_short(self.after)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallDiff:
    """One call on both sides.

    Attributes:
        call_id: Its id in the second execution; of a removed call, that in the first.
        name: What was called.
        change: What became of it.
        differs: Which of ``inputs``, ``output``, ``status`` and ``code`` are not the same.
        before: The call in the first execution, with its values; None for an added one.
        after: The call in the second; None for a removed one.
        inputs: The inputs that are not the same.
        output: The output, where it is not the same.
        duration: Seconds that its last attempt took.
        cost: Sum of the numeric metadata whose keys contain ``cost``.
        numbers: The other numeric metadata, by key.
    """

    call_id: str
    name: str
    change: Change
    differs: tuple[str, ...]
    before: CheckpointCall | None
    after: CheckpointCall | None
    inputs: tuple[ValueDiff, ...]
    output: ValueDiff | None
    duration: Figure
    cost: Figure
    numbers: Mapping[str, Figure]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionDiff:
    """Two executions of one flow, call by call; ``print`` shows it as a table.

    Attributes:
        flow: The flow.
        before: The first execution.
        after: The second.
        inputs: The flow's inputs that are not the same.
        result: The result, where it is not the same.
        duration: Seconds from the start to the end.
        cost: Sum over the calls and the body, see ``CallDiff``.
        numbers: The same of the other numeric metadata.
        calls: In the order of the second execution; a removed one stands where it was in the first.
    """

    flow: str
    before: Execution
    after: Execution
    inputs: tuple[ValueDiff, ...]
    result: ValueDiff | None
    duration: Figure
    cost: Figure
    numbers: Mapping[str, Figure]
    calls: tuple[CallDiff, ...]

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"flow {self.flow}: {self.before.exec_id} -> {self.after.exec_id}"
        yield f"status: {self.before.status} -> {self.after.status}"
        yield f"duration: {_seconds(self.duration)}"
        for name, figure in _named(self.cost, self.numbers):
            yield f"{name}: {_plain(figure)}"
        yield from (f"input {diff}" for diff in self.inputs)
        if self.result is not None:
            yield str(self.result)
        if self.calls:
            yield table([("change", "call", "differs", "duration", "numbers"), *map(_row, self.calls)])
        for call in self.calls:
            for diff in (*call.inputs, *((call.output,) if call.output else ())):
                yield f"{call.call_id} {diff}"


def _row(call: CallDiff) -> tuple[str, ...]:
    numbers = ", ".join(f"{name} {_plain(figure)}" for name, figure in _named(call.cost, call.numbers))
    return call.change.value, call.call_id, ", ".join(call.differs), _seconds(call.duration), numbers


def _named(cost: Figure, numbers: Mapping[str, Figure]) -> Iterable[tuple[str, Figure]]:
    return [("cost", cost), *numbers.items()] if any(side is not None for side in cost) else numbers.items()


def _seconds(figure: Figure) -> str:
    return " -> ".join("-" if side is None else f"{side:.3f} s" for side in figure)


def _plain(figure: Figure) -> str:
    return " -> ".join("-" if side is None else f"{side:g}" for side in figure)


def _short(text: str | None) -> str:
    if text is None:
        return "-"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"
