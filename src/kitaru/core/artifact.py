"""A value that was saved under a name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """What ``kitaru.save`` kept (S7.3).

    Attributes:
        exec_id: The execution.
        name: The name it was saved under; unique within the execution.
        call_id: The call that saved it; None for the flow's body.
    """

    exec_id: str
    name: str
    call_id: str | None
    created_at: datetime
    load: Callable[[], Any] = field(repr=False, compare=False)
    """Reads and decodes the value."""
