"""Whether somebody sits at the terminal of this process and may be asked (S5.4)."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import AbstractContextManager, nullcontext
from typing import TextIO

from kitaru.services.settings import true_or_false
from kitaru.services.wiring import Wiring

VARIABLE = "KITARU_PROMPT"


def asking_here(wiring: Wiring, execution_id: str) -> AbstractContextManager[None]:
    """In the block, questions of an execution are asked on the terminal, where there is one to ask on.

    Asked is where the main thread waits, and standard input and error are a terminal; not in a notebook, a
    pipe, a thread beside others, or where ``KITARU_PROMPT=0``.
    """
    if not _may_ask():
        return nullcontext()
    # Needs termios, which Windows has not; and most processes never come here.
    from kitaru.client.prompt import asking  # noqa: PLC0415

    return asking(wiring, execution_id)


def _may_ask() -> bool:
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        return False
    if not (_is_terminal(sys.stdin) and _is_terminal(sys.stderr)):
        return False
    given = os.environ.get(VARIABLE)
    return not given or true_or_false(given, VARIABLE)


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty() and os.isatty(stream.fileno())
    except (OSError, ValueError):  # closed, or no file at all
        return False
