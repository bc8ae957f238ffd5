"""A flow's body answered from its records alone: it shows what new code would call, and nothing runs or is written.

The body runs on the calling thread. Whatever it asks for that is recorded it gets; at the first outcome
that it needs and that is not there it unwinds. Plain code in the body does run, as it does whenever an
execution resumes.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from kitaru.core.mutations import Mutation
from kitaru.core.ports import Values
from kitaru.core.rows import ExecutionRow, RecordedCall
from kitaru.engine.body import call_body
from kitaru.engine.call import Call
from kitaru.engine.committer import Sink
from kitaru.engine.context import current
from kitaru.engine.definitions import FlowDefinition
from kitaru.engine.drift import compare
from kitaru.engine.failures import leaves
from kitaru.engine.memo import Memo
from kitaru.engine.parking import DUE, Parked, Parking
from kitaru.engine.run import Run
from kitaru.engine.shared import Shared
from kitaru.engine.signals import Signal


class Stopped(Signal):
    """The body needs an outcome that is not recorded."""


class Reached(NamedTuple):
    """A call that the body makes and that is not recorded. ``was_recorded``: it had been under way, or had failed."""

    call_id: str
    name: str
    was_recorded: bool
    changes: Sequence[tuple[str, str | None, str | None]]
    """Where a record of its name is left over: the inputs that differ, as recorded and as given."""


class DryOutcome(NamedTuple):
    """How a dry run ended.

    ``stop`` tells what the body needed, None where it came to its end; ``error`` what it raised instead.
    """

    used: Sequence[RecordedCall]
    left: Sequence[RecordedCall]
    reached: Sequence[Reached]
    stop: str | None
    error: BaseException | None


class DryRun(Run):
    """A run that writes nothing and has nothing run."""

    is_dry = True

    def __init__(self, shared: Shared, row: ExecutionRow, memo: Memo, *, is_async: bool) -> None:
        super().__init__(shared, row, memo, lambda: True, is_async)
        self.parking = _DryParking(self, busy=0 if is_async else 1)
        self.reached: list[Reached] = []

    def instead_of(self, call: Call, *, was_recorded: bool) -> tuple[Any, BaseException | None]:
        """What the body gets for a call that is not recorded: what the cache has for it, else a stop."""
        hit = self.look_up(call.cache_key) if call.cache_key is not None and self.cache else None
        if hit is not None:
            return self.values.decode(hit.output), None
        changes: list[tuple[str, str | None, str | None]] = []
        left = self.memo.left_over(call.identity.name)
        if not was_recorded and left:
            changes = [(row.input, row.recorded, row.given) for row in compare(call, left[0], self.values)]
        self.reached.append(Reached(call.call_id, call.identity.name, was_recorded, changes))
        return None, Stopped(f"it needs the outcome of {call.call_id}")

    def write(self, mutations: Sequence[Mutation]) -> None:
        """Nothing is written."""

    def enqueue(self, mutations: Sequence[Mutation], sink: Sink, item: object) -> None:
        """Nothing is written."""


class _DryParking(Parking):
    """Whoever would park stops; but a timer that is due has rung."""

    def add(self, parked: Parked) -> None:
        run = self._run
        if parked.due_at is not None and parked.due_at <= run.clock.now() and not parked.wait_ids:
            parked.outcome = DUE
            if parked.wake is not None:
                parked.wake()
            return
        if parked.wait_ids:
            known = set(run.memo.call_ids())
            asked = "waits for the answer to" if known.issuperset(parked.wait_ids) else "asks something new:"
            raise Stopped(f"it {asked} {', '.join(parked.wait_ids)}")
        raise Stopped("it waits for a timer" if parked.child_id is None else f"it waits for child {parked.child_id}")


def dry_run(shared: Shared, values: Values, definition: FlowDefinition, row: ExecutionRow) -> DryOutcome:
    """Run the body of an execution without running anything that it calls.

    Args:
        shared: What the executions of this process share; only read from.
        values: A codec that writes nothing.
        definition: The flow, as it is now.
        row: The execution.
    """
    records = shared.store.calls.memo(row.execution_id)
    memo = Memo(records, row.original_id)
    run = DryRun(shared, row, memo, is_async=definition.is_async)
    run.values = values
    token = current.set(run)
    stop: str | None = None
    error: BaseException | None = None
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what the body prints is no part of the answer
            call_body(run, definition)
    except Stopped as stopped:
        stop = str(stopped)
    except BaseException as raised:  # noqa: BLE001  # user code: that it fails is what is to be known
        group = _stopped_in(raised)
        stop, error = (str(group), None) if group is not None else (None, raised)
    finally:
        current.reset(token)
        run.ended = True
    left = memo.all_left()
    ids = {record.call_id for record in left}
    return DryOutcome([one for one in records if one.call_id not in ids], left, run.reached, stop, error)


def _stopped_in(error: BaseException) -> Stopped | None:
    """A ``Stopped`` that a task group has wrapped."""
    return next((one for one in leaves(error) if isinstance(one, Stopped)), None)
