"""The driver for threads: carries out what the call procedure asks for, blocking."""

from __future__ import annotations

import threading
from contextvars import Context, copy_context
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from kitaru.core.clock import Microseconds
from kitaru.engine.admission import Waiting, wait_for_places
from kitaru.engine.call import Call, CallScope
from kitaru.engine.context import current
from kitaru.engine.futures import CheckpointFuture
from kitaru.engine.parking import PARK_SECONDS, Parked
from kitaru.engine.procedure import Attempt, Ended, Finished, LookUp, Procedure, Take, Write, call_procedure, timed_out
from kitaru.engine.run import Run


def call_now(run: Run, call: Call) -> Any:
    """Run a call on the body's thread, and return its value or raise its error once it is on disk."""
    try:
        finished = _carry(run, call)
    except BaseException:
        run.give_back(call)
        raise
    finally:
        run.under_way.pop(call.call_id, None)
    run.write(finished.mutations)
    if finished.error is not None:
        run.remember(finished.error, call.call_id, finished.origin, run.side_task())
        raise finished.error
    return finished.value


def submit(run: Run, call: Call) -> CheckpointFuture[Any]:
    """Run a call on a thread of the pool."""
    future: CheckpointFuture[Any] = CheckpointFuture(run, call.call_id)
    run.submitted.opened()
    # No closure: with its cells it is eight objects for the garbage collector to visit, for each call that waits.
    procedure = call_procedure(run, call, seen_at_once=False)
    run.shared.pool.submit(partial(_carry_submitted, run, procedure, call, future, copy_context(), None))
    return future


def _carry_submitted(
    run: Run, procedure: Procedure, call: Call, future: CheckpointFuture[Any], context: Context, waiting: Waiting | None
) -> None:
    """Carry a submitted call to its end, or to where it waits for a place under a limit, off this thread."""
    if run.signal is not None or run.failed:
        run.give_back(call)
        run.submitted.abandon(
            future, run.signal or RuntimeError(f"{call.call_id} was not started: the flow had failed")
        )
        return
    try:
        if waiting is not None:
            waiting.check()
        outcome = context.run(_drive, run, procedure)
    except BaseException as error:  # noqa: BLE001  # a signal, SystemExit ...: the pool's thread must not die of it
        run.give_back(call)
        run.submitted.abandon(future, error)
        return
    if isinstance(outcome, Finished):
        run.submitted.finish(future, outcome)
    else:
        _wait_off_thread(run, procedure, call, future, context)


def _wait_off_thread(
    run: Run, procedure: Procedure, call: Call, future: CheckpointFuture[Any], context: Context
) -> None:
    def wake() -> None:
        run.shared.pool.submit(partial(_carry_submitted, run, procedure, call, future, context, waiting))

    waiting = Waiting(run, call.call_id, call.definition.limits, wake)
    run.shared.line.join(waiting)


def _carry(run: Run, call: Call) -> Finished:
    """Drive the procedure to its end on the body's thread."""
    procedure = call_procedure(run, call, seen_at_once=True)
    while True:
        outcome = _drive(run, procedure)
        if isinstance(outcome, Finished):
            return outcome
        wait_for_places(run, call.call_id, call.definition.limits)


def _drive(run: Run, procedure: Procedure) -> Finished | Take:
    """Drive the procedure on the calling thread: to its end, or to where it needs places under limits."""
    answer: object = None
    while True:
        try:
            effect = procedure.send(answer)
        except StopIteration as end:
            return end.value
        if isinstance(effect, Attempt):
            answer = _attempt(effect.call, effect.scope)
        elif isinstance(effect, Take):
            return effect
        elif isinstance(effect, LookUp):
            answer = run.look_up(effect.key)
        elif isinstance(effect, Write):
            answer = run.write(effect.mutations)
        else:
            answer = _pause(run, effect.until)


def _pause(run: Run, until: Microseconds) -> None:
    """Wait for the next attempt; a long delay does not hold the process (S2.4)."""
    left = (until - run.clock.now()) / 1_000_000
    if left >= PARK_SECONDS:
        run.parking.wait(Parked(due_at=until))
    elif left > 0 and run.clock.wait(run.stopping, left) and run.signal is not None:
        raise run.signal


def _attempt(call: Call, scope: CallScope) -> Ended:
    definition = call.definition
    if definition.isolated is not None:
        return scope.run.shared.isolation.attempt(call, scope)
    if definition.is_async:
        return _attempt_coroutine(call, scope)
    if definition.timeout is not None:
        return _attempt_bounded(call, scope, definition.timeout)
    token = current.set(scope)
    try:
        return Ended(definition.fn(*call.args, **call.kwargs), None)
    except Exception as error:  # noqa: BLE001  # user code
        return Ended(None, error)
    finally:
        current.reset(token)


def _attempt_coroutine(call: Call, scope: CallScope) -> Ended:
    """An async checkpoint of a sync flow gets an event loop of its own, on the pool's thread."""
    import asyncio  # noqa: PLC0415  # here, because sync flows do without it and it takes 30 ms to import

    from kitaru.engine.loop import attempt  # noqa: PLC0415

    return asyncio.run(attempt(call, scope))


def _attempt_bounded(call: Call, scope: CallScope, timeout: float) -> Ended:
    """Run on a thread that can be left behind: Python has no way to end it (S2.6).

    Not a thread of the pool: calls that hold one each while they wait for another could fill it.
    """
    outcome: SimpleQueue[Ended | BaseException] = SimpleQueue()

    def run_it() -> None:
        current.set(scope)
        try:
            outcome.put(Ended(call.definition.fn(*call.args, **call.kwargs), None))
        except Exception as error:  # noqa: BLE001  # user code
            outcome.put(Ended(None, error))
        except BaseException as error:  # noqa: BLE001  # carried over to the thread that waits
            outcome.put(error)

    context = copy_context()
    threading.Thread(target=context.run, args=(run_it,), name=f"kitaru-{call.call_id}", daemon=True).start()
    try:
        ended = outcome.get(timeout=timeout)
    except Empty:
        scope.closed = True
        return timed_out(call)
    if isinstance(ended, BaseException):
        raise ended
    return ended
