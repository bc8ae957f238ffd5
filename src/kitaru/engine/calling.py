"""The beginning of a call, on the body's thread: bind, digest, decide (S3).

Everything that depends on the order in which the body makes its calls happens here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import CoroutineType
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from kitaru.core.mutations import CallRecorded, CallStarted
from kitaru.core.ports import EncodedInputs
from kitaru.core.redaction import redact
from kitaru.core.replay import Override
from kitaru.core.rows import Encoded, RecordedCall
from kitaru.core.states import CallKind, CallStatus
from kitaru.engine.call import Call
from kitaru.engine.definitions import CheckpointDefinition
from kitaru.engine.drift import check_drift
from kitaru.engine.failures import error_of
from kitaru.engine.identity import Identity, cache_key, changed_digest, keyed_digest
from kitaru.engine.memo import Decision, decide
from kitaru.engine.overrides import changed_arguments, changed_code
from kitaru.engine.run import Run
from kitaru.errors import KitaruUsageError

if TYPE_CHECKING:
    import asyncio


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
        inputs = _encoded(run, definition, arguments)
    digest = inputs.digest if definition.key is None else keyed_digest(redact(definition.key))
    numbering = run.numbering
    identity = Identity(name, digest, numbering.occurrence(name, digest))
    position = numbering.position()
    override = run.overrides.of(CallKind.CHECKPOINT, identity) if run.overrides else None
    if override is not None and override.inputs is not None:
        args, kwargs, arguments = changed_arguments(override.inputs, definition.binder, arguments, run.values)
        inputs = _encoded(run, definition, arguments)
        identity = identity._replace(digest=changed_digest(digest, inputs.digest))
    recorded = run.memo.take(identity)
    known = known_outcome(run, recorded, position)
    if known is not None:
        return known
    if override is not None and override.code is not None:
        definition = changed_code(definition, override.code)
    code = key = None
    if definition.cache is not False and not inputs.opaque:
        code = run.code_digest(definition)
        if override is None:  # what somebody has changed by hand is for this execution alone
            key = cache_key(identity, inputs.digest, code)
    call = Call(
        definition,
        args,
        kwargs,
        identity=identity,
        inputs=inputs,
        call_id=_call_id(run, name, recorded, override),
        position=position,
        ended_attempts=0 if recorded is None else recorded.attempt,
        code_digest=code,
        cache_key=key,
    )
    if recorded is not None and recorded.status is CallStatus.RUNNING:
        # It was interrupted between two attempts: the policy goes on where it was.
        call.tries = recorded.attempt
        call.due_at = recorded.due_at
    if override is None:
        _note(run, call, recorded)
    elif override.output is not None:
        return _injected(run, call, override.output)
    instead = run.instead_of(call, was_recorded=recorded is not None)
    return call if instead is None else Known(call.call_id, *instead)


def _encoded(run: Run, definition: CheckpointDefinition, arguments: Mapping[str, object]) -> EncodedInputs:
    """The inputs; those of an isolated checkpoint have to be carried, as they go to another process."""
    isolated = definition.isolated is not None
    inputs = run.values.encode_inputs(arguments, allow_opaque=not isolated, redact=True)
    if inputs.opaque:
        _refuse_promises(definition.name, arguments)
        if isolated:
            raise KitaruUsageError(
                f"{definition.name}: an argument holds the value of a secret, which does not leave this process. "
                "Have the isolated checkpoint read the secret itself: kitaru.secret(NAME)."
            )
    return inputs


def _note(run: Run, call: Call, recorded: RecordedCall | None) -> None:
    """Note a call that is about to run: that it misses, and, where that matters, that it was made."""
    definition = call.definition
    if recorded is None and run.resumed:
        run.misses.append(call)
        if definition.on_drift == "fail":
            check_drift(run, call)
    if definition.on_drift == "fail":
        # In the body's order, so before the outcome of any later call: a fan-out that was killed with some
        # outcomes recorded has a record of every call that it had made, and raises no false alarm.
        call.started_at = run.clock.now()
        run.riding.append(CallStarted(call.row(CallStatus.RUNNING, call.ended_attempts)))


def known_outcome(
    run: Run, recorded: RecordedCall | None, position: int, task: asyncio.Task[Any] | None = None
) -> Known | None:
    """What the record of a call tells the body; None where the call has to run.

    ``task``: see ``Run.remember``.
    """
    decision = decide(recorded)
    if recorded is None or decision is Decision.RUN:
        return None
    run.reused(recorded, position)
    if decision is Decision.REUSE:
        assert recorded.output is not None
        with run.needing_the_store():  # a large value may be out of reach
            return Known(recorded.call_id, run.values.decode(recorded.output), None)
    assert recorded.failure is not None
    error = error_of(recorded.failure, recorded.call_id, run.execution_id, run.values)
    run.remember(error, recorded.call_id, recorded.failure.origin, task)
    return Known(recorded.call_id, None, error)


def _call_id(run: Run, name: str, recorded: RecordedCall | None, override: Override | None) -> str:
    if recorded is not None:
        return recorded.call_id
    if override is not None and override.call_id is not None:
        return override.call_id
    return run.numbering.call_id(name)


def _injected(run: Run, call: Call, output: Encoded) -> Known:
    """A call whose output is given. No sync of its own: a run that resumes without it is given it again."""
    call.code_digest = None
    call.started_at = run.clock.now()
    run.riding.append(CallRecorded(call.row(CallStatus.COMPLETED, 0, call.started_at, output=output)))
    return Known(call.call_id, run.values.decode(output), None)


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
