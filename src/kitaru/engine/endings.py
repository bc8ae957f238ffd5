"""Which recorded failures ended an execution, so that they run again (S3.2), and where it failed (S9)."""

from __future__ import annotations

from kitaru.engine.failures import leaves, lineage
from kitaru.engine.run import Raised, Run
from kitaru.errors import FailureOrigin


def ending_calls(run: Run, error: BaseException) -> tuple[str, ...]:
    """The calls whose failures ended the body.

    These are the calls that raised the body's exception, or what it was raised from (the nearest call
    in its line, no further: one before that was handled when the next failed). To them come the
    failures that left a task of their own since the body's last step: ``asyncio.gather`` hands the
    body the first and drops the others, so nobody has looked at those.
    """
    by_error = {id(raised.error): raised for raised in run.raised}
    ended = [raised for leaf in leaves(error) if (raised := _nearest(leaf, by_error)) is not None]
    unseen = [raised for raised in run.raised if raised.body_steps == run.body_steps and _left_its_task(raised)]
    return tuple(dict.fromkeys(raised.call_id for raised in (*ended, *unseen)))


def origin_of(run: Run, error: BaseException) -> FailureOrigin:
    """Where the exception that ended a body was raised: decided by who raised it, not by its text."""
    for leaf in leaves(error):
        for raised in run.raised:
            if raised.error is leaf:
                return raised.origin
    return FailureOrigin.USER_CODE


def _nearest(error: BaseException, by_error: dict[int, Raised]) -> Raised | None:
    for ancestor in lineage(error):
        if id(ancestor) in by_error:
            return by_error[id(ancestor)]
    return None


def _left_its_task(raised: Raised) -> bool:
    task = raised.task
    return task is not None and task.done() and not task.cancelled() and task.exception() is raised.error
