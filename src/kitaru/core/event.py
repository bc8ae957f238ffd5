"""What happened in an execution, for people and programs that follow along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class EventKind(StrEnum):
    """What an event tells. In brackets: the keys of its ``detail``.

    An execution: ``CREATED``; ``PENDING`` handed back; ``RUNNING`` claimed (``runner``, ``attempt``);
    ``RETRIED`` its body runs again (``attempt``); ``WAITING``; ``COMPLETED``; ``FAILED`` (``type``,
    ``message``, ``origin``); ``CANCELLED``.

    A call: ``CALL_STARTED`` for calls that last (``attempt``); ``ATTEMPT_FAILED`` (``attempt``, ``type``,
    ``message``, ``origin``), without a call id for a run of the body; ``CALL_COMPLETED``; ``CALL_REUSED``
    its result came from another execution (``exec_id``, ``call_id``); ``CALL_FAILED`` (as ``FAILED``);
    ``CALL_CANCELLED``; ``ANSWER_REFUSED`` a wait is open again (``message``).

    ``PROGRESS`` (``message``, ``percent``) is what ``kitaru.progress`` told.
    """

    CREATED = "execution.created"
    PENDING = "execution.pending"
    RUNNING = "execution.running"
    RETRIED = "execution.retried"
    WAITING = "execution.waiting"
    COMPLETED = "execution.completed"
    FAILED = "execution.failed"
    CANCELLED = "execution.cancelled"
    CALL_STARTED = "call.started"
    ATTEMPT_FAILED = "attempt.failed"
    CALL_COMPLETED = "call.completed"
    CALL_REUSED = "call.reused"
    CALL_FAILED = "call.failed"
    CALL_CANCELLED = "call.cancelled"
    ANSWER_REFUSED = "answer.refused"
    PROGRESS = "progress"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened, recorded together with it: none is without the other (S7.1).

    Attributes:
        event_id: Grows within an execution; ``after=`` goes on behind it.
        call_id: The call; None for the execution itself and for its body.
        detail: What belongs to the kind; see ``EventKind``.
    """

    event_id: int
    exec_id: str
    call_id: str | None
    at: datetime
    kind: EventKind
    detail: Mapping[str, Any]
