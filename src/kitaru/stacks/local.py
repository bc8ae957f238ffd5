"""The kind ``local``: threads of the process that starts an execution; and how such a process ends (S1.6)."""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # imported first: see at_process_end
import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Literal

from kitaru.core.ports import StackHost
from kitaru.core.rows import ExecutionRow
from kitaru.core.stack import Stack
from kitaru.stacks.kinds import check_options

assert concurrent.futures.thread

_log = logging.getLogger("kitaru")
_interrupted = False  # owned by the main thread, which alone gets KeyboardInterrupt


class LocalKind:
    """See ``StackKind``. It has no options."""

    place: Literal["thread", "process", "worker"] = "thread"

    def check(self, stack: Stack) -> None:
        check_options(stack, {})

    def places(self, stack: Stack) -> None:  # noqa: ARG002  # the port's
        return None

    def start(self, stack: Stack, row: ExecutionRow, host: StackHost) -> None:  # noqa: ARG002  # the port's
        return None


def at_process_end(drain: Callable[[], None], end: Callable[[], None]) -> None:
    """Have ``drain`` called when the main thread has ended, and again with ``end`` after all other threads.

    The first time other threads can still work. ``atexit`` is too late for that: by then
    ``concurrent.futures`` takes no more work, so a flow that uses a thread pool, or
    ``asyncio.to_thread``, would break at the end of every script. The hook that ``concurrent.futures``
    itself uses calls the last one registered first, hence the import above. The second time, by
    ``atexit``, is for threads of the user that go on after the main thread and start flows of their own.

    A forked child calls neither: the flows are its parent's.
    Ctrl-C ends the waiting: pressed while this waits, or before, wherever the script was (``await handle`` too).
    Rejected: threads that are not daemons, because Ctrl-C could then not end a process that waits for
    its flows (they are durable: whoever stops them here can resume them).
    """
    process = os.getpid()

    def main_thread_has_ended() -> None:
        if os.getpid() == process:
            _wait_unless_interrupted(drain)

    def all_threads_have_ended() -> None:
        if os.getpid() == process:
            _wait_unless_interrupted(drain)
            end()

    register: Callable[[Callable[[], None]], object] = getattr(threading, "_register_atexit", atexit.register)
    with contextlib.suppress(RuntimeError):  # the main thread has ended already
        register(main_thread_has_ended)
    atexit.register(all_threads_have_ended)


def _wait_unless_interrupted(drain: Callable[[], None]) -> None:
    global _interrupted
    # A script that Ctrl-C has ended leaves its exception here; at a prompt it may be that of any earlier line.
    if _interrupted or (getattr(sys, "last_type", None) is KeyboardInterrupt and not hasattr(sys, "ps1")):
        return
    try:
        drain()
    except KeyboardInterrupt:
        _interrupted = True
        _log.warning(
            "Ctrl-C: this process ends without its flows. What they recorded is kept, and the next process that "
            "uses the store goes on with them, or: kitaru executions resume ID."
        )
