"""What user code tells of its progress (S7.3)."""

from __future__ import annotations

from kitaru.core.mutations import ProgressMade
from kitaru.core.retry import is_number
from kitaru.engine.call import CallScope
from kitaru.engine.context import any_run
from kitaru.engine.output import output_of
from kitaru.errors import KitaruUsageError


def progress(message: str | None = None, *, percent: float | None = None) -> None:
    """Tell those who follow how far the checkpoint is, or in a flow's body the execution.

    It becomes an event of kind ``progress`` within 0.2 s. Of what is told faster than about ten times a
    second the last is kept, and the last of all always is. It costs microseconds: call it in loops.

    Args:
        message: What is being done.
        percent: How much is done, 0 to 100.

    Raises:
        KitaruContextError: Called outside a flow.
        KitaruUsageError: Neither is given, or one makes no sense.
    """
    scope = any_run("kitaru.progress()")
    if message is None and percent is None:
        raise KitaruUsageError("kitaru.progress(): give a message, or percent=, or both.")
    if message is not None and not isinstance(message, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without a type checker
        raise KitaruUsageError(f"kitaru.progress({message!r}): the message must be a string.")
    if percent is not None and not (is_number(percent) and 0 <= percent <= 100):
        raise KitaruUsageError(f"kitaru.progress(percent={percent!r}): a number between 0 and 100.")
    if isinstance(scope, CallScope):
        scope.check_open("kitaru.progress()")
    output = output_of(scope)
    if output is not None:
        output.told(ProgressMade(scope.call_id, scope.run.clock.now(), message, percent))
