"""Which executions a group of commits locks before it looks, where others write at the same time.

Every group locks the rows of all its executions first, in the order of their ids: so no two groups wait for
each other, what a mutation decides by stays as it is until the end, and the events of one execution get
their ids in the order of its commits. The end of a child looks at its parent, and a parent that parks looks
at its children: both lock the parent, so one of them sees what the other has done (S5.2).
"""

from __future__ import annotations

from collections.abc import Sequence

from kitaru.core.mutations import (
    ArtifactSaved,
    AttemptFailed,
    CallRecorded,
    CallStarted,
    Claimed,
    Commit,
    CopyRenamed,
    DriftFound,
    ExecutionCreated,
    FlowAttemptStarted,
    HandledChanged,
    LinesPrinted,
    MetadataLogged,
    Mutation,
    ProgressMade,
    ReuseSettled,
    SlotsFreed,
    StatusChanged,
    WaitOpened,
    WaitsClosed,
)
from kitaru.core.states import Status
from kitaru.store.apply.transaction import State, Transaction

# The execution is as a commit takes it to be, and stays so until the end of the transaction.
STANDS = """
SELECT 1 FROM executions WHERE execution_id = :execution_id AND epoch = :epoch AND status = :status /* lock */
"""

# All descendants of an execution, with their statuses.
DESCENDANTS = """
WITH RECURSIVE descendants (execution_id, status) AS (
    SELECT execution_id, status FROM executions WHERE parent_id = :execution_id
    UNION
    SELECT child.execution_id, child.status
    FROM descendants JOIN executions AS child ON child.parent_id = descendants.execution_id
)
SELECT execution_id, status FROM descendants
"""

_PLAIN = frozenset({
    ArtifactSaved, AttemptFailed, CallRecorded, CallStarted, CopyRenamed, DriftFound, FlowAttemptStarted,
    HandledChanged, LinesPrinted, MetadataLogged, ProgressMade, ReuseSettled, SlotsFreed, WaitOpened, WaitsClosed,
})  # fmt: skip
"""What an owner writes without a look at anything: nearly all of what a store is given."""

_CLAIMED_UNSEEN = frozenset({Status.PENDING, Status.WAITING, Status.FAILED})
"""What can be claimed without a look, but for the comparison: the rest is refused, and told what it is."""


def is_plain(commits: Sequence[Commit]) -> bool:
    """True where nothing has to be read before the commits are written, but that executions are as they say."""
    return all(_is_plain(mutation, commit.epoch) for commit in commits for mutation in commit.mutations)


def _is_plain(mutation: Mutation, epoch: int | None) -> bool:
    if isinstance(mutation, StatusChanged):
        return epoch is not None and mutation.to.finished and not (mutation.has_parent or mutation.cascade)
    if isinstance(mutation, Claimed):  # of a running one it is asked whether its owner lives
        return epoch is None and mutation.from_status in _CLAIMED_UNSEEN
    return type(mutation) is ExecutionCreated if epoch is None else type(mutation) in _PLAIN


def demand(transaction: Transaction, commits: Sequence[Commit]) -> None:
    """Go by what the commits say: the check travels with what they write. ``Unchanged`` tells who was wrong."""
    stand: set[tuple[str, int, Status]] = set()
    for execution_id, epoch, mutations, _ in commits:
        if epoch is not None:
            stand.add((execution_id, epoch, Status.RUNNING))
        stand.update((execution_id, one.from_epoch, one.from_status) for one in mutations if isinstance(one, Claimed))
    in_order = sorted(stand)
    transaction.writer.put_each(STANDS, in_order)
    for execution_id, epoch, status in in_order:
        transaction.set_state(execution_id, State(status, epoch, None))


def lock(transaction: Transaction, commits: Sequence[Commit]) -> None:
    """Lock and read what the commits decide by."""
    ids = {commit.execution_id for commit in commits}
    moves = [(commit.execution_id, one) for commit in commits for one in commit.mutations if type(one) is StatusChanged]
    ended = [execution_id for execution_id, move in moves if move.to.finished and move.has_parent]
    transaction.read_parents(ended)
    parents = {transaction.parent(execution_id) for execution_id in ended}
    transaction.read_states(ids.union(one for one in parents if one is not None))
    for execution_id, move in moves:
        while move.cascade:  # again, until no new ones have come meanwhile
            found = transaction.writer.fetch(DESCENDANTS, {"execution_id": execution_id})
            if not transaction.read_states({one for one, _ in found}):
                break
