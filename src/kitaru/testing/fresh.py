"""A Kitaru of its own for a test."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from kitaru.client.client import KitaruClient
from kitaru.core.clock import Clock
from kitaru.core.ports import Store
from kitaru.services import wiring as process
from kitaru.services.settings import read_settings
from kitaru.services.wiring import Wiring
from kitaru.testing.clock import SkippingClock
from kitaru.testing.memory import memory_store

TEN_YEARS = 315_360_000.0
"""Seconds of a lease that no skipped time ends: this process is the only one that can have a store in memory."""


@contextmanager
def fresh_kitaru(*, clock: Clock | None = None) -> Generator[KitaruClient]:
    """In the block this process has a new, empty Kitaru in memory: what is run leaves nothing behind.

    Not to be nested. Executions that run elsewhere in this process are stopped when the block begins, and
    those of the block when it ends. Settings of ``kitaru.configure`` stay in force, but for store and artifacts.

    Args:
        clock: The time. Default: a ``SkippingClock``, so that no timer is waited for.

    Yields:
        A client, to look at the executions of the block.
    """
    with tempfile.TemporaryDirectory(prefix="kitaru-") as artifacts:
        used = clock or SkippingClock()
        store = memory_store(used)
        install_store(store, used, artifacts)
        try:
            yield KitaruClient()
        finally:
            leave()
            store.close()


def install_store(store: Store, clock: Clock, artifacts: str) -> Wiring:
    """Let this process begin anew on a store."""
    settings = replace(read_settings(process.overrides), home=Path(artifacts), store="sqlite://", artifacts=artifacts)
    new = Wiring(settings, store=store, clock=clock, lease_seconds=TEN_YEARS)
    process.install(new)
    return new


def leave() -> None:
    """Stop what runs. What ``kitaru.configure`` had set is in force again."""
    configured = dict(process.overrides)
    process.reset()
    process.configure(configured)
