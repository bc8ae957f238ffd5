"""The end of a process that runs flows in threads (S1.6)."""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # imported first: see at_process_end
import threading
from collections.abc import Callable

assert concurrent.futures.thread


def at_process_end(drain: Callable[[], None]) -> None:
    """Have ``drain`` called when the main thread has ended and other threads can still work.

    ``atexit`` is too late: by then ``concurrent.futures`` takes no more work, so a flow that uses a
    thread pool, or ``asyncio.to_thread``, would break at the end of every script. The hook that
    ``concurrent.futures`` itself uses calls the last one registered first, hence the import above.
    Rejected: threads that are not daemons, because Ctrl-C could then not end a process that waits for
    its flows (they are durable: whoever stops them here can resume them).
    """
    register: Callable[[Callable[[], None]], object] = getattr(threading, "_register_atexit", atexit.register)
    register(drain)
