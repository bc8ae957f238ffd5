"""Why a call was reused, or why it ran."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from kitaru.core.clock import to_datetime
from kitaru.core.explanation import Cause, Change, Explanation, Reason
from kitaru.core.rows import CallRow, ExecutionRow
from kitaru.core.states import CallKind, CallStatus
from kitaru.errors import KitaruNotFoundError
from kitaru.services.explain import explain
from kitaru.services.find import find
from kitaru.services.wiring import Wiring

_COMPARED = 200
"""Earlier calls of the same name that are looked at."""

_SHOWN = 80


class _Asked(NamedTuple):
    """The call that is asked about."""

    wiring: Wiring
    execution: ExecutionRow
    call: CallRow

    def reason(
        self, cause: Cause, text: str, other: tuple[str, CallRow] | None = None, changes: tuple[Change, ...] = ()
    ) -> Reason:
        call = self.call
        return Reason(
            cause=cause,
            text=f"{call.call_id} {text}",
            call_id=call.call_id,
            since=to_datetime(call.started_at),
            other_exec_id=None if other is None else other[0],
            other_call_id=None if other is None else other[1].call_id,
            changes=changes,
        )


def explain_call(wiring: Wiring, execution_id: str, call_id: str) -> Explanation:
    """Why a call of an execution was reused, or ran.

    Raises:
        KitaruNotFoundError: There is no such execution, or it has recorded no such call.
    """
    execution = find(wiring, execution_id)
    calls = wiring.store.calls.of(execution.execution_id)
    call = next((one for one in calls if one.call_id == call_id), None)
    if call is None:
        return _not_recorded(wiring, execution, call_id, calls)
    asked = _Asked(wiring, execution, call)
    return Explanation(
        exec_id=execution.execution_id,
        call_id=call_id,
        status=str(call.status),
        reasons=(_reason(asked), *_drift(asked), *_now(asked)),
    )


def _not_recorded(wiring: Wiring, execution: ExecutionRow, call_id: str, calls: Sequence[CallRow]) -> Explanation:
    """A call that waits for its first place under a limit is not recorded yet."""
    reasons = explain(wiring, execution.execution_id).reasons
    waiting = [one for one in wiring.store.limits.slots(execution_id=execution.execution_id) if one.call_id == call_id]
    if waiting:
        named = tuple(one for one in reasons if one.limit == waiting[0].limit)
        return Explanation(exec_id=execution.execution_id, call_id=call_id, status="waiting", reasons=named)
    names = [one.call_id for one in calls]
    near = get_close_matches(call_id, names, 3)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"its calls are: {', '.join(names[:10])}."
    raise KitaruNotFoundError(
        f"execution {execution.execution_id} has recorded no call {call_id!r}; "
        + (hint if names else "it has recorded no call at all.")
    )


def _reason(asked: _Asked) -> Reason:
    call, execution = asked.call, asked.execution
    if call.source_execution_id is not None:
        if call.source_execution_id == execution.original_id:
            text = f"was not run: this replay reused it from {call.source_call_id} of {call.source_execution_id}."
        else:
            text = f"was not run: the same call had succeeded as {call.source_call_id} of {call.source_execution_id}."
        replayed = call.source_execution_id == execution.original_id
        source = asked.reason(Cause.REUSED if replayed else Cause.CACHED, text)
        return Reason(
            cause=source.cause, text=source.text, call_id=call.call_id, since=source.since,
            other_exec_id=call.source_execution_id, other_call_id=call.source_call_id,
        )  # fmt: skip
    if call.kind is not CallKind.CHECKPOINT:
        return asked.reason(
            Cause.KIND, f"is a {_KINDS[call.kind]}: it is reused within this execution, and never from another one."
        )
    return _why_it_ran(asked)


_KINDS = {
    CallKind.FLOW: "child flow",
    CallKind.VALUE: "recorded value",
    CallKind.WAIT: "wait",
    CallKind.SLEEP: "timer",
    CallKind.CHECKPOINT: "checkpoint",
}


def _why_it_ran(asked: _Asked) -> Reason:
    call, execution = asked.call, asked.execution
    if call.attempt == 0 and call.status is CallStatus.COMPLETED:
        return asked.reason(Cause.GIVEN, "was not run: its output was given by hand to this replay.")
    if call.input_digest.startswith("changed:"):
        return asked.reason(Cause.GIVEN, "ran with inputs that were given by hand to this replay.")
    if '"$opaque"' in call.inputs:
        opaque = [name for name, text in asked.wiring.values.split_inputs(call.inputs).items() if '"$opaque"' in text]
        return asked.reason(
            Cause.OPAQUE,
            f"ran because input {', '.join(opaque)} has no digest (a client, a lock or the like), so no earlier result "
            "can be told to be for the same inputs. Pass plain values to have it cached.",
        )
    if call.code_digest is None:
        return asked.reason(Cause.UNCACHED, "ran because its checkpoint says cache=False.")
    if execution.replay is not None:
        return asked.reason(Cause.REPLAY, "ran: what a replay does not take from its source really runs again.")
    if not execution.cache:
        return asked.reason(Cause.UNCACHED, "ran because the cache is off for this execution (cache=False).")
    earlier = asked.wiring.store.calls.like(
        call.name, flow=execution.flow, before=execution.created_at, limit=_COMPARED
    )
    return _against(asked, [(one, row) for one, row in earlier if row.kind is CallKind.CHECKPOINT])


def _against(asked: _Asked, earlier: list[tuple[str, CallRow]]) -> Reason:
    call, flow = asked.call, asked.execution.flow
    if not earlier:
        return asked.reason(
            Cause.FIRST, f"ran because no recent execution of flow {flow} has recorded a call of {call.name}."
        )
    successes = [one for one in earlier if one[1].status is CallStatus.COMPLETED]
    if not successes:
        return asked.reason(
            Cause.FAILED, "ran because the earlier calls of its name failed, and failures are never reused.", earlier[0]
        )
    keyed = call.input_digest.startswith("key:")  # then the cache compares the inputs all the same
    same = [
        one
        for one in successes
        if one[1].input_digest == call.input_digest and (not keyed or one[1].inputs == call.inputs)
    ]
    if not same:
        return _other_inputs(asked, successes)
    equal = next((one for one in same if one[1].cache_key == call.cache_key), None)
    if equal is not None:
        return asked.reason(
            Cause.LATER, f"ran because {equal[1].call_id} of {equal[0]} had not succeeded yet when it began.", equal
        )
    usable = [one for one in same if one[1].cache_key is not None]
    if not usable:
        return asked.reason(
            Cause.UNCACHED, f"ran because {same[0][1].call_id} of {same[0][0]} was recorded with cache=False.", same[0]
        )
    if all(one[1].code_digest != call.code_digest for one in usable):
        return asked.reason(
            Cause.CODE,
            f"ran because its code has changed since {usable[0][1].call_id} of {usable[0][0]}: its function, or one of "
            "the project's functions that it uses.",
            usable[0],
        )
    return asked.reason(
        Cause.REPEATED,
        f"ran because it is call number {call.occurrence} with these inputs in its execution, and {usable[0][0]} made "
        "fewer: two equal calls of one execution are never served from each other.",
        usable[0],
    )


def _other_inputs(asked: _Asked, successes: list[tuple[str, CallRow]]) -> Reason:
    split = asked.wiring.values.split_inputs
    given = split(asked.call.inputs)
    nearest: tuple[str, CallRow] | None = None
    fewest: tuple[Change, ...] = ()
    for one in successes:
        recorded = split(one[1].inputs)
        changes = tuple(
            Change(input=name, recorded=recorded.get(name), given=given.get(name))
            for name in {**recorded, **given}
            if recorded.get(name) != given.get(name)
        )
        if nearest is None or len(changes) < len(fewest):
            nearest, fewest = one, changes
    assert nearest is not None
    where = f"{nearest[1].call_id} of {nearest[0]}"
    if not fewest:
        return asked.reason(Cause.INPUTS, f"ran because its key= differs from that of {where}.", nearest)
    return asked.reason(
        Cause.INPUTS, f"ran because its inputs differ from {where}: {_listed(fewest)}.", nearest, fewest
    )


def _listed(changes: Sequence[Change]) -> str:
    return "; ".join(f"{one.input} was {_short(one.recorded)} and is {_short(one.given)}" for one in changes)


def _short(text: str | None) -> str:
    if text is None:
        return "absent"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"


def _drift(asked: _Asked) -> Iterator[Reason]:
    """What a resumed execution had recorded itself, and the call did not match."""
    call, execution = asked.call, asked.execution
    rows = [row for row in asked.wiring.store.calls.drift(execution.execution_id) if row.call_id == call.call_id]
    if rows:
        changes = tuple(Change(input=row.input, recorded=row.recorded, given=row.given) for row in rows)
        yield Reason(
            cause=Cause.INPUTS,
            text=f"When the execution went on, {rows[0].recorded_call_id} was recorded and not asked for again: "
            f"{_listed(changes)}. Values that change from run to run belong in checkpoints, or come from kitaru.now(), "
            "kitaru.uuid4() and kitaru.random().",
            call_id=call.call_id,
            other_exec_id=execution.execution_id,
            other_call_id=rows[0].recorded_call_id,
            changes=changes,
        )


def _now(asked: _Asked) -> Iterator[Reason]:
    """Of a call under way: what it waits for."""
    if asked.call.status is CallStatus.RUNNING:
        for reason in explain(asked.wiring, asked.execution.execution_id).reasons:
            if reason.call_id == asked.call.call_id:
                yield reason
