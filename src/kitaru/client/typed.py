"""A line that somebody types at the terminal, unless it is not needed any more (S5.4)."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable

if sys.platform != "win32":
    import select
    import termios

_POLL_SECONDS = 0.5


class NotNeeded(Exception):
    """What was asked for is not needed any more."""


def read_line(is_over: Callable[[], bool], woken: int | None = None) -> str | None:
    """The next line of standard input, with the terminal's own line editing; None at its end (Ctrl-D).

    Args:
        is_over: True once the line is not needed any more; asked twice a second.
        woken: A pipe that is readable when it should be asked at once.

    Raises:
        NotNeeded: ``is_over`` says so. What was half typed is thrown away.
    """
    # A Windows console cannot be waited for like this, and of a pipe a read takes more than a line. There an
    # answer that comes too late is refused.
    if sys.platform == "win32" or not sys.stdin.isatty():
        return sys.stdin.readline() or None
    own = sys.stdin.fileno()
    while True:
        ready, _, _ = select.select([own] if woken is None else [own, woken], [], [], _POLL_SECONDS)
        if woken in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(woken or 0, 65_536)
        if is_over():
            discard_typed()
            raise NotNeeded
        if own in ready and in_foreground():
            try:
                data = os.read(own, 65_536)
            except OSError:  # the terminal is gone
                return None
            return data.decode(errors="replace") if data else None


def discard_typed() -> None:
    """Throw away what is typed and not read: it was not meant for what is asked next."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError, ValueError, termios.error):  # no terminal
            termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)


def in_foreground() -> bool:
    """True where this process may read from its terminal; one behind ``&`` would be stopped."""
    if sys.platform == "win32":
        return True
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False
