"""A flow's body from its first line to the commit that ends it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from kitaru.core.mutations import (
    AttemptFailed,
    DriftFound,
    FlowAttemptStarted,
    HandledChanged,
    Mutation,
    ReuseSettled,
    StatusChanged,
)
from kitaru.core.ports import Ask, StoreUnavailable
from kitaru.core.rows import AttemptRow, ExecutionRow
from kitaru.core.states import CallStatus, Status
from kitaru.engine import capture
from kitaru.engine.admission import wait_for_places
from kitaru.engine.context import current
from kitaru.engine.crash_points import crash_point
from kitaru.engine.definitions import FlowDefinition
from kitaru.engine.drift import report
from kitaru.engine.endings import ending_calls, origin_of
from kitaru.engine.failures import failure_of
from kitaru.engine.memo import Memo
from kitaru.engine.procedure import as_recorded
from kitaru.engine.run import Run
from kitaru.engine.shared import Shared
from kitaru.engine.signals import Signal, StoreLost
from kitaru.engine.typed_inputs import typed
from kitaru.errors import (
    FailureOrigin,
    KitaruDivergenceError,
    KitaruExecutionError,
    KitaruSerializationError,
    KitaruStoreError,
)

_log = logging.getLogger("kitaru")


class Outcome(NamedTuple):
    """How an execution left this process.

    ``status`` is None where it did not finish here: ``signal`` tells why. ``error`` is the original
    exception of a failed one. ``unwritten`` is the end that the store refused to take.
    """

    status: Status | None
    error: BaseException | None = None
    signal: Signal | None = None
    unwritten: StatusChanged | None = None


def execute(
    shared: Shared,
    definition: FlowDefinition,
    row: ExecutionRow,
    *,
    is_new: bool,
    lease_holds: Callable[[], bool],
    on_run: Callable[[Run], None],
) -> Outcome:
    """Run a claimed execution on the calling thread until it ends, retrying the body as it asks (S1.7).

    Args:
        shared: What the executions of this process share.
        definition: The flow.
        row: The execution, running under the epoch that this process holds.
        is_new: Whether nothing is recorded of it yet.
        lease_holds: Tells whether the lease is still good; asked at every call.
        on_run: Told of the run before each pass, so that it can be stopped from outside.
    """
    first_here = row.attempt
    limits = shared.line.limits_of(row)
    while True:
        first = row.attempt == first_here
        recorded = () if is_new and first else shared.store.calls.memo(row.execution_id)
        memo = Memo(recorded, row.original_id)
        run = Run(shared, row, memo, lease_holds, definition.is_async)
        run.limits = limits
        on_run(run)
        again = row.attempt - row.first_attempt < row.retries
        outcome = _one_pass(run, definition, again=again, first=first)
        if outcome is not None:
            if limits:
                shared.line.leave(Ask(row.execution_id, "", row.epoch, row.priority, limits))
            return outcome
        row = run.row._replace(attempt=row.attempt + 1)  # its epoch: a suspended run is claimed anew


def _one_pass(run: Run, definition: FlowDefinition, *, again: bool, first: bool) -> Outcome | None:
    """One run of the body and the commit that ends it; None where the body is to run again."""
    capture.install()
    token = current.set(run)
    try:
        if run.limits and first:  # a further pass has the places of the first one
            wait_for_places(run, "", run.limits)
        crash_point("body_start")
        value = call_body(run, definition)
        error = None
    except BaseException as raised:  # noqa: BLE001  # user code; SystemExit and the like end the execution too
        value, error = None, raised
        run.failed = True
        run.drop_pauses()
    finally:
        current.reset(token)
        run.ended = True
    run.submitted.wait_until_closed()
    run.close_outputs()
    try:
        crash_point("body_end")
        run.check_owned()
        if error is None:
            try:
                _complete(run, value)
            except KitaruSerializationError as refused:
                run.remember(refused, "", FailureOrigin.RUNTIME)
                error = refused
            except KitaruStoreError as no_room:  # for a large result
                raise StoreLost(no_room) from None
        if error is not None and not _fail(run, error, again=again):
            return None
    except StoreLost as signal:
        return unwritten(run.shared, signal.reason)._replace(signal=signal)
    except Signal as signal:
        return Outcome(None, signal=signal)
    crash_point("after_end")
    return Outcome(Status.COMPLETED if error is None else Status.FAILED, error)


def call_body(run: Run, definition: FlowDefinition) -> Any:
    """Call the flow's function with the recorded inputs, on the calling thread."""
    run.enter()
    arguments = run.values.decode_inputs(run.row.inputs)
    if run.row.deployment_version is not None:
        arguments = typed(definition.fn, arguments)
    args, kwargs = definition.binder.unbind(arguments)
    if not definition.is_async:
        return definition.fn(*args, **kwargs)
    from kitaru.engine.loop import run_body  # noqa: PLC0415  # here, because only async flows need asyncio

    return run_body(run, definition.fn(*args, **kwargs))


def _complete(run: Run, value: Any) -> None:
    _, result = as_recorded(run.values, value, f"the result of flow {run.row.flow}")
    # A failed replay keeps the calls that it was offered and has not made: a retry may come to them.
    settled = _settled(run, tuple(run.memo.offered))
    is_child = run.row.parent_id is not None
    end = StatusChanged(Status.COMPLETED, run.clock.now(), result=result, has_parent=is_child)
    run.write((*_drift(run), *settled, end))
    if run.unasked:
        _log.warning(
            "execution %s of flow %s is completed although calls failed, because its body has not asked for their "
            "results: %s. Call .result() of what .submit() returns; or .exception(), where a failure does not matter.",
            run.execution_id,
            run.row.flow,
            ", ".join(sorted(run.unasked)[:5]) + (", ..." if len(run.unasked) > 5 else ""),
        )


def _fail(run: Run, error: BaseException, *, again: bool) -> bool:
    """Record a failed pass. False where the body is to run again."""
    now = run.clock.now()
    failure = failure_of(error, origin_of(run, error), run.values)
    mutations: list[Mutation] = []
    reopened = ending_calls(run, error)
    if reopened:
        mutations.append(HandledChanged(reopened, False))
    mutations.append(AttemptFailed(AttemptRow("", run.row.attempt, CallStatus.FAILED, run.began, now, failure)))
    retry = again and isinstance(error, Exception) and not isinstance(error, KitaruDivergenceError)
    if retry:
        mutations.append(FlowAttemptStarted(run.row.attempt + 1))
    else:
        mutations += [*_drift(run), *_settled(run, ())]
        is_child = run.row.parent_id is not None
        mutations.append(StatusChanged(Status.FAILED, now, failure=failure, has_parent=is_child))
    run.write(mutations)
    return not retry


def _drift(run: Run) -> Sequence[Mutation]:
    if not run.misses:
        return ()
    rows = report(run)
    return (DriftFound(tuple(rows)),) if rows else ()


def _settled(run: Run, unused: tuple[str, ...]) -> Sequence[Mutation]:
    return (ReuseSettled(tuple(run.moved), unused),) if run.moved or unused else ()


def unwritten(shared: Shared, error: BaseException) -> Outcome:
    """How an execution ends that could not go on and could not say so in the store.

    What is recorded stays readable; the runner writes this end once the store takes it. Where the store is
    only out of reach it is no end: the runner goes on with it once the store is back.
    """
    if isinstance(error, StoreUnavailable):
        return Outcome(None, error=error)
    origin = FailureOrigin.STORE if isinstance(error, KitaruStoreError) else FailureOrigin.RUNTIME
    if isinstance(error, KitaruExecutionError) and error.failure_origin is not None:
        origin = error.failure_origin
    end = StatusChanged(Status.FAILED, shared.clock.now(), failure=failure_of(error, origin, shared.values))
    return Outcome(None, error=error, unwritten=end)
