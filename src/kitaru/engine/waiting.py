"""Questions to people, and timers, as calls of an execution (S5).

A wait is identified as every call is: by its name and what it asks, question, schema and metadata. So
an answer is never taken for another question, whatever loops or branches the waits are made in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from kitaru.core import redaction
from kitaru.core.clock import Microseconds
from kitaru.core.mutations import (
    AnswerRefused,
    CallRecorded,
    CallStarted,
    Commit,
    Conflict,
    Mutation,
    WaitAnswered,
    WaitOpened,
    WaitsClosed,
)
from kitaru.core.replay import Override
from kitaru.core.rows import CallRow, Encoded, RecordedCall, WaitRow
from kitaru.core.states import CallKind, CallStatus, WaitStatus
from kitaru.engine.calling import Known, known_outcome
from kitaru.engine.identity import Identity
from kitaru.engine.memo import Decision, decide
from kitaru.engine.parking import Outcome, Parked
from kitaru.engine.run import Run
from kitaru.errors import FailureOrigin, KitaruWaitAbortedError, KitaruWaitValidationError

WAIT = "kitaru.wait"
SLEEP = "kitaru.sleep"
WAIT_ANY = "kitaru.wait_any"


class Question(NamedTuple):
    """What is asked. ``default`` is encoded; it is the answer where ``expires_in`` seconds pass without one."""

    name: str
    question: str | None = None
    schema: str | None = None
    metadata: dict[str, Any] | None = None
    grace: float | None = None
    expires_in: float | None = None
    default: Encoded | None = None
    answer_type: str | None = None


class Asked(NamedTuple):
    """A question that has no answer yet."""

    wait_id: str
    parked: Parked


def ask(run: Run, question: Question) -> Known | Asked:
    """Find the answer that is recorded, or have the question open."""
    run.check_name(question.name, WAIT)
    redaction.refuse(question.name, "kitaru.wait(): the name")
    redaction.refuse(question.schema or "", "kitaru.wait(): the schema")
    asked = {"question": question.question, "schema": question.schema, "metadata": question.metadata}
    inputs = run.values.encode_inputs(asked, allow_opaque=False, redact=True)
    occurrence = run.numbering.occurrence(question.name, inputs.digest)
    identity = Identity(question.name, inputs.digest, occurrence)
    position = run.numbering.position()
    override = run.overrides.of(CallKind.WAIT, identity) if run.overrides else None
    recorded = run.memo.take(identity)
    own = recorded is not None and recorded.status is CallStatus.COMPLETED
    if override is not None and override.output is not None and not own:
        return _given(run, question, identity, position, inputs.text, override)
    known = known_outcome(run, recorded, position, run.side_task())
    if known is not None:
        return known
    now = run.clock.now()
    if recorded is not None and recorded.status is CallStatus.RUNNING:
        wait_id, expires_at = recorded.call_id, recorded.due_at
    else:
        wait_id = run.numbering.call_id(question.name) if recorded is None else recorded.call_id
        expires_at = None if question.expires_in is None else now + round(question.expires_in * 1_000_000)
        call = _row(CallKind.WAIT, wait_id, identity, position, inputs.text, now, due_at=expires_at)
        row = WaitRow(
            wait_id=wait_id,
            name=question.name,
            status=WaitStatus.OPEN,
            opened_at=now,
            question=None if question.question is None else redaction.redact(question.question),
            schema=question.schema,
            metadata=None
            if question.metadata is None
            else run.values.encode_redacted(question.metadata, "metadata").text,
            expires_at=expires_at,
            default=question.default,
            answer_type=question.answer_type,
        )
        run.write((WaitOpened(row, call),))
    return Asked(wait_id, Parked(wait_ids=(wait_id,), due_at=expires_at, grace=question.grace))


def ask_again(run: Run, question: Question, wait_id: str, refused: ValueError) -> Asked:
    """The body's own type does not take an answer that its schema let pass: have the question open again (S5.1).

    Raises ``KitaruWaitValidationError`` where nobody could answer it anew: the value is a default, or a replay's.
    """
    reason = f"the answer of wait {wait_id!r} is not taken by the type that it is for: {refused}"
    rows = [row for row in run.store.waits.of(run.execution_id) if row.wait_id == wait_id]
    if not rows or rows[0].status is not WaitStatus.ANSWERED:
        error = KitaruWaitValidationError(reason)
        run.remember(error, wait_id, FailureOrigin.USER_CODE, run.side_task())
        raise error from refused
    run.write((AnswerRefused(wait_id, run.clock.now(), reason),))
    return Asked(wait_id, Parked(wait_ids=(wait_id,), due_at=rows[0].expires_at, grace=question.grace))


def conclude(run: Run, wait_id: str, outcome: Outcome) -> Any:
    """The answer of a wait that has its outcome. Raises ``KitaruWaitAbortedError`` where it was aborted."""
    row = outcome if isinstance(outcome, WaitRow) else _expire(run, wait_id)
    if row.status is WaitStatus.ABORTED:
        reason = "" if row.answer is None else f": {run.values.decode(row.answer)}"
        error = KitaruWaitAbortedError(f"wait {row.wait_id!r} was aborted{reason}")
        run.remember(error, row.wait_id, FailureOrigin.USER_CODE, run.side_task())
        raise error
    return None if row.answer is None else run.values.decode(row.answer)


def _expire(run: Run, wait_id: str) -> WaitRow:
    """Take the default, unless somebody was faster."""
    row = _wait(run, wait_id)
    expired = WaitAnswered(wait_id, WaitStatus.EXPIRED, run.clock.now(), answer=row.default, via="expiry")
    try:
        run.shared.committer.commit(Commit(run.execution_id, None, (expired,)))
    except Conflict:
        run.check_signal()
    return _wait(run, wait_id)


def _wait(run: Run, wait_id: str) -> WaitRow:
    return next(row for row in run.store.waits.of(run.execution_id) if row.wait_id == wait_id)


def choose(run: Run, names: Sequence[str]) -> tuple[Identity, int, RecordedCall | None]:
    """The identity of a choice between waits, and its record: which one counted."""
    inputs = run.values.encode_inputs({"waits": list(names)}, allow_opaque=False)
    return _identify(run, WAIT_ANY, inputs.digest)


def chosen(run: Run, identity: Identity, position: int, winner: str, losers: Sequence[str]) -> None:
    """Record which of several waits counted; the others need no answer any more."""
    now = run.clock.now()
    call_id = run.numbering.call_id(WAIT_ANY)
    row = _row(CallKind.VALUE, call_id, identity, position, "{}", now)
    output = run.values.encode(winner, WAIT_ANY)
    done = row._replace(status=CallStatus.COMPLETED, attempt=1, ended_at=now, output=output)
    mutations: list[Mutation] = [CallRecorded(done)]
    if losers:
        mutations.append(WaitsClosed(tuple(losers)))
    run.write(mutations)


def answer_times(run: Run) -> dict[str, Microseconds]:
    """When each wait of the execution got its outcome, by wait id."""
    return {row.wait_id: row.answered_at for row in run.store.waits.of(run.execution_id) if row.answered_at is not None}


class Timer(NamedTuple):
    """A timer that runs."""

    row: CallRow
    parked: Parked


def set_timer(run: Run, inputs: dict[str, Any], due_at: Microseconds) -> Timer | None:
    """Have a durable timer run; None where it has run already."""
    encoded = run.values.encode_inputs(inputs, allow_opaque=False)
    identity, position, recorded = _identify(run, SLEEP, encoded.digest)
    if decide(recorded) is Decision.REUSE:
        return None
    now = run.clock.now()
    if recorded is not None and recorded.due_at is not None:
        row = _row(CallKind.SLEEP, recorded.call_id, identity, position, encoded.text, now, due_at=recorded.due_at)
    else:
        call_id = run.numbering.call_id(SLEEP)
        row = _row(CallKind.SLEEP, call_id, identity, position, encoded.text, now, due_at=due_at)
        run.write((CallStarted(row),))
    return Timer(row, Parked(due_at=row.due_at))


def ring(run: Run, timer: Timer) -> None:
    """A timer's time has come."""
    ended = timer.row._replace(
        status=CallStatus.COMPLETED, attempt=1, ended_at=run.clock.now(), due_at=None, output="null"
    )
    run.write((CallRecorded(ended),))


def _identify(run: Run, name: str, digest: str) -> tuple[Identity, int, RecordedCall | None]:
    identity = Identity(name, digest, run.numbering.occurrence(name, digest))
    return identity, run.numbering.position(), run.memo.take(identity)


def _given(
    run: Run, question: Question, identity: Identity, position: int, inputs: Encoded, override: Override
) -> Known:
    """An answer that a replay gives (S6.5)."""
    now = run.clock.now()
    call_id = override.call_id or run.numbering.call_id(question.name)
    row = _row(CallKind.WAIT, call_id, identity, position, inputs, now)
    run.write((CallRecorded(row._replace(status=CallStatus.COMPLETED, ended_at=now, output=override.output)),))
    assert override.output is not None
    return Known(call_id, run.values.decode(override.output), None)


def _row(
    kind: CallKind,
    call_id: str,
    identity: Identity,
    position: int,
    inputs: Encoded,
    now: Microseconds,
    *,
    due_at: Microseconds | None = None,
) -> CallRow:
    return CallRow(
        call_id=call_id,
        name=identity.name,
        kind=kind,
        position=position,
        input_digest=identity.digest,
        occurrence=identity.occurrence,
        inputs=inputs,
        status=CallStatus.RUNNING,
        attempt=0,
        started_at=now,
        due_at=due_at,
    )
