"""The beginning of a call, on the body's thread: bind, digest, decide (S3).

Everything that depends on the order in which the body makes its calls happens here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import CoroutineType
from typing import Any, NamedTuple, cast

from kitaru.core.mutations import CallStarted
from kitaru.core.states import CallStatus
from kitaru.engine.call import Call
from kitaru.engine.definitions import CheckpointDefinition
from kitaru.engine.drift import check_drift
from kitaru.engine.failures import error_of
from kitaru.engine.identity import Identity, cache_key, keyed_digest
from kitaru.engine.memo import Decision, decide
from kitaru.engine.run import Run
from kitaru.errors import KitaruUsageError


class Known(NamedTuple):
    """A call whose outcome is recorded already."""

    call_id: str
    value: Any
    error: BaseException | None


def begin(run: Run, definition: CheckpointDefinition, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | Known:
    """Find the record of a call, or make it ready to run.

    Raises:
        KitaruUsageError: The arguments do not fit, or the name is taken by another checkpoint.
        KitaruDivergenceError: The call differs from its record and its checkpoint asks for an error.
    """
    name = definition.name
    run.step()
    arguments = definition.binder.bind(args, kwargs)
    run.check_name(name, definition.reference)
    with run.needing_the_store():
        inputs = run.values.encode_inputs(arguments, allow_opaque=True)
    if inputs.opaque:
        _refuse_promises(name, arguments)
    digest = inputs.digest if definition.key is None else keyed_digest(definition.key)
    numbering = run.numbering
    identity = Identity(name, digest, numbering.occurrence(name, digest))
    position = numbering.position()
    recorded = run.memo.take(identity)
    decision = decide(recorded)
    if recorded is not None:
        if decision is Decision.REUSE:
            assert recorded.output is not None
            with run.needing_the_store():
                return Known(recorded.call_id, run.values.decode(recorded.output), None)
        if decision is Decision.RAISE:
            assert recorded.failure is not None
            error = error_of(recorded.failure, recorded.call_id, run.execution_id, run.values)
            run.remember(error, recorded.call_id, recorded.failure.origin)
            return Known(recorded.call_id, None, error)
    code = key = None
    if definition.cache is not False and not inputs.opaque:
        code = run.code_digest(definition)
        key = cache_key(identity, inputs.digest, code)
    call = Call(
        definition,
        args,
        kwargs,
        identity=identity,
        inputs=inputs,
        call_id=numbering.call_id(name) if recorded is None else recorded.call_id,
        position=position,
        ended_attempts=0 if recorded is None else recorded.attempt,
        code_digest=code,
        cache_key=key,
    )
    if recorded is not None and recorded.status is CallStatus.RUNNING:
        # It was interrupted between two attempts: the policy goes on where it was.
        call.tries = recorded.attempt
        call.due_at = recorded.due_at
    if recorded is None and run.resumed:
        run.misses.append(call)
        if definition.on_drift == "fail":
            check_drift(run, call)
    if definition.on_drift == "fail":
        # In the body's order, so before the outcome of any later call: a fan-out that was killed with some
        # outcomes recorded has a record of every call that it had made, and raises no false alarm.
        call.started_at = run.clock.now()
        run.riding.append(CallStarted(call.row(CallStatus.RUNNING, call.ended_attempts)))
    return call


def _refuse_promises(name: str, arguments: Mapping[str, object]) -> None:
    """Refuse a future, a handle or a coroutine: as an opaque input it would stand for any value (S3.3)."""
    for argument, value in arguments.items():
        parts = cast("Iterable[object]", value) if isinstance(value, (list, tuple)) else (value,)
        for part in parts:
            kind: type = part.__class__
            if hasattr(kind, "__await__") and (kind is CoroutineType or kind.__module__.startswith("kitaru.")):
                raise KitaruUsageError(
                    f"{name}: argument {argument} holds a {kind.__name__}, whose value is not known yet, so the call "
                    "could not be told from one with another value. Pass the value: call .result() or .wait(), or "
                    "write `await`."
                )
