"""Why an execution is not moving."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import NamedTuple

from kitaru.core.clock import Microseconds, to_datetime
from kitaru.core.explanation import Cause, Explanation, Reason, for_people
from kitaru.core.limit import Limit, Slot
from kitaru.core.rows import AttemptRow, CallRow, ExecutionRow, RunnerRow, WaitRow
from kitaru.core.states import CallKind, CallStatus, Status, WaitStatus
from kitaru.services.find import find
from kitaru.services.limits import find_limit
from kitaru.services.wiring import Wiring

_SHOWN_HOLDERS = 3


class _Seen(NamedTuple):
    """What the store says of one execution."""

    wiring: Wiring
    row: ExecutionRow
    now: Microseconds
    calls: list[CallRow]
    runner: RunnerRow | None

    def ago(self, at: Microseconds) -> str:
        return for_people((self.now - at) / 1_000_000)

    def ahead(self, at: Microseconds) -> str:
        return f"in {for_people((at - self.now) / 1_000_000)}" if at > self.now else "now"


def explain(wiring: Wiring, execution_id: str) -> Explanation:
    """Why an execution stands where it stands.

    Raises:
        KitaruNotFoundError: There is no such execution.
    """
    row = find(wiring, execution_id)
    return Explanation(
        exec_id=row.execution_id, call_id=None, status=str(row.status), reasons=tuple(_reasons(_look(wiring, row)))
    )


def _look(wiring: Wiring, row: ExecutionRow) -> _Seen:
    store = wiring.store
    orphan = store.executions.is_orphan(row.execution_id)  # first: it forgets the runners that are dead
    runner = next((one for one in store.runners.list() if one.runner_id == row.runner_id), None)
    calls = [] if row.status.finished else store.calls.of(row.execution_id)
    return _Seen(wiring, row, wiring.clock.now(), calls, None if orphan else runner)


def _reasons(seen: _Seen) -> Iterator[Reason]:
    if seen.row.status.finished:
        yield _finished(seen)
    elif seen.row.status is Status.PENDING:
        yield _pending(seen)
    elif seen.row.status is Status.WAITING:
        yield from _parked(seen)
    elif seen.runner is None:
        yield _orphan(seen)
    else:
        yield from _parked(seen)
        yield from _places(seen)
        yield _running(seen, seen.runner)


def _finished(seen: _Seen) -> Reason:
    row = seen.row
    ended = "" if row.ended_at is None else f" {seen.ago(row.ended_at)} ago"
    text = f"It {_ENDS[row.status]}{ended}; nothing more is to come."
    if row.failure is not None:
        text = f"It failed{ended}: {row.failure.type.rpartition(':')[2]}: {row.failure.message}"
        text += f"\nOnce the cause is removed: kitaru executions retry {row.execution_id}"
    return Reason(
        cause=Cause.FINISHED,
        text=text,
        since=None if row.ended_at is None else to_datetime(row.ended_at),
        failure=row.failure,
    )


_ENDS = {Status.COMPLETED: "completed", Status.FAILED: "failed", Status.CANCELLED: "was cancelled"}


def _pending(seen: _Seen) -> Reason:
    row, runners = seen.row, seen.wiring.store.runners
    since = row.created_at if row.started_at is None else _last_change(seen)
    waited = f"It has waited {seen.ago(since)} for"
    if row.runner_id is not None and seen.runner is None:
        return _orphan(seen)
    if seen.runner is not None:
        return Reason(
            cause=Cause.QUEUED,
            text=f"{waited} process {seen.runner.pid} on {seen.runner.host}, which is to run it: it "
            "runs as many flows as it may (max_flows), or is about to take it.",
            since=to_datetime(since),
            host=seen.runner.host,
        )
    if runners.serves(row.stack):
        for name in (f"flow:{row.flow}", f"stack:{row.stack}"):
            limit = find_limit(seen.wiring, name)
            if limit is not None and len(limit.holders) + len(limit.waiting) >= (limit.at_once or 0):
                return Reason(
                    cause=Cause.LIMIT,
                    text=f"{waited} a place under limit {name!r}: {_taken(limit)}",
                    since=to_datetime(since),
                    limit=name,
                    holders=limit.holders,
                )
        text = f"{waited} a runner of stack {row.stack!r} with a place for it."
        return Reason(cause=Cause.QUEUED, text=text, since=to_datetime(since))
    return Reason(
        cause=Cause.NO_RUNNER,
        text=f"{waited} a runner of stack {row.stack!r}, and there is none. "
        f"Start one: kitaru worker --stack {row.stack}",
        since=to_datetime(since),
    )


def _last_change(seen: _Seen) -> Microseconds:
    waits = seen.wiring.store.waits.of(seen.row.execution_id)
    times = [*(call.ended_at for call in seen.calls), *(wait.answered_at for wait in waits)]
    return max((at for at in times if at is not None), default=seen.row.created_at)


def _orphan(seen: _Seen) -> Reason:
    row = seen.row
    return Reason(
        cause=Cause.ORPHAN,
        text="The process that was to run it is gone: it has ended, or its lease has run out. A runner of stack "
        f"{row.stack!r} that knows flow {row.flow} goes on with it by itself, or you do: "
        f"kitaru executions resume {row.execution_id}",
    )


def _running(seen: _Seen, runner: RunnerRow) -> Reason:
    text = f"It runs in process {runner.pid} on {runner.host}, whose lease ends {seen.ahead(runner.lease_until)} "
    text += "unless it is renewed."
    busy = [
        call
        for call in seen.calls
        if call.status is CallStatus.RUNNING and call.kind is CallKind.CHECKPOINT and call.due_at is None
    ]
    if busy:
        first = min(busy, key=lambda call: call.started_at)
        more = f" and {len(busy) - 1} more" if len(busy) > 1 else ""
        text += f" {first.call_id}{more} under way for {seen.ago(first.started_at)}."
    return Reason(cause=Cause.RUNNING, text=text, host=runner.host, until=to_datetime(runner.lease_until))


def _parked(seen: _Seen) -> Iterator[Reason]:
    """What it waits for: all there is where it is parked, one of several where it runs."""
    waits = seen.wiring.store.waits.of(seen.row.execution_id)
    for wait in waits:
        if wait.status is WaitStatus.OPEN:
            yield _answer(seen, wait)
    attempts: list[AttemptRow] | None = None
    for call in seen.calls:
        if call.status is not CallStatus.RUNNING:
            continue
        if call.kind is CallKind.SLEEP and call.due_at is not None:
            yield Reason(
                cause=Cause.TIMER,
                text=f"It sleeps; its timer is due {seen.ahead(call.due_at)}.{_who_wakes(seen, call.due_at)}",
                call_id=call.call_id,
                since=to_datetime(call.started_at),
                until=to_datetime(call.due_at),
            )
        elif call.kind is CallKind.FLOW and call.child_id is not None:
            yield _child(seen, call, call.child_id)
        elif call.kind is CallKind.CHECKPOINT and call.due_at is not None:
            if attempts is None:
                attempts = seen.wiring.store.calls.attempts(seen.row.execution_id)
            yield _retry(seen, call, call.due_at, attempts)


def _answer(seen: _Seen, wait: WaitRow) -> Reason:
    question = f" ({wait.question})" if wait.question else ""
    expires = f" It expires {seen.ahead(wait.expires_at)}." if wait.expires_at is not None else " It does not expire."
    value = "" if wait.schema is None else " --value ..."
    return Reason(
        cause=Cause.ANSWER,
        text=f"It has waited {seen.ago(wait.opened_at)} for an answer to {wait.wait_id!r}{question}.{expires} "
        f"Answer: kitaru executions input {seen.row.execution_id} --wait {shlex.quote(wait.wait_id)}{value}",
        call_id=wait.wait_id,
        since=to_datetime(wait.opened_at),
        until=None if wait.expires_at is None else to_datetime(wait.expires_at),
    )


def _who_wakes(seen: _Seen, due_at: Microseconds) -> str:
    row = seen.row
    if row.status is not Status.WAITING or due_at > seen.now:
        return ""
    if seen.wiring.store.runners.serves(row.stack):
        return ""
    return f" But there is no runner of stack {row.stack!r} to go on with it: kitaru worker --stack {row.stack}"


def _child(seen: _Seen, call: CallRow, child_id: str) -> Reason:
    child = seen.wiring.store.executions.get(child_id)
    status = "deleted" if child is None else str(child.status)
    text = f"It has waited {seen.ago(call.started_at)} for its child {call.name} ({child_id}), which is {status}."
    if child is not None and not child.status.finished:
        below = "\n".join(reason.text for reason in _reasons(_look(seen.wiring, child)))
        text += "\n" + "\n".join(f"  {line}" for line in below.splitlines())
    return Reason(
        cause=Cause.CHILD,
        text=text,
        call_id=call.call_id,
        since=to_datetime(call.started_at),
        other_exec_id=child_id,
    )


def _retry(seen: _Seen, call: CallRow, due_at: Microseconds, attempts: list[AttemptRow]) -> Reason:
    failed = max((one for one in attempts if one.call_id == call.call_id), key=lambda one: one.number, default=None)
    failure = None if failed is None else failed.failure
    why = "" if failure is None else f" after {failure.type.rpartition(':')[2]}: {failure.message}"
    return Reason(
        cause=Cause.RETRY,
        text=f"Attempt {call.attempt + 1} of {call.call_id} is due {seen.ahead(due_at)}{why}."
        + _who_wakes(seen, due_at),
        call_id=call.call_id,
        since=to_datetime(call.started_at),
        until=to_datetime(due_at),
        failure=failure,
    )


def _places(seen: _Seen) -> Iterator[Reason]:
    by_limit: dict[str, list[tuple[str, Microseconds]]] = {}
    for slot in seen.wiring.store.limits.slots(execution_id=seen.row.execution_id):
        if slot.taken_at is None:
            by_limit.setdefault(slot.limit, []).append((slot.call_id, slot.asked_at))
    for name, waiting in by_limit.items():
        limit = find_limit(seen.wiring, name)
        if limit is None:
            continue  # deleted a moment ago
        call_id, asked_at = waiting[0]
        call_id = call_id or "It"
        who = f"{call_id} and {len(waiting) - 1} more have" if len(waiting) > 1 else f"{call_id} has"
        text = f"{who} waited {seen.ago(asked_at)} for a place under limit {name!r}"
        text += f": {_taken(limit)}"
        yield Reason(
            cause=Cause.LIMIT,
            text=text,
            call_id=waiting[0][0] or None,
            since=to_datetime(asked_at),
            limit=name,
            holders=limit.holders,
        )


def _taken(limit: Limit) -> str:
    parts: list[str] = []
    if limit.per_minute is not None:
        parts.append(f"{limit.used} of {limit.per_minute} were taken within a minute")
    if limit.at_once is not None:
        parts.append(f"{len(limit.holders)} of {limit.at_once} are held")
    held = [_holder(one) for one in limit.holders[:_SHOWN_HOLDERS]]
    more = ", ..." if len(limit.holders) > _SHOWN_HOLDERS else ""
    return "; ".join(parts) + (f" (by {', '.join(held)}{more})." if held else ".")


def _holder(slot: Slot) -> str:
    return f"{slot.exec_id if slot.call_id is None else f'{slot.call_id} of {slot.exec_id}'} on {slot.host}"
