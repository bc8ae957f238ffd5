"""A question to a person (S5), as surfaces show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kitaru.core.states import WaitStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """A wait of an execution.

    Attributes:
        exec_id: The execution.
        wait_id: What to answer: the wait's name, with a number from its second time on.
        question: What to show.
        schema: JSON schema of the answer; None for a gate that is continued or aborted.
        expires_at: When its default becomes the answer.
        answered_by: Who answered; ``answered_via`` through what.
    """

    exec_id: str
    wait_id: str
    name: str
    status: WaitStatus
    question: str | None
    schema: Mapping[str, Any] | None
    metadata: Mapping[str, Any] | None
    opened_at: datetime
    expires_at: datetime | None
    answered_at: datetime | None
    answered_by: str | None
    answered_via: str | None
