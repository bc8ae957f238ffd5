"""A page of executions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from kitaru.core.execution import Execution


@dataclass(frozen=True, slots=True)
class Page(Sequence[Execution]):
    """A page of executions. ``next`` is the ``after`` of the following page; None on the last."""

    items: tuple[Execution, ...]
    next: str | None

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> Execution: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Execution, ...]: ...
    def __getitem__(self, index: int | slice) -> Execution | tuple[Execution, ...]:
        return self.items[index]

    def __iter__(self) -> Iterator[Execution]:
        return iter(self.items)
