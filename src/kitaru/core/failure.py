"""What is kept of an exception."""

from __future__ import annotations

from dataclasses import dataclass

from kitaru.errors import FailureOrigin


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a call, an attempt or an execution failed.

    Attributes:
        type: The exception's class, as ``module:QualifiedName``.
        message: ``str(exception)``.
        origin: Where it was raised (S9).
        traceback: The formatted traceback, cut to the user's own frames; None where there is none.
        exception: The exception as the values codec wrote it, so that it can be raised again (S2.5);
            None where it could not be carried.
    """

    type: str
    message: str
    origin: FailureOrigin
    traceback: str | None = None
    exception: str | None = None
