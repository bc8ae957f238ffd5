"""A store without a disk."""

from __future__ import annotations

from kitaru.core.clock import Clock, SystemClock
from kitaru.core.ports import Store
from kitaru.store import open_store


def memory_store(clock: Clock | None = None) -> Store:
    """A new, empty store in memory: SQLite as on disk, with the same SQL. It ends with its process.

    Args:
        clock: The time by which leases are judged; default: the machine's clock.
    """
    return open_store("sqlite://", clock or SystemClock())
