"""What a child process must not share with its parent: connections, threads, locks."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forkable(Protocol):
    """Something that lets go of its parent's resources in a forked child."""

    def after_fork(self) -> None:
        """Called in the child, on its only thread, before anything else runs."""
        ...


# Owner: this module. Only ``forget_in_child`` adds.
_known: weakref.WeakSet[Forkable] = weakref.WeakSet()


def forget_in_child(owner: Forkable) -> None:
    """Have ``owner.after_fork()`` called in every forked child, as long as ``owner`` lives."""
    _known.add(owner)


def _after_fork() -> None:
    for owner in list(_known):
        owner.after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork)
