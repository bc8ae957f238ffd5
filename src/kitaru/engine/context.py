"""Where the running code stands: outside, in a flow's body, or inside a checkpoint (S2.3)."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from kitaru.engine.call import CallScope
from kitaru.errors import KitaruContextError

if TYPE_CHECKING:
    from kitaru.engine.run import Run

current: ContextVar[Run | CallScope | None] = ContextVar("kitaru", default=None)
"""Set by the engine around a body and around each attempt; copied into threads and tasks of its own."""


def body_run(what: str) -> Run:
    """The run whose body is calling.

    Args:
        what: What is being called, for the message: ``fetch.submit()``.

    Raises:
        KitaruContextError: The caller is outside a flow, inside a checkpoint, on a thread that does not
            belong to the execution, or what the body has left behind (a task, a kept context).
        Signal: The body has to unwind.
    """
    scope = current.get()
    if scope is None:
        raise KitaruContextError(
            f"{what} is called outside a flow, or on a thread that the flow did not start through Kitaru. "
            f"Call it in the body of a @flow function that was started with .run(){_bare(what, '; for a unit test, ')}."
        )
    run = scope.run
    if isinstance(scope, CallScope):
        raise KitaruContextError(
            f"{what} is called inside the checkpoint {scope.call_id}; checkpoints do not nest. "
            f"Call it from the flow's body{_bare(what, ', or ')}."
        )
    run.check_open(what)
    if not run.on_its_thread():
        raise KitaruContextError(
            f"{what} is called on a thread that does not belong to execution {run.execution_id}. "
            "Call it in the flow's body; .submit() runs a checkpoint on a thread of its own."
        )
    run.check_signal()
    return run


def _bare(what: str, before: str) -> str:
    """How to call the bare function of a checkpoint; nothing for Kitaru's own, which have none."""
    return "" if what.startswith("kitaru.") else f"{before}call its plain function: .fn()"


def any_run(what: str) -> Run | CallScope:
    """The run or the call in which ``what`` is called; ``KitaruContextError`` outside a flow."""
    scope = current.get()
    if scope is None:
        raise KitaruContextError(f"{what} is called outside a flow. Call it in a flow's body or in a checkpoint.")
    return scope
