"""Named places at which a test lets the process die, to show that nothing is lost there.

``KITARU_CRASH_AT=after_commit:3`` kills the process with SIGKILL the third time that it passes
``after_commit``. Without the variable a crash point is one call of an empty function.
"""

from __future__ import annotations

import itertools
import os
import signal

POINTS = (
    "after_register",  # this process is a runner, and owns nothing yet
    "after_create",  # the execution is recorded, nothing runs yet
    "after_claim",  # taken over from another process, nothing runs yet
    "body_start",  # the memo is loaded, the body has not begun
    "before_attempt",  # a call missed its record and is about to run
    "after_attempt",  # the user's function has returned or raised, nothing is recorded
    "after_encode",  # a result is encoded and its large parts are stored, no row names them
    "before_commit",  # on the thread that is about to write
    "after_commit",  # written, nobody has been told
    "before_retry",  # a failed attempt is recorded, the next has not begun
    "body_end",  # the body has ended, its result is not recorded
    "after_end",  # the execution is finished, nobody has been told
)
"""Every crash point. The crash tests walk this list, so a new point is tested as soon as it is named here."""

_wanted, _, _count = os.environ.get("KITARU_CRASH_AT", "").partition(":")
_passes = itertools.count(1)


def _die_at(point: str) -> None:
    if point == _wanted and next(_passes) == int(_count or 1):
        os.kill(os.getpid(), signal.SIGKILL)


def _pass(point: str) -> None:
    pass


crash_point = _die_at if _wanted else _pass
"""Call with a name from ``POINTS``."""
