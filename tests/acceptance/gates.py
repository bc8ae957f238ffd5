"""Ways to hold code at a line, and to wait for what another thread or process does. Nothing here sleeps blindly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds after which a test gives up: it is reached only where something hangs."""


class Gate:
    """Holds whoever passes, until the test opens it."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._open = threading.Event()

    def pass_(self) -> None:
        """Say that this line is reached, and go on once the gate is open."""
        self._reached.set()
        assert self._open.wait(PATIENCE), "the test never opened the gate"

    @property
    def was_reached(self) -> bool:
        return self._reached.is_set()

    def await_reached(self) -> None:
        assert self._reached.wait(PATIENCE), "nobody came to the gate"

    def open(self) -> None:
        self._open.set()


def until(reached: Callable[[], T]) -> T:
    """Ask until the answer is true, and return it."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        answer = reached()
        if answer:
            return answer
        time.sleep(0.01)
    raise AssertionError("it has not come to be")
