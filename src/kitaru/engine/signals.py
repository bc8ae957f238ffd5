"""What unwinds a flow's body from outside.

These derive from ``BaseException``, as ``KeyboardInterrupt`` does, so that an ``except Exception`` in
user code cannot take a cancellation for an ordinary failure and go on spending money.
"""

from __future__ import annotations

from kitaru.errors import KitaruStoreError


class Signal(BaseException):
    """The body has to unwind now. Never recorded as a failure of the user's code."""


class KitaruCancelled(Signal):
    """The execution was cancelled (S6.8). A body may clean up in ``finally``; no checkpoint starts any more."""


class LeaseLost(Signal):
    """Another runner owns the execution, or may own it by now (S6.2). Nothing more can be recorded here."""


class Unwound(Signal):
    """The execution waits, and its body is released: it runs again, reusing its records, once it is woken (S5.3)."""


class HandedBack(Signal):
    """This process ends: the execution goes on elsewhere. What the calls under way still bring is recorded."""


class StoreLost(Signal):
    """The store refused to write, so what happens from here on could not be recorded."""

    def __init__(self, reason: KitaruStoreError) -> None:
        super().__init__(str(reason))
        self.reason = reason
