"""All that a commit may contain. Each is one small frozen type, and the store has one way to apply it.

A commit is one transaction for one execution. With an ``epoch`` it is the owner's: it is refused as a
whole (``Fenced``) unless the execution is running under that epoch. Without one it may only hold
mutations that carry a compare-and-set of their own (``ExecutionCreated``, ``Claimed``,
``StatusChanged``, ``WaitAnswered``).

The store derives the events of an execution from the mutations, so that nobody can forget one.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from kitaru.core.clock import Microseconds
from kitaru.core.failure import Failure
from kitaru.core.rows import (
    ArtifactRow,
    AttemptRow,
    CallRow,
    DriftRow,
    Encoded,
    ExecutionRow,
    LogRow,
    MetadataRow,
    WaitRow,
)
from kitaru.core.states import Status, WaitStatus


class ExecutionCreated(NamedTuple):
    """Insert a new execution. Refused with ``AlreadyExists`` where its id is taken.

    ``copied`` are calls of ``row.original_id``, which a replay may reuse: they become calls of the new
    execution, with the artifacts that they saved. Copied are successes and handled failures; the copies
    name where they come from, cost no attempt and no time, and are no part of the cross-run cache, where
    the source stands already.
    """

    row: ExecutionRow
    copied: tuple[str, ...] = ()


class Claimed(NamedTuple):
    """A runner takes an execution over: status running, epoch + 1.

    Refused (``Conflict``) unless it still has ``from_status`` and ``from_epoch``; from ``running`` only
    where its present owner is dead or its lease has run out, judged by the database's clock, or the same
    runner: one that does not know that it runs it. ``attempt`` becomes the number of the body's run. A failure
    that ended it is cleared.
    """

    runner_id: str
    from_status: Status
    from_epoch: int
    attempt: int


class StatusChanged(NamedTuple):
    """Move an execution to another status, by the transition table. Releases its lease unless running.

    Without an epoch, ``from_statuses`` lists what it may move from. ``cascade`` moves its descendants
    too, those that are not finished (S1.10). A pending execution is its last runner's to go on with, or, where
    it is ``released``, anybody's of its stack. ``has_parent`` is False where the owner knows that the execution is
    nobody's child: then no parent is looked for that its end would wake.
    """

    to: Status
    at: Microseconds
    result: Encoded | None = None
    failure: Failure | None = None
    from_statuses: tuple[Status, ...] = (Status.RUNNING,)
    cascade: bool = False
    released: bool = False
    has_parent: bool = True


class FlowAttemptStarted(NamedTuple):
    """The body runs again in the same execution (S1.7)."""

    number: int


class CallStarted(NamedTuple):
    """A call is under way. A hint for people who watch.

    It never overwrites a success, and no failure but one that this start runs again.
    """

    row: CallRow


class CallRecorded(NamedTuple):
    """The outcome of a call: insert it, or replace an earlier outcome that was not a success."""

    row: CallRow


class AttemptFailed(NamedTuple):
    """An attempt that did not succeed. A success needs none: the call's own row tells it."""

    row: AttemptRow


class HandledChanged(NamedTuple):
    """The body has seen these failures (True), or they ended the execution and run again (False)."""

    call_ids: tuple[str, ...]
    handled: bool


class CopyRenamed(NamedTuple):
    """A copied call that the body has not made yet leaves its id to one that it makes."""

    call_id: str
    other: str


class ReuseSettled(NamedTuple):
    """What a body has made of the records that it found.

    ``moved`` are reused calls that it made at another position than was recorded. ``unused`` are copied
    calls that it did not make: they are deleted.
    """

    moved: tuple[tuple[str, int], ...]
    unused: tuple[str, ...]


class MetadataLogged(NamedTuple):
    """Keep metadata; a later value under the same call and key replaces an earlier one."""

    rows: tuple[MetadataRow, ...]


class ArtifactSaved(NamedTuple):
    """Keep an artifact; a later one of the same name replaces it."""

    row: ArtifactRow


class WaitOpened(NamedTuple):
    """Ask. A wait that was answered before and is asked again (S6.4: a retry) is open again."""

    row: WaitRow
    call: CallRow


class WaitAnswered(NamedTuple):
    """The outcome of a wait: of the wait and its call together; a waiting execution becomes pending.

    Refused (``Conflict``) where the wait is not open any more or its execution has ended (S5.5).
    ``failure`` is what an aborted wait raises in the body.
    """

    wait_id: str
    to: WaitStatus
    at: Microseconds
    answer: Encoded | None = None
    failure: Failure | None = None
    by: str | None = None
    via: str | None = None


class AnswerRefused(NamedTuple):
    """The body's own type does not take an answer that was accepted: the wait is open again.

    Refused (``Conflict``) unless it is answered.
    """

    wait_id: str
    at: Microseconds
    reason: str


class WaitsClosed(NamedTuple):
    """Nobody needs these answers any more."""

    wait_ids: tuple[str, ...]


class Suspended(NamedTuple):
    """The owner parks the execution: status waiting, until an answer, a child's end, or ``due_at``.

    Refused (``Conflict``) where what it would wait for has come already: then the owner goes on. So no
    wake-up falls between the last look and the moment of suspension (S5.2). The runner stays named as
    the one that should go on with it.
    """

    wait_ids: tuple[str, ...]
    child_ids: tuple[str, ...]
    due_at: Microseconds | None


class ProgressMade(NamedTuple):
    """User code says how far it is. ``call_id`` is ``""`` for the body; ``percent`` is 0 to 100."""

    call_id: str
    at: Microseconds
    message: str | None
    percent: float | None


class LinesPrinted(NamedTuple):
    """Keep what user code printed and logged."""

    rows: tuple[LogRow, ...]


class SlotsFreed(NamedTuple):
    """A call's attempt has ended: the places that it held under these limits are free."""

    call_id: str
    limits: tuple[str, ...]


class DriftFound(NamedTuple):
    """Replace the execution's drift report."""

    rows: tuple[DriftRow, ...]


Mutation = (
    ExecutionCreated
    | Claimed
    | StatusChanged
    | FlowAttemptStarted
    | CallStarted
    | CallRecorded
    | AttemptFailed
    | HandledChanged
    | CopyRenamed
    | ReuseSettled
    | MetadataLogged
    | ArtifactSaved
    | WaitOpened
    | WaitAnswered
    | AnswerRefused
    | WaitsClosed
    | Suspended
    | ProgressMade
    | LinesPrinted
    | SlotsFreed
    | DriftFound
)


class Commit(NamedTuple):
    """Mutations of one execution that are written together or not at all.

    A ``hint`` is for people who watch and need not survive a power cut: the store may write it without
    a sync of its own. It is on disk no later than the next commit that is none.
    """

    execution_id: str
    epoch: int | None
    mutations: Sequence[Mutation]
    hint: bool = False


class Refusal(Exception):
    """A commit was refused and nothing of it was written. An answer, not a fault."""


class Fenced(Refusal):
    """The execution is no longer running under the committer's epoch.

    ``status`` is its present one, None where it has been deleted.
    """

    def __init__(self, status: Status | None) -> None:
        super().__init__(f"the execution is no longer owned by this runner; it is {status or 'deleted'}")
        self.status = status


class AlreadyExists(Refusal):
    """An execution with this id is recorded already."""


class Conflict(Refusal):
    """The execution was not in the state that the mutation asked for. ``status``: see ``Fenced``."""

    def __init__(self, status: Status | None) -> None:
        super().__init__(f"the execution is {status or 'deleted'}")
        self.status = status


class Part(StrEnum):
    """What another execution is to one that is to be deleted."""

    CHILD = "child"
    PARENT = "parent"
    REPLAY = "replay"


class InUse(Refusal):
    """The execution stays: another one, which may go on, needs it.

    ``other`` is its id, ``part`` what it is to this one, and ``status`` its present status.
    """

    def __init__(self, other: str, part: Part, status: Status) -> None:
        super().__init__(f"its {part} {other} is {status}")
        self.other = other
        self.part = part
        self.status = status
