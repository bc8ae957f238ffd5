"""``KitaruClient().executions``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypedDict, Unpack, overload

from kitaru.client.diffs import execution_diff
from kitaru.client.events import events
from kitaru.client.handle import FlowHandle
from kitaru.client.logs import logs
from kitaru.client.page import Page
from kitaru.client.records import execution_record
from kitaru.client.waits import wait_record
from kitaru.core.clock import to_microseconds
from kitaru.core.diff import ExecutionDiff
from kitaru.core.event import Event
from kitaru.core.execution import Execution
from kitaru.core.explanation import Explanation
from kitaru.core.image import Image
from kitaru.core.log_entry import LogEntry
from kitaru.core.ports import ExecutionFilter
from kitaru.core.replay import ReplayPlan, Reuse
from kitaru.core.resume_plan import ResumePlan
from kitaru.core.states import Status
from kitaru.core.statistics import ExecutionStatistics
from kitaru.core.wait import Wait
from kitaru.errors import KitaruNotFoundError, KitaruUsageError
from kitaru.services.answer import abort, answer
from kitaru.services.cancel import cancel
from kitaru.services.check import resume_plan
from kitaru.services.delete import delete
from kitaru.services.explain import explain
from kitaru.services.explain_call import explain_call
from kitaru.services.find import find
from kitaru.services.load import load_target
from kitaru.services.replay import Overrides, prepare_replay, replay
from kitaru.services.resume import resume
from kitaru.services.retry import retry
from kitaru.services.settings import positive
from kitaru.services.statistics import statistics
from kitaru.services.wiring import Wiring

MAX_LIMIT = 1000


class RunOptions(TypedDict, total=False):
    """The options of ``Flow.run``."""

    stack: str | None
    retries: int | None
    cache: bool | None
    image: Image | None
    execution_id: str | None
    tags: Iterable[str]
    priority: int | None


class Executions:
    """Executions: look at them and steer them. An id may be given by any prefix that only one has."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring

    def get(self, exec_id: str) -> Execution:
        """One execution. Raises ``KitaruNotFoundError`` where there is none."""
        return execution_record(self._wiring, find(self._wiring, exec_id))

    def list(
        self,
        *,
        flow: str | None = None,
        status: Status | str | Sequence[Status | str] | None = None,
        stack: str | None = None,
        tag: str | None = None,
        parent_id: str | None = None,
        original_exec_id: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Page:
        """Executions, newest first, filtered and paged in the database.

        Args:
            flow: The flow's name.
            status: One status, or several.
            stack: The stack's name.
            tag: One of the execution's tags.
            parent_id: Children of this execution.
            original_exec_id: Replays of this execution.
            created_after: Created at this time or later; must have a time zone.
            created_before: Created before this time; likewise.
            limit: Executions in a page, 1 to 1000.
            after: ``next`` of the page before.

        Raises:
            KitaruUsageError: A filter makes no sense.
        """
        if positive(limit, "limit") > MAX_LIMIT:
            raise KitaruUsageError(f"limit={limit!r}: between 1 and {MAX_LIMIT}; use after= for more.")
        where = ExecutionFilter(
            flow=flow,
            statuses=_statuses(status),
            stack=stack,
            tag=tag,
            parent_id=parent_id,
            original_id=original_exec_id,
            created_after=_time(created_after, "created_after"),
            created_before=_time(created_before, "created_before"),
        )
        rows = self._wiring.store.executions.list(where, limit=limit + 1, after=after)
        more = rows[limit - 1].execution_id if len(rows) > limit else None
        return Page(tuple(execution_record(self._wiring, row) for row in rows[:limit]), more)

    def latest(self, flow: str | None = None, *, status: Status | str | None = None) -> Execution:
        """The newest execution, of a flow or of all. Raises ``KitaruNotFoundError`` where there is none."""
        page = self.list(flow=flow, status=status, limit=1)
        if not page.items:
            what = f"of flow {flow!r} " if flow else ""
            raise KitaruNotFoundError(f"there is no execution {what}in {self._wiring.settings.store_name}.")
        return page.items[0]

    def events(
        self, exec_id: str, *, after: int = 0, follow: bool = False, timeout: float | None = None
    ) -> Iterator[Event]:
        """What happened in an execution, oldest first (S7.1).

        Whoever keeps the ``event_id`` of the last event it has seen and comes back with it, in whichever
        process, misses none and sees none twice.

        Args:
            exec_id: The execution.
            after: Only events behind this id.
            follow: Go on with events as they come, until the execution is finished.
            timeout: Seconds to follow at most; None as long as it takes.

        Raises:
            KitaruNotFoundError: There is no such execution, or it is deleted meanwhile.
            TimeoutError: While following: the time has passed; the execution goes on.
        """
        return events(self._wiring, exec_id, after=after, follow=follow, timeout=timeout)

    def logs(
        self,
        exec_id: str,
        *,
        call_id: str | None = None,
        after: int = 0,
        follow: bool = False,
        timeout: float | None = None,
    ) -> Iterator[LogEntry]:
        """What an execution printed, and logged through ``logging``, in the order of writing (S7.3).

        Args:
            exec_id: The execution.
            call_id: Only that of one call; None for that of all calls and of the body.
            after: Only entries behind this ``log_id``.
            follow: Go on with entries as they come, until the execution is finished.
            timeout: Seconds to follow at most; None as long as it takes.

        Raises:
            KitaruNotFoundError: There is no such execution, or it is deleted meanwhile.
            TimeoutError: While following: the time has passed; the execution goes on.
        """
        return logs(self._wiring, exec_id, call_id=call_id, after=after, follow=follow, timeout=timeout)

    def statistics(
        self,
        *,
        group_by: str | Sequence[str] | None = None,
        metrics: str | Sequence[str] = ("count",),
        flow: str | None = None,
        status: Status | str | Sequence[Status | str] | None = None,
        stack: str | None = None,
        tag: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
    ) -> tuple[ExecutionStatistics, ...]:
        """Figures over executions, computed in the database (S7.1).

        Args:
            group_by: One or several of ``status``, ``flow``, ``stack``, ``tag``, ``day``, ``hour`` and
                ``metadata.KEY``; None for all executions as one. See ``kitaru.core.statistics.Grouping``.
            metrics: ``count``, or a measure and an aggregate: ``duration.p95``, ``checkpoints.sum``,
                ``cached_share.avg``, ``metadata.KEY.sum``. The aggregates are ``sum``, ``avg``, ``min``,
                ``max``, ``p50`` and ``p95``; durations are in seconds.
            flow: These and the following choose executions, as in ``list``.
            status: One status, or several.
            stack: The stack's name.
            tag: One of the execution's tags.
            created_after: Created at this time or later; must have a time zone.
            created_before: Created before this time; likewise.

        Raises:
            KitaruUsageError: A name is unknown; the message has the nearest one there is.
        """
        where = ExecutionFilter(
            flow=flow,
            statuses=_statuses(status),
            stack=stack,
            tag=tag,
            created_after=_time(created_after, "created_after"),
            created_before=_time(created_before, "created_before"),
        )
        return statistics(self._wiring, where, group_by, metrics)

    def handle(self, exec_id: str) -> FlowHandle[Any]:
        """A handle of an execution, to wait for it or to cancel it."""
        return FlowHandle(self._wiring, find(self._wiring, exec_id).execution_id)

    def run(
        self, target: str, inputs: Mapping[str, Any] | None = None, **options: Unpack[RunOptions]
    ) -> FlowHandle[Any]:
        """Start a flow from its source, where it is not at hand to call its ``run`` (S1.2, S7.1).

        Args:
            target: ``module:flow`` or ``file.py:flow``. It is imported here.
            inputs: The flow's arguments by name.
            **options: As ``Flow.run`` has them.

        Raises:
            KitaruNotFoundError: There is no such flow.
            KitaruUsageError: Inputs or options are wrong. Nothing has been recorded.
        """
        given = inputs or {}
        taken = sorted(given.keys() & RunOptions.__annotations__.keys())
        if taken:  # a flow that collects further inputs would else get it as the option
            raise KitaruUsageError(f"{taken[0]!r} is an option of executions.run, and no input of a flow.")
        return load_target(target).run(**options, **given)

    def retry(self, exec_id: str) -> FlowHandle[Any]:
        """Run a failed execution again, its recorded work reused (S6.4).

        Raises ``KitaruStateError`` where it is not failed.
        """
        return FlowHandle(self._wiring, *retry(self._wiring, exec_id))

    @overload
    def resume(self, exec_id: str, *, dry_run: Literal[True]) -> ResumePlan: ...
    @overload
    def resume(self, exec_id: str, *, dry_run: Literal[False] = ...) -> FlowHandle[Any]: ...
    def resume(self, exec_id: str, *, dry_run: bool = False) -> FlowHandle[Any] | ResumePlan:
        """Go on with an execution whose process has died; where its owner lives, nothing happens (S6.4a).

        Args:
            exec_id: The execution.
            dry_run: Return what would happen with the code at hand, call by call, and whether that code
                differs from what the execution was started with. Nothing runs and nothing is written, but
                for the plain code of the body.

        Raises ``KitaruStateError`` where it is finished; a plan can be had of a failed one too.
        """
        if dry_run:
            return resume_plan(self._wiring, exec_id)
        return FlowHandle(self._wiring, *resume(self._wiring, exec_id))

    def input(
        self, exec_id: str, value: Any = None, *, wait: str | None = None, by: str | None = None, via: str = "python"
    ) -> None:
        """Answer a wait (S5); the execution goes on by itself.

        Args:
            exec_id: The execution.
            value: The answer: JSON data that fits the wait's schema; not looked at for a gate.
            wait: The wait's id or name; may be left out where only one is open.
            by: Who answers. Default: the user of this process.
            via: Through what, as is kept with the answer.

        Raises:
            KitaruWaitValidationError: The answer does not fit; the wait is still open.
            KitaruStateError: The wait has its outcome already, or the execution has ended.
        """
        answer(self._wiring, exec_id, value, wait=wait, by=by, via=via)

    def abort_wait(
        self,
        exec_id: str,
        *,
        wait: str | None = None,
        reason: str | None = None,
        by: str | None = None,
        via: str = "python",
    ) -> None:
        """Abort a wait: its body gets ``KitaruWaitAbortedError``. See ``input``."""
        abort(self._wiring, exec_id, wait=wait, reason=reason, by=by, via=via)

    def pending_waits(self, *, flow: str | None = None, limit: int = 50) -> tuple[Wait, ...]:
        """Open questions, oldest first, of all executions or of those of one flow."""
        found = self._wiring.store.waits.open(flow=flow, since=0, limit=limit)
        return tuple(wait_record(self._wiring, execution_id, row) for execution_id, row in found)

    @overload
    def replay(
        self,
        exec_id: str,
        from_: str | None = ...,
        overrides: Overrides | None = ...,
        reuse: Reuse = ...,
        *,
        dry_run: Literal[True],
        execution_id: str | None = ...,
        **flow_inputs: Any,
    ) -> ReplayPlan: ...
    @overload
    def replay(
        self,
        exec_id: str,
        from_: str | None = ...,
        overrides: Overrides | None = ...,
        reuse: Reuse = ...,
        *,
        dry_run: Literal[False] = ...,
        execution_id: str | None = ...,
        **flow_inputs: Any,
    ) -> FlowHandle[Any]: ...
    def replay(
        self,
        exec_id: str,
        from_: str | None = None,
        overrides: Overrides | None = None,
        reuse: Reuse = "before",
        *,
        dry_run: bool = False,
        execution_id: str | None = None,
        **flow_inputs: Any,
    ) -> FlowHandle[Any] | ReplayPlan:
        """Make a new execution from what this one recorded, with something changed (S6.5).

        The source stays as it is; the new execution has its ``original_exec_id``. What is not reused
        really runs: a replay takes nothing from the cache of earlier executions.

        Args:
            exec_id: A completed, failed, cancelled or waiting execution.
            from_: The call at which to start, by call_id, or by name where only one call has it: this one
                and all that came after it run again. None: everything that matches is reused.
            overrides: What to change, by name (all its calls) or call_id (this one; it counts before a
                name). ``{"output": v}`` gives the result, ``{"input": {"x": v}}`` changes arguments,
                ``{"code": "module:function"}`` runs another function; the last two may be combined. The
                first call of a name, alone, is ``name_1``. ``wait.NAME`` means waits only.
            reuse: ``before``: nothing behind ``from_`` is reused. ``unchanged``: what has the same inputs is.
            dry_run: Return the plan and record nothing.
            execution_id: An id of your own for the new execution; given again for the same replay, it
                means the one that was started.
            **flow_inputs: Arguments of the flow that are to differ from the source's.

        Raises:
            KitaruStateError: It is pending or running.
            KitaruUsageError: An argument is wrong. Nothing has been recorded.
            KitaruNotFoundError: There is no such execution, or its flow cannot be found here.
        """
        prepared = prepare_replay(
            self._wiring, exec_id, from_=from_, overrides=overrides, reuse=reuse, flow_inputs=flow_inputs
        )
        if dry_run:
            return prepared.plan
        return FlowHandle(self._wiring, *replay(self._wiring, prepared, execution_id))

    def diff(self, a: str, b: str) -> ExecutionDiff:
        """How two executions of one flow differ, call by call (S6.6).

        Args:
            a: The first, often the source of a replay.
            b: The second. A call of the first with the same identity is its partner, else one of its name.

        Raises:
            KitaruUsageError: They are of different flows.
            KitaruNotFoundError: One of them does not exist.
        """
        return execution_diff(self._wiring, a, b)

    def explain(self, exec_id: str, call_id: str | None = None) -> Explanation:
        """Why an execution is not moving; or, with ``call_id``, why that call was reused or ran.

        Printed, it is a few sentences. Its ``reasons`` have the same as fields: who is waited for, since when,
        until when, which limit is full and who holds it, which input differs from which record.

        Args:
            exec_id: The execution.
            call_id: One of its calls.

        Raises:
            KitaruNotFoundError: There is no such execution, or it has no such call.
        """
        if call_id is None:
            return explain(self._wiring, exec_id)
        return explain_call(self._wiring, exec_id, call_id)

    def cancel(self, exec_id: str) -> None:
        """Cancel an execution and its children (S6.8). Raises ``KitaruStateError`` where it has ended."""
        cancel(self._wiring, exec_id)

    def delete(self, exec_id: str) -> None:
        """Delete a finished execution. Raises ``KitaruStateError`` where it is not finished."""
        delete(self._wiring, exec_id)


def _statuses(status: Status | str | Sequence[Status | str] | None) -> tuple[Status, ...] | None:
    if status is None:
        return None
    given = (status,) if isinstance(status, str) else tuple(status)
    try:
        return tuple(Status(one) for one in given)
    except ValueError:
        raise KitaruUsageError(f"status={status!r}: the statuses are {', '.join(Status)}.") from None


def _time(at: datetime | None, name: str) -> int | None:
    if at is None:
        return None
    if at.tzinfo is None:
        raise KitaruUsageError(f"{name}={at!r} has no time zone; write datetime(..., tzinfo=UTC) or .astimezone().")
    return to_microseconds(at)
