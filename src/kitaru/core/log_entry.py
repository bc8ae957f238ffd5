"""A line that user code printed or logged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """A printed line, or a record of ``logging``, kept with the checkpoint that wrote it (S7.3).

    Attributes:
        log_id: Grows within an execution; ``after=`` goes on behind it.
        call_id: The call that wrote it; None for the flow's body.
        attempt: The attempt of the call, or the run of the body; from 1.
        level: ``stdout`` or ``stderr`` for what was printed, else the level's name: ``INFO``, ``WARNING`` ...
        logger: The logger's name; None for what was printed.
        message: A printed line without its end, or a whole log message, traceback included.
    """

    log_id: int
    exec_id: str
    call_id: str | None
    attempt: int
    at: datetime
    level: str
    logger: str | None
    message: str
