"""What is in force."""

from __future__ import annotations

from kitaru.client.client import KitaruClient
from kitaru.core.info import Info


def info() -> Info:
    """Every setting in force in this process, secrets masked, and the layer that each comes from (S1.8).

    Raises:
        KitaruUsageError: A layer holds a wrong value.
    """
    return KitaruClient().info()
