"""What tests of flows and of Kitaru itself can use in place of the real surroundings."""

from __future__ import annotations

from kitaru.testing.memory import memory_store

__all__ = ["memory_store"]
