"""The only source of time in Kitaru, so that tests can drive it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

Microseconds = int
"""A point in time: microseconds since 1970-01-01 UTC. Integers compare and sort alike in every database."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# CLOCK_BOOTTIME goes on while the machine sleeps, so a lease is not thought alive after a night in a bag.
_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)


class Clock(Protocol):
    """Tells the time and lets it pass."""

    def now(self) -> Microseconds:
        """The wall clock."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back, for measuring how long something has taken."""
        ...

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Block the calling thread until the event is set (True) or the time has passed (False)."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let the time pass in a coroutine."""
        ...

    def idle_until(self, at: Microseconds) -> None:
        """Told that an execution has nothing to do before then. A clock for tests may skip the time."""
        ...


class SystemClock:
    """The clock of the machine."""

    def idle_until(self, at: Microseconds) -> None:
        """The time passes by itself."""

    def now(self) -> Microseconds:
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        return time.monotonic() if _BOOTTIME is None else time.clock_gettime(_BOOTTIME)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return event.wait(seconds)

    async def sleep(self, seconds: float) -> None:
        # Imported here and not above: asyncio takes 30 ms, and only async flows come this way.
        import asyncio  # noqa: PLC0415

        await asyncio.sleep(seconds)


class StoreClock:
    """A machine's clock whose time of day is the store's (S6.2).

    Timers and expiries are judged by the database's clock, and records of several machines are compared. So a
    machine whose clock is wrong shifts none, and durations are still its own.
    """

    def __init__(self, machine: Clock, now: Callable[[], Microseconds]) -> None:
        self.now = now
        self.monotonic = machine.monotonic
        self.wait = machine.wait
        self.sleep = machine.sleep
        self.idle_until = machine.idle_until


def to_datetime(at: Microseconds) -> datetime:
    """The same point in time as an aware ``datetime`` in UTC."""
    return _EPOCH + timedelta(microseconds=at)


def to_microseconds(at: datetime) -> Microseconds:
    """The same point in time as an integer; ``at`` must be aware."""
    return (at - _EPOCH) // timedelta(microseconds=1)
