"""How processes end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess


CANNOT_LOAD = 78
"""Exit code of a process that could not load the flow that it was to run: to try again is of no use (EX_CONFIG)."""


def runner_prefix(pid: int) -> str:
    """What the ids of all runners of a process of this machine begin with."""
    return f"{socket.gethostname()}-{pid}-"


def end_session(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that leads a session of its own, and what it has started. It must not have been waited for."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended by itself
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def how_it_ended(code: int) -> str:
    """How a process ended, in words, from its return code."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = " (where nobody sent it, the machine had run out of memory)" if name == "SIGKILL" else ""
    return f"was ended by {name}{hint}"


def end_own_session() -> None:
    """End this process, and what it has started where it leads a session of its own."""
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
