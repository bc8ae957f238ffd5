"""Values that a flow's body must not draw anew when it runs again: the time and chance (S3.3)."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from kitaru.core.clock import to_datetime
from kitaru.core.mutations import CallRecorded
from kitaru.core.rows import CallRow
from kitaru.core.states import CallKind, CallStatus
from kitaru.engine.context import any_run, body_run
from kitaru.engine.identity import Identity
from kitaru.engine.memo import Decision, decide

T = TypeVar("T")


def now() -> datetime:
    """The time, aware, in UTC. In a flow's body it is recorded: a resumed body gets the same time again.

    Inside a checkpoint it is the time itself; there the checkpoint's outcome is what is recorded.

    Raises:
        KitaruContextError: Called outside a flow.
    """
    return _recorded("kitaru.now", lambda run: to_datetime(run.clock.now()))


def uuid4() -> uuid.UUID:
    """A random UUID; recorded as ``now`` is."""
    return _recorded("kitaru.uuid4", lambda run: run.ids.uuid4())


def random() -> float:
    """A random number in [0, 1); recorded as ``now`` is."""
    return _recorded("kitaru.random", lambda run: run.ids.random())


def _recorded(name: str, draw: Callable[[Any], T]) -> T:
    scope = any_run(f"{name}()")
    if scope is not scope.run:
        return draw(scope.run)
    run = body_run(f"{name}()")
    identity = Identity(name, "", run.numbering.occurrence(name, ""))
    position = run.numbering.position()
    override = run.overrides.of(CallKind.VALUE, identity) if run.overrides else None
    record = run.memo.take(identity)
    if record is not None and decide(record) is Decision.REUSE and record.output is not None:
        run.reused(record, position)
        return run.values.decode(record.output)  # type: ignore[return-value]  # it was recorded here
    given = None if override is None else override.output
    value: T = draw(run) if given is None else run.values.decode(given)  # type: ignore[assignment]  # as its user says
    at = run.clock.now()
    row = CallRow(
        call_id=run.numbering.call_id(name) if override is None or override.call_id is None else override.call_id,
        name=name,
        kind=CallKind.VALUE,
        position=position,
        input_digest="",
        occurrence=identity.occurrence,
        inputs="{}",
        status=CallStatus.COMPLETED,
        attempt=1 if given is None else 0,
        started_at=at,
        ended_at=at,
        output=run.values.encode(value, name),
    )
    run.write((CallRecorded(row),))  # at once: the next call may already act on it
    return value
