"""Applies commits within one transaction: each type of mutation has one function in this package.

Events come from here, so that no caller can forget one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kitaru.core.mutations import (
    AnswerRefused,
    ArtifactSaved,
    AttemptFailed,
    CallRecorded,
    CallStarted,
    Claimed,
    Commit,
    CopyRenamed,
    DriftFound,
    ExecutionCreated,
    Fenced,
    FlowAttemptStarted,
    HandledChanged,
    LinesPrinted,
    MetadataLogged,
    ProgressMade,
    Refusal,
    ReuseSettled,
    SlotsFreed,
    StatusChanged,
    Suspended,
    WaitAnswered,
    WaitOpened,
    WaitsClosed,
)
from kitaru.core.states import Status
from kitaru.store.apply.calls import record_attempt, record_call, set_handled, start_call
from kitaru.store.apply.copies import rename_copy, settle_reuse
from kitaru.store.apply.executions import change_status, claim, create, start_flow_attempt
from kitaru.store.apply.kept import free_slots, keep_lines, log_metadata, report_drift, save_artifact, tell_progress
from kitaru.store.apply.locks import demand, is_plain, lock
from kitaru.store.apply.transaction import Transaction
from kitaru.store.apply.waits import answer_wait, close_waits, open_wait, refuse_answer, suspend

__all__ = ["Transaction", "apply"]

_OWN_COMPARISON = frozenset({ExecutionCreated, Claimed, StatusChanged, WaitAnswered})
"""Mutations that a commit without an epoch may hold."""


def apply(transaction: Transaction, commits: Sequence[Commit], *, trusting: bool = True) -> list[Refusal | None]:
    """Write the commits; answer ``Fenced`` for those whose epoch is over.

    Raises ``Refusal`` or ``Unchanged`` where one is refused later than that, ``Unchanged`` as late as at the
    end of the transaction. Something of it may have been written then: the transaction must be rolled back,
    to the last savepoint at least. Where others write at the same time, ``trusting`` commits that are plain
    are not compared first: the comparison travels with them, and ``Unchanged`` is all that it tells.
    """
    if not transaction.writer.alone:
        if trusting and is_plain(commits):
            demand(transaction, commits)
        else:
            lock(transaction, commits)
    answers = [_apply(transaction, commit) for commit in commits]
    transaction.flush()
    return answers


def _apply(transaction: Transaction, commit: Commit) -> Refusal | None:
    execution_id, epoch, mutations, _ = commit
    if epoch is None:
        refusal = _without_epoch(mutations)
        if refusal is not None:
            return refusal
    else:
        state = transaction.state(execution_id)
        if state is None or state.epoch != epoch or state.status is not Status.RUNNING:
            return Fenced(state.status if state else None)
    for mutation in mutations:
        _APPLY[type(mutation)](transaction, execution_id, mutation)
    return None


def _without_epoch(mutations: Sequence[object]) -> Refusal | None:
    for mutation in mutations:
        if type(mutation) not in _OWN_COMPARISON:
            return Refusal(
                f"A commit without an epoch cannot hold {type(mutation).__name__}: nothing says that the writer "
                "owns the execution. Give the commit the epoch of the claim."
            )
    return None


# ``Any``: each function takes the type of mutation that it stands under.
_APPLY: Mapping[type[Any], Callable[[Transaction, str, Any], None]] = {
    ExecutionCreated: create,
    Claimed: claim,
    StatusChanged: change_status,
    FlowAttemptStarted: start_flow_attempt,
    CallStarted: start_call,
    CallRecorded: record_call,
    AttemptFailed: record_attempt,
    HandledChanged: set_handled,
    CopyRenamed: rename_copy,
    ReuseSettled: settle_reuse,
    MetadataLogged: log_metadata,
    ArtifactSaved: save_artifact,
    WaitOpened: open_wait,
    WaitAnswered: answer_wait,
    AnswerRefused: refuse_answer,
    WaitsClosed: close_waits,
    Suspended: suspend,
    ProgressMade: tell_progress,
    LinesPrinted: keep_lines,
    SlotsFreed: free_slots,
    DriftFound: report_drift,
}
