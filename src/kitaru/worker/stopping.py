"""What a process does that is asked to end (SIGTERM), once and again."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType


def on_termination(end: Callable[[], None], *, signals: tuple[signal.Signals, ...] = (signal.SIGTERM,)) -> None:
    """Call ``end`` in a thread of its own at the first of these signals; the second ends the process at once.

    In a thread, because a signal's handler interrupts the main thread wherever it is: inside a lock, perhaps.
    """
    asked = threading.Event()

    def handle(number: int, _: FrameType | None) -> None:
        if asked.is_set():
            os._exit(128 + number)
        asked.set()
        threading.Thread(target=end, name="kitaru-end", daemon=True).start()

    for one in signals:
        signal.signal(one, handle)
