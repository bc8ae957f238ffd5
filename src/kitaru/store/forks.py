"""What a forked child must not have from its parent: connections, threads, locks that somebody holds.

SQLite keeps its locks on files in tables of the process, which a fork copies: a child would believe
that it holds locks which only the parent has, for every connection that was open, whether it uses that
connection or not. So no connection may be open at the moment of a fork. ``subprocess`` does not fork in
this sense; ``multiprocessing`` with the start method ``fork`` does.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol


class Forkable(Protocol):
    """Something that gets ready for a fork."""

    def before_fork(self) -> None:
        """Called on the forking thread. Finish what is under way, and let nothing begin until after."""
        ...

    def after_fork_in_parent(self) -> None:
        """Called on the forking thread. Go on."""
        ...

    def after_fork_in_child(self) -> None:
        """Called on the child's only thread, before anything else runs there. Begin anew."""
        ...


# Owner: this module. ``_forking`` is held during a fork: nobody joins then, and no second fork begins.
_forking = threading.Lock()
_known: weakref.WeakSet[Forkable] = weakref.WeakSet()
_ready: list[Forkable] = []


def follow_forks(owner: Forkable) -> None:
    """Tell ``owner`` of every fork, as long as it lives."""
    with _forking:
        _known.add(owner)


def _before() -> None:
    _forking.acquire()
    _ready.extend(_known)
    for owner in _ready:
        owner.before_fork()


def _after_in_parent() -> None:
    for owner in _ready:
        owner.after_fork_in_parent()
    _ready.clear()
    _forking.release()


def _after_in_child() -> None:
    for owner in _ready:
        owner.after_fork_in_child()
    _ready.clear()
    _forking.release()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
