"""What was measured, and the table of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Target:
    """A bound for the measured figure, or for its ratio to the limit."""

    of: Literal["figure", "ratio"]
    relation: Literal["<=", ">="]
    bound: float

    def met(self, figure: float, ratio: float | None) -> bool:
        value = figure if self.of == "figure" or ratio is None else ratio
        return value <= self.bound if self.relation == "<=" else value >= self.bound


@dataclass(frozen=True)
class Row:
    """One line of the table. ``limit`` is in the unit of ``figure`` and was measured in the same run.

    ``peer_key`` is the name under which a peer's script reports the same workload.
    """

    workload: str
    figure: float
    unit: str
    target: Target | None = None
    limit: float | None = None
    limit_name: str = ""
    peer_key: str = ""

    @property
    def ratio(self) -> float | None:
        return None if self.limit is None else self.figure / self.limit


def table(rows: Iterable[Row], peer: str, peer_figures: Mapping[str, float]) -> str:
    """The rows as a Markdown table, with a column for the peer where there is one."""
    heads = ["Workload", "Measured", "Limit, same run", "Ratio", "Target", "Met", *([peer] if peer else [])]
    lines = [heads, ["---"] * len(heads)]
    for row in rows:
        cells = [
            row.workload,
            _shown(row.figure, row.unit),
            "" if row.limit is None else f"{_shown(row.limit, row.unit)} ({row.limit_name})",
            "" if row.ratio is None else f"{row.ratio:.2f} x",
            "" if row.target is None else _bound(row.target, row.unit),
            "" if row.target is None else "yes" if row.target.met(row.figure, row.ratio) else "NO",
        ]
        if peer:
            figure = peer_figures.get(row.peer_key)
            cells.append("" if figure is None else _shown(figure, row.unit))
        lines.append(cells)
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "\n".join(_line(line, widths) for line in lines)


def _line(cells: list[str], widths: list[int]) -> str:
    padded = (cell.ljust(width, "-" if cell == "---" else " ") for cell, width in zip(cells, widths, strict=True))
    return f"| {' | '.join(padded)} |"


def _bound(target: Target, unit: str) -> str:
    return f"{target.relation} {_shown(target.bound, 'x' if target.of == 'ratio' else unit)}"


def _shown(figure: float, unit: str) -> str:
    digits = 0 if figure >= 100 else 1 if figure >= 10 else 2 if figure >= 1 else 3
    return f"{figure:,.{digits}f} {unit}"
