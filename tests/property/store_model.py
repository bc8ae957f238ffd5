"""What a store has to make of commits, in plain Python: dictionaries, and no transaction but a copy.

It knows nothing of SQL, and of the code under test only the vocabulary of ``kitaru.core``.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field

from kitaru.core.clock import Microseconds
from kitaru.core.mutations import (
    AlreadyExists,
    AttemptFailed,
    CallRecorded,
    Claimed,
    Commit,
    Conflict,
    ExecutionCreated,
    Fenced,
    InUse,
    Mutation,
    Refusal,
    StatusChanged,
    Suspended,
    WaitAnswered,
    WaitOpened,
)
from kitaru.core.states import TRANSITIONS, CallStatus, Status, WaitStatus

MAY_GO_ON = frozenset({Status.PENDING, Status.RUNNING, Status.WAITING, Status.FAILED})
"""A failed one may be retried."""


@dataclass
class Execution:
    """One execution. ``waits_for`` is what it is suspended at: waits, children, due time."""

    status: Status
    epoch: int
    runner_id: str | None
    parent_id: str | None
    calls: dict[str, tuple[CallStatus, str | None]] = field(default_factory=dict)
    attempts: set[tuple[str, int]] = field(default_factory=set)
    waits: dict[str, tuple[WaitStatus, str | None]] = field(default_factory=dict)
    result: str | None = None
    due_at: Microseconds | None = None
    waits_for: Suspended | None = None


@dataclass
class Runner:
    """``dead`` is a crash that the store can see; else only the end of the lease tells."""

    lease_until: Microseconds
    dead: bool = False


class Model:
    """Executions and runners, and the one way to change them."""

    def __init__(self) -> None:
        self.now: Microseconds = 0
        self.executions: dict[str, Execution] = {}
        self.runners: dict[str, Runner] = {}
        self.owners: dict[tuple[str, int], str | None] = {}  # of each epoch that there ever was

    def lives(self, runner_id: str | None) -> bool:
        runner = self.runners.get(runner_id or "")
        return runner is not None and not runner.dead and runner.lease_until > self.now

    def commit(self, commit: Commit) -> Refusal | None:
        """All of it, or, where it is refused, nothing."""
        before = copy.deepcopy(self.executions)
        try:
            self._check_epoch(commit)
            for mutation in commit.mutations:
                self._apply(commit.execution_id, mutation)
        except Refusal as refusal:
            self.executions = before
            return refusal
        return None

    def retire(self, runner_id: str) -> None:
        """What was pending for it is nobody's again."""
        del self.runners[runner_id]
        for found in self.executions.values():
            if (found.status, found.runner_id) == (Status.PENDING, runner_id):
                found.runner_id = None

    def children(self, execution_id: str) -> Iterator[str]:
        return (one for one, row in self.executions.items() if row.parent_id == execution_id)

    def descendants(self, execution_id: str) -> Iterator[str]:
        for child in self.children(execution_id):
            yield child
            yield from self.descendants(child)

    def deletion(self, execution_id: str) -> type[Refusal] | None:
        """Why it cannot be deleted with its descendants."""
        found = self.executions[execution_id]
        if not found.status.finished:
            return Conflict
        parent = self._status(found.parent_id or "")
        unfinished = any(not self.executions[one].status.finished for one in self.descendants(execution_id))
        return InUse if unfinished or parent in MAY_GO_ON else None

    def delete(self, execution_id: str) -> None:
        for one in (*self.descendants(execution_id), execution_id):
            del self.executions[one]

    def _status(self, execution_id: str) -> Status | None:
        found = self.executions.get(execution_id)
        return found.status if found else None

    def _check_epoch(self, commit: Commit) -> None:
        found = self.executions.get(commit.execution_id)
        if commit.epoch is not None and (
            found is None or (found.status, found.epoch) != (Status.RUNNING, commit.epoch)
        ):
            raise Fenced(self._status(commit.execution_id))

    def _apply(self, execution_id: str, mutation: Mutation) -> None:
        found = self.executions.get(execution_id)
        if isinstance(mutation, ExecutionCreated):
            self._create(mutation)
        elif found is None:
            raise Conflict(None)
        else:
            self._apply_to(execution_id, found, mutation)

    def _apply_to(self, execution_id: str, found: Execution, mutation: Mutation) -> None:
        match mutation:
            case Claimed():
                self._claim(execution_id, found, mutation)
            case CallRecorded(row):
                if found.calls.get(row.call_id, (None,))[0] is CallStatus.COMPLETED:
                    raise Conflict(found.status)
                found.calls[row.call_id] = (row.status, row.output)
            case AttemptFailed(row):
                found.attempts.add((row.call_id, row.number))
            case WaitOpened(row, call):
                found.waits[row.wait_id] = (WaitStatus.OPEN, None)
                found.calls[row.wait_id] = (call.status, None)
            case WaitAnswered():
                self._answer(execution_id, found, mutation)
            case Suspended():
                self._suspend(found, mutation)
            case StatusChanged():
                self._change(execution_id, found, mutation)
            case _:
                raise AssertionError(f"the machine makes no {mutation}")

    def _change(self, execution_id: str, found: Execution, mutation: StatusChanged) -> None:
        if found.status not in mutation.from_statuses or mutation.to not in TRANSITIONS[found.status]:
            raise Conflict(found.status)
        self._move(execution_id, mutation, result=mutation.result)
        for descendant in list(self.descendants(execution_id)) if mutation.cascade else ():
            if not self.executions[descendant].status.finished:
                self._move(descendant, mutation, result=None)

    def _create(self, mutation: ExecutionCreated) -> None:
        row = mutation.row
        if row.execution_id in self.executions:
            raise AlreadyExists("")
        self.executions[row.execution_id] = Execution(row.status, row.epoch, row.runner_id, row.parent_id)
        if row.status is Status.RUNNING:
            self._own(row.execution_id, row.epoch, row.runner_id)

    def _claim(self, execution_id: str, found: Execution, claim: Claimed) -> None:
        legal = (found.status, found.epoch) == (claim.from_status, claim.from_epoch)
        owned = found.status is Status.RUNNING and self.lives(found.runner_id) and found.runner_id != claim.runner_id
        if not legal or owned or Status.RUNNING not in TRANSITIONS[found.status]:
            raise Conflict(found.status)
        found.status, found.epoch, found.runner_id = Status.RUNNING, found.epoch + 1, claim.runner_id
        found.due_at = found.waits_for = None
        self._own(execution_id, found.epoch, claim.runner_id)

    def _own(self, execution_id: str, epoch: int, runner_id: str | None) -> None:
        self.owners[execution_id, epoch] = runner_id

    def _answer(self, execution_id: str, found: Execution, answer: WaitAnswered) -> None:
        if found.status.finished or found.waits.get(answer.wait_id, (None,))[0] is not WaitStatus.OPEN:
            raise Conflict(found.status)
        found.waits[answer.wait_id] = (answer.to, answer.answer)
        found.calls[answer.wait_id] = (CallStatus.COMPLETED, answer.answer)
        self._wake(execution_id)

    def _suspend(self, found: Execution, mutation: Suspended) -> None:
        answered = any(found.waits.get(one, (None,))[0] is not WaitStatus.OPEN for one in mutation.wait_ids)
        ended = any(self._status(one) is not Status.WAITING for one in mutation.child_ids)
        due = mutation.due_at is not None and mutation.due_at <= self.now
        if answered or ended or due:
            raise Conflict(found.status)
        found.status, found.due_at, found.waits_for = Status.WAITING, mutation.due_at, mutation

    def _move(self, execution_id: str, mutation: StatusChanged, *, result: str | None) -> None:
        found = self.executions[execution_id]
        found.status, found.due_at, found.waits_for, found.result = mutation.to, None, None, result
        if mutation.to is not Status.PENDING or mutation.released:
            found.runner_id = None
        if mutation.to.finished:
            for wait_id, (status, answer) in found.waits.items():
                if status is WaitStatus.OPEN:
                    found.waits[wait_id] = (WaitStatus.CLOSED, answer)
            if found.parent_id is not None:
                self._wake(found.parent_id)

    def _wake(self, execution_id: str) -> None:
        found = self.executions.get(execution_id)
        if found is not None and found.status is Status.WAITING:
            found.status, found.due_at, found.waits_for = Status.PENDING, None, None
            if not self.lives(found.runner_id):
                found.runner_id = None
