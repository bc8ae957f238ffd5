"""When a failed attempt is tried again, and after how long."""

from __future__ import annotations

import math
from dataclasses import dataclass
from threading import TIMEOUT_MAX
from typing import TypeGuard

from kitaru.errors import KitaruUsageError


def check_retries(retries: object, owner: str) -> int:
    """Return ``retries`` where it is a count, else raise ``KitaruUsageError`` naming ``owner`` (S2.4)."""
    if not _is_count(retries) or retries < 0:
        raise KitaruUsageError(f"{owner}: retries={retries!r} must be a whole number, 0 or more.")
    return retries


def _is_count(value: object) -> TypeGuard[int]:
    """False for what callers without a type checker pass: True, 1.0, "3"."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[float]:
    """True for a number that was meant as one; True and "5" were not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _are_exceptions(value: object) -> bool:
    types: tuple[object, ...] = value if isinstance(value, tuple) else (value,)  # pyright: ignore[reportUnknownVariableType]  # looked at one by one
    return all(isinstance(one, type) and issubclass(one, Exception) for one in types)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """The full retry policy of a checkpoint (S2.4).

    Attributes:
        attempts: Attempts in all, the first included; at least 1.
        delay: Seconds before the second attempt.
        backoff: Factor by which the delay grows with each further attempt; at least 1.
        jitter: Part of the delay, 0 to 1, that is drawn at random, so that many clients do not
            return at the same moment.
        max_delay: Upper bound of one delay in seconds; None for none.
        retry_on: Only these exception types are tried again. Default: every ``Exception``.
        give_up_on: These are never tried again, even where ``retry_on`` names a base of theirs.

    Raises:
        KitaruUsageError: A field is out of its range.
    """

    attempts: int = 3
    delay: float = 0.0
    backoff: float = 2.0
    jitter: float = 0.0
    max_delay: float | None = None
    retry_on: tuple[type[Exception], ...] | type[Exception] = Exception
    give_up_on: tuple[type[Exception], ...] | type[Exception] = ()

    def __post_init__(self) -> None:
        if not _is_count(self.attempts) or self.attempts < 1:
            raise KitaruUsageError(
                f"Retry(attempts={self.attempts!r}): a whole number, 1 or more (the first attempt counts)."
            )
        if not is_number(self.delay) or self.delay < 0:
            raise KitaruUsageError(f"Retry(delay={self.delay!r}): seconds, 0 or more.")
        if not is_number(self.backoff) or self.backoff < 1:
            raise KitaruUsageError(f"Retry(backoff={self.backoff!r}): 1 or more.")
        if not is_number(self.jitter) or not 0 <= self.jitter <= 1:
            raise KitaruUsageError(f"Retry(jitter={self.jitter!r}): between 0 and 1.")
        if self.max_delay is not None and (not is_number(self.max_delay) or self.max_delay < 0):
            raise KitaruUsageError(f"Retry(max_delay={self.max_delay!r}): seconds, 0 or more, or None.")
        for name in ("retry_on", "give_up_on"):
            if not _are_exceptions(getattr(self, name)):
                raise KitaruUsageError(
                    f"Retry({name}={getattr(self, name)!r}): an exception type, or a tuple of them, is expected."
                )

    def wants(self, error: Exception, attempt: int) -> bool:
        """True where another attempt follows attempt number ``attempt`` (from 1) that ended in ``error``."""
        return attempt < self.attempts and isinstance(error, self.retry_on) and not isinstance(error, self.give_up_on)

    def pause(self, attempt: int, chance: float) -> float:
        """Seconds between attempt number ``attempt`` and the next; ``chance`` is a random number in [0, 1)."""
        if self.delay == 0:
            return 0.0
        try:
            full = self.delay * self.backoff ** (attempt - 1)
        except OverflowError:  # after a thousand attempts that double
            full = math.inf
        full = min(full, TIMEOUT_MAX)  # what a thread can wait in one go: 292 years on most systems
        if self.max_delay is not None:
            full = min(full, self.max_delay)
        return full * (1 - self.jitter * chance)
