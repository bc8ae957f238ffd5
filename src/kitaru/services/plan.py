"""What a replay does with each recorded call of its source (S6.5). Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from kitaru.core.replay import Action, Override, PlannedCall, Reuse
from kitaru.core.rows import RecordedCall
from kitaru.core.states import CallKind, CallStatus
from kitaru.engine.memo import Decision, decide
from kitaru.errors import KitaruUsageError

_LISTED = 10


def plan(
    calls: Sequence[RecordedCall], *, from_: str | None, overrides: Sequence[Override], reuse: Reuse
) -> tuple[PlannedCall, ...]:
    """One row per recorded call, in their order.

    Args:
        calls: The source's calls, in the order in which its body made them.
        from_: The call at which the replay starts: a call_id, or the name of a single call. None: nowhere,
            so everything that matches is reused.
        overrides: What is changed by hand. One for a call_id counts before one for a name.
        reuse: Whether calls behind ``from_`` are reused while their inputs are the same.

    Raises:
        KitaruUsageError: ``from_`` names no call, or several.
    """
    start = None if from_ is None else _start(calls, from_)
    stronger = sorted(overrides, key=lambda one: one.call_id is None)
    return tuple(
        PlannedCall(call_id=call.call_id, name=call.name, action=action, reason=reason)
        for call, (action, reason) in zip(calls, _actions(calls, start, stronger, reuse), strict=True)
    )


def known_calls(calls: Sequence[RecordedCall], near: str) -> str:
    """For messages: the calls whose id or name is near to a wrong one, else those that there are."""
    words = dict.fromkeys(word for call in calls for word in (call.call_id, call.name))
    close = get_close_matches(str(near), words, 3)
    if close:
        return f"did you mean {' or '.join(repr(word) for word in close)}?"
    listed = ", ".join(call.call_id for call in calls[:_LISTED]) + (", ..." if len(calls) > _LISTED else "")
    return f"its calls are: {listed}." if calls else "it has none at all."


def _start(calls: Sequence[RecordedCall], from_: str) -> int:
    for index, call in enumerate(calls):
        if call.call_id == from_:
            return index
    named = [index for index, call in enumerate(calls) if call.name == from_]
    if len(named) == 1:
        return named[0]
    if named:
        ids = ", ".join(calls[index].call_id for index in named)
        raise KitaruUsageError(f"from_={from_!r} is the name of {len(named)} calls. Give the id of one: {ids}.")
    raise KitaruUsageError(f"from_={from_!r}: the execution has no such call; {known_calls(calls, from_)}")


def _actions(
    calls: Sequence[RecordedCall], start: int | None, overrides: Sequence[Override], reuse: Reuse
) -> Iterator[tuple[Action, str]]:
    for index, call in enumerate(calls):
        override = next((one for one in overrides if one.fits(call)), None)
        decision = decide(call)
        if override is not None:
            yield Action.OVERRIDE, _change(override, call)
        elif index == start:
            yield Action.RERUN, "the replay starts here"
        elif start is not None and index > start and reuse == "before":
            yield Action.RERUN, f"comes after {calls[start].call_id}"
        elif decision is Decision.REUSE:
            yield Action.REUSE, "recorded; reused while its inputs are the same"
        elif decision is Decision.RAISE:
            yield Action.REUSE, "its failure was handled; raised again while its inputs are the same"
        elif call.status in (CallStatus.FAILED, CallStatus.TIMED_OUT):
            yield Action.RERUN, "its failure was not handled"
        else:
            yield Action.RERUN, "it had not finished"


def _change(override: Override, call: RecordedCall) -> str:
    if override.output is not None:
        return "its answer is given" if call.kind is CallKind.WAIT else "its output is given"
    code = "" if override.code is None else f"runs {override.code}"
    if override.inputs is None:
        return code
    return f"{code or 'runs'} with other inputs: {', '.join(override.inputs)}"
