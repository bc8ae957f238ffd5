"""Why an execution is not moving, and why a call was reused or ran (``executions.explain``)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from kitaru.core.failure import Failure
from kitaru.core.limit import Slot


class Cause(StrEnum):
    """What kind of thing a reason tells."""

    # Of an execution.
    FINISHED = "finished"  # nothing is to come
    ANSWER = "answer"  # waits for a person
    TIMER = "timer"  # waits for a time
    CHILD = "child"  # waits for a child flow
    RETRY = "retry"  # waits for the next attempt of a call
    LIMIT = "limit"  # waits for a place under a limit
    QUEUED = "queued"  # its process runs as many flows as it may, or is about to take it
    NO_RUNNER = "no_runner"  # nobody serves its stack
    ORPHAN = "orphan"  # whoever ran it is gone
    RUNNING = "running"  # somebody runs it
    # Of a call.
    REUSED = "reused"  # recorded in the execution that this one replays
    CACHED = "cached"  # recorded in an earlier execution
    FIRST = "first"  # nothing is recorded under its name
    INPUTS = "inputs"  # the recorded ones had other inputs
    CODE = "code"  # its code has changed
    REPEATED = "repeated"  # the recorded executions made fewer equal calls
    UNCACHED = "uncached"  # the cache is off for it
    OPAQUE = "opaque"  # an input has no digest
    FAILED = "failed"  # what is recorded is a failure
    REPLAY = "replay"  # what a replay runs again really runs
    GIVEN = "given"  # its output or its inputs were given by hand
    KIND = "kind"  # no checkpoint, so the cache is none of its business
    LATER = "later"  # it was recorded too late to be found


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An input that differs from the nearest earlier record.

    Attributes:
        input: The parameter's name.
        recorded: Its recorded value, as it is stored (JSON); None where it was absent.
        given: The value of this call, likewise.
    """

    input: str
    recorded: str | None
    given: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One reason. What does not belong to its cause is None or empty.

    Attributes:
        cause: What kind of thing it is.
        text: A sentence or two.
        call_id: The call it is about.
        since: Since when it is so.
        until: When it ends by itself: a timer, the expiry of a wait, the next attempt, a lease.
        limit: The limit that is full.
        holders: Who holds its places.
        host: The machine of the runner.
        other_exec_id: The child, or the execution whose record was reused or compared.
        other_call_id: The call of it.
        failure: What the attempt before failed with, or the execution.
        changes: The inputs that differ.
    """

    cause: Cause
    text: str
    call_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: str | None = None
    holders: tuple[Slot, ...] = ()
    host: str | None = None
    other_exec_id: str | None = None
    other_call_id: str | None = None
    failure: Failure | None = None
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why it stands as it stands. Prints as sentences.

    Attributes:
        exec_id: The execution.
        call_id: The call that was asked about; None for the execution.
        status: The status of the one or the other.
        reasons: What there is to say, the most important first.
    """

    exec_id: str
    call_id: str | None
    status: str
    reasons: tuple[Reason, ...]

    def __str__(self) -> str:
        return "\n".join(reason.text for reason in self.reasons)


_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def for_people(seconds: float) -> str:
    """A duration in one unit: ``2.5 s``, ``40 s``, ``12 min``, ``3 h``, ``5 d``."""
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{max(seconds, 0):.1f} s"
