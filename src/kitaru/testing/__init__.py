"""What tests of flows and of Kitaru itself can use in place of the real surroundings."""

from __future__ import annotations

from kitaru.testing.answers import answer_waits
from kitaru.testing.clock import SkippingClock
from kitaru.testing.crashes import Effects, crash_everywhere
from kitaru.testing.fresh import fresh_kitaru
from kitaru.testing.memory import memory_store

__all__ = ["Effects", "SkippingClock", "answer_waits", "crash_everywhere", "fresh_kitaru", "memory_store"]
