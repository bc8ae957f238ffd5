"""Which recorded failures ended an execution, so that they run again (S3.2), and where it failed (S9)."""

from __future__ import annotations

from collections.abc import Mapping

from kitaru.engine.failures import leaves
from kitaru.engine.run import Raised, Run
from kitaru.errors import FailureOrigin, KitaruStoreError


def ending_calls(run: Run, error: BaseException) -> tuple[str, ...]:
    """The calls whose failures ended the body.

    These are the calls that raised the body's exception, or what it was raised from (the nearest call
    in its line, no further: one before that was handled when the next failed). To them come the
    failures that left a task of their own since the body's last step: ``asyncio.gather`` hands the
    body the first and drops the others, so nobody has looked at those.
    """
    by_error = {id(raised.error): raised for raised in run.raised}
    unseen = [raised for raised in run.raised if raised.body_steps == run.body_steps and _left_its_task(raised)]
    return tuple(dict.fromkeys(raised.call_id for raised in (*_behind(error, by_error, set()), *unseen)))


def origin_of(run: Run, error: BaseException) -> FailureOrigin:
    """Where the exception that ended a body was raised: decided by who raised it, not by its text."""
    origins = {id(raised.error): raised.origin for raised in run.raised}
    for one in (error, *leaves(error)):
        if id(one) in origins:
            return origins[id(one)]
        if isinstance(one, KitaruStoreError):  # raised by the store alone: here to kitaru.load() and the like
            return FailureOrigin.STORE
    return FailureOrigin.USER_CODE


def _behind(error: BaseException | None, by_error: Mapping[int, Raised], seen: set[int]) -> list[Raised]:
    """The calls that an exception came from: the first ones on the way back along its causes.

    ``raise ... from None`` hides what came before from a reader; it was still the reason.
    """
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if id(error) in by_error:
            return [by_error[id(error)]]
        if isinstance(error, BaseExceptionGroup):
            inner: tuple[BaseException, ...] = error.exceptions  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # typeshed: the group's parameter is unknown here
            found = [raised for one in inner for raised in _behind(one, by_error, seen)]
            if found:
                return found
        error = error.__cause__ or error.__context__
    return []


def _left_its_task(raised: Raised) -> bool:
    """True where the failure, or what it was turned into, ended the task that was given it."""
    task = raised.task
    if task is None or not task.done() or task.cancelled():
        return False
    return bool(_behind(task.exception(), {id(raised.error): raised}, set()))
