"""The call procedure, written once (ARCHITECTURE, "The way of one call").

A generator that yields what it needs from the world and is sent the answer. It does no I/O, takes no
time and starts no thread, so the two drivers (threads, asyncio) share every decision in here.

| effect      | the driver                                        | and sends           |
|-------------|---------------------------------------------------|---------------------|
| ``LookUp``  | asks the cross-run cache                          | ``CachedOutput`` or None |
| ``Take``    | waits for places under the checkpoint's limits     | None                |
| ``Attempt`` | runs the user's function, bounded by the timeout  | ``Ended``           |
| ``Write``   | commits, and waits until it is on disk            | None                |
| ``Pause``   | lets the time pass                                | None                |

It returns ``Finished``: what to commit, and what the caller gets once that is on disk.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

from kitaru.core.clock import Microseconds
from kitaru.core.failure import Failure
from kitaru.core.mutations import (
    ArtifactSaved,
    AttemptFailed,
    CallRecorded,
    CallStarted,
    MetadataLogged,
    Mutation,
    SlotsFreed,
)
from kitaru.core.ports import Values
from kitaru.core.rows import AttemptRow, CachedOutput, Encoded
from kitaru.core.states import CallStatus
from kitaru.engine.call import Call, CallScope
from kitaru.engine.crash_points import crash_point
from kitaru.engine.failures import failure_of
from kitaru.engine.output import taken
from kitaru.engine.run import Run
from kitaru.errors import FailureOrigin, KitaruNotFoundError, KitaruSerializationError, KitaruStoreError

_log = logging.getLogger(__name__)


class LookUp(NamedTuple):
    """Ask the cross-run cache."""

    key: str


class Take(NamedTuple):
    """Wait for a place under each limit of the call. The commit that ends the attempt frees them."""

    call: Call


class Attempt(NamedTuple):
    """Run the user's function once."""

    call: Call
    scope: CallScope


class Ended(NamedTuple):
    """How an attempt ended: a value, or an error and where it was raised.

    ``output`` and ``failure`` are the two as they are to be recorded, where that is known already.
    """

    value: Any
    error: Exception | None
    origin: FailureOrigin = FailureOrigin.USER_CODE
    output: Encoded | None = None
    failure: Failure | None = None


class Write(NamedTuple):
    """Commit now."""

    mutations: Sequence[Mutation]


class Pause(NamedTuple):
    """Wait before the next attempt."""

    until: Microseconds


class Finished(NamedTuple):
    """The end of a call. The outcome counts once the mutations are on disk."""

    call: Call
    mutations: Sequence[Mutation]
    value: Any
    error: Exception | None
    origin: FailureOrigin = FailureOrigin.USER_CODE


Effect = LookUp | Take | Attempt | Write | Pause


Procedure = Generator[Effect, Any, Finished]


def call_procedure(run: Run, call: Call, *, seen_at_once: bool) -> Procedure:
    """Carry one call to its end.

    Args:
        run: The execution.
        call: The call; its identity had no usable record.
        seen_at_once: The outcome goes straight to the body, so a failure counts as handled as soon as
            it is recorded. (One that ends the execution is marked unhandled by the commit that ends it.)
    """
    definition = call.definition
    call.started_at = run.clock.now()
    if call.cache_key is not None and run.cache:
        hit: CachedOutput | None = yield LookUp(call.cache_key)
        reused = None if hit is None else _from_cache(run, call, hit)
        if reused is not None:
            return reused
    if definition.on_drift == "fail":
        # The start that `begin` noted is on disk before its effect can be: no record means that it was never made.
        yield Write(())
    if call.due_at is not None:
        yield Pause(call.due_at)
    while True:
        if definition.limits:
            yield Take(call)
        call.tries += 1
        number = call.ended_attempts + 1
        scope = CallScope(run, call, number)
        call.started_at = run.clock.now()
        run.check_lease()  # a submitted call may have stood in the queue for long, and a machine may have slept
        run.started(call)
        crash_point("before_attempt")
        ended: Ended = yield Attempt(call, scope)
        crash_point("after_attempt")
        ended_at = run.clock.now()
        extra = _extra(scope)
        error = ended.error
        if error is None:
            try:
                with run.needing_the_store():  # a large value may find no room
                    value, output = _recorded(run, call, ended)
            except KitaruSerializationError as refused:
                ended = Ended(None, refused, FailureOrigin.RUNTIME)  # another attempt would return the same type again
                return _failed(run, call, number, ended, ended_at, extra, handled=seen_at_once)
            crash_point("after_encode")
            row = call.row(CallStatus.COMPLETED, number, ended_at, output=output)
            return Finished(call, (*extra, CallRecorded(row)), value, None)
        if not _wants_another(run, call, ended):
            return _failed(run, call, number, ended, ended_at, extra, handled=seen_at_once)
        call.ended_attempts = number
        call.take_copy(run.values)
        pause = definition.retry.pause(call.tries, run.ids.random())
        call.due_at = ended_at + round(pause * 1_000_000) if pause > 0 else None
        failed = _attempt_failed(run, call, number, ended, ended_at)
        call.started_at = ended_at
        yield Write((*extra, failed, CallStarted(call.row(CallStatus.RUNNING, number))))
        crash_point("before_retry")
        if call.due_at is not None:
            yield Pause(call.due_at)
            if run.failed:  # the body has ended meanwhile: nothing begins any more (S2.5)
                return _failed(run, call, number, ended, ended_at, extra, handled=seen_at_once)


def _recorded(run: Run, call: Call, ended: Ended) -> tuple[Any, Encoded]:
    if ended.output is not None:
        return ended.value, ended.output
    return as_recorded(run.values, ended.value, f"the result of {call.call_id}")


def _wants_another(run: Run, call: Call, ended: Ended) -> bool:
    """True where another attempt follows a failed one; of an own refusal it would be the same again."""
    assert ended.error is not None
    if run.failed or ended.origin is FailureOrigin.RUNTIME:
        return False
    return call.definition.retry.wants(ended.error, call.tries)


def as_recorded(values: Values, value: Any, where: str) -> tuple[Any, Encoded]:
    """A result as its caller gets it, and as text.

    What is recorded comes back equal (S4.1), so a result that holds a secret goes on without it at once,
    and not only after a crash, when its text is all that is left.
    """
    text, secrets = values.encode_redacted(value, f"{where}: result")
    if not secrets:
        return value, text
    names = ", ".join(sorted(secrets))
    _log.warning("%s holds the value of secret %s: recorded, and handed on, is the name.", where, names)
    return values.decode(text), text


def timed_out(call: Call) -> Ended:
    """How an attempt ends that has used up its time (S2.6)."""
    error = TimeoutError(f"{call.call_id} took longer than {call.definition.timeout:g} s")
    return Ended(None, error, FailureOrigin.TIMEOUT)


def _from_cache(run: Run, call: Call, hit: CachedOutput) -> Finished | None:
    """A call that the cache answers; None where the cached value is of no use any more, so the call runs."""
    try:
        value = run.values.decode(hit.output)
        if not run.values.keep((hit.output,)):
            return None
    except (KitaruSerializationError, KitaruNotFoundError, KitaruStoreError):
        return None  # its class has changed or its blob was cleaned; nothing is lost by running the call
    source = (hit.execution_id, hit.call_id)
    row = call.row(CallStatus.COMPLETED, 0, call.started_at, output=hit.output, source=source)
    return Finished(call, (CallRecorded(row),), value, None)


def _failed(
    run: Run,
    call: Call,
    number: int,
    ended: Ended,
    ended_at: Microseconds,
    extra: Sequence[Mutation],
    *,
    handled: bool,
) -> Finished:
    attempt = _attempt_failed(run, call, number, ended, ended_at)
    row = call.row(attempt.row.status, number, ended_at, failure=attempt.row.failure, handled=handled)
    return Finished(call, (*extra, attempt, CallRecorded(row)), None, ended.error, ended.origin)


def _attempt_failed(run: Run, call: Call, number: int, ended: Ended, ended_at: Microseconds) -> AttemptFailed:
    assert ended.error is not None
    status = CallStatus.TIMED_OUT if ended.origin is FailureOrigin.TIMEOUT else CallStatus.FAILED
    with run.needing_the_store():  # for a large part of the exception
        failure = ended.failure or failure_of(ended.error, ended.origin, run.values)
    return AttemptFailed(AttemptRow(call.call_id, number, status, call.started_at, ended_at, failure))


def _extra(scope: CallScope) -> Sequence[Mutation]:
    """What the attempt logged, saved and printed, and the places that it held; from here on it can add nothing."""
    scope.closed = True
    mutations: list[Mutation] = []
    if scope.metadata:
        mutations.append(MetadataLogged(tuple(scope.metadata)))
    mutations += [ArtifactSaved(row) for row in scope.artifacts]
    if scope.output is not None:
        mutations += taken([scope.output], last=True)
        scope.run.outputs.discard(scope.output)
    if scope.call.definition.limits:
        mutations.append(SlotsFreed(scope.call_id, scope.call.definition.limits))
    return mutations
