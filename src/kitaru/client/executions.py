"""``KitaruClient().executions``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, overload

from kitaru.client.handle import FlowHandle
from kitaru.client.records import execution_record
from kitaru.client.waits import wait_record
from kitaru.core.clock import to_microseconds
from kitaru.core.execution import Execution
from kitaru.core.ports import ExecutionFilter
from kitaru.core.states import Status
from kitaru.core.wait import Wait
from kitaru.errors import KitaruNotFoundError, KitaruUsageError
from kitaru.services.answer import abort, answer
from kitaru.services.cancel import cancel
from kitaru.services.delete import delete
from kitaru.services.find import find
from kitaru.services.resume import resume
from kitaru.services.retry import retry
from kitaru.services.settings import positive
from kitaru.services.wiring import Wiring

MAX_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Page(Sequence[Execution]):
    """A page of executions. ``next`` is the ``after`` of the following page; None on the last."""

    items: tuple[Execution, ...]
    next: str | None

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> Execution: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Execution, ...]: ...
    def __getitem__(self, index: int | slice) -> Execution | tuple[Execution, ...]:
        return self.items[index]

    def __iter__(self) -> Iterator[Execution]:
        return iter(self.items)


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
            raise KitaruNotFoundError(f"there is no execution {what}in {self._wiring.settings.store}.")
        return page.items[0]

    def handle(self, exec_id: str) -> FlowHandle[Any]:
        """A handle of an execution, to wait for it or to cancel it."""
        return FlowHandle(self._wiring, find(self._wiring, exec_id).execution_id)

    def retry(self, exec_id: str) -> FlowHandle[Any]:
        """Run a failed execution again, its recorded work reused (S6.4).

        Raises ``KitaruStateError`` where it is not failed.
        """
        active = retry(self._wiring, exec_id)
        return FlowHandle(self._wiring, active.row.execution_id, active)

    def resume(self, exec_id: str) -> FlowHandle[Any]:
        """Go on with an execution whose process has died; where its owner lives, nothing happens (S6.4a).

        Raises ``KitaruStateError`` where it is finished.
        """
        return FlowHandle(self._wiring, *resume(self._wiring, exec_id))

    def input(self, exec_id: str, value: Any = None, *, wait: str | None = None, by: str | None = None) -> None:
        """Answer a wait (S5); the execution goes on by itself.

        Args:
            exec_id: The execution.
            value: The answer: JSON data that fits the wait's schema; not looked at for a gate.
            wait: The wait's id or name; may be left out where only one is open.
            by: Who answers. Default: the user of this process.

        Raises:
            KitaruWaitValidationError: The answer does not fit; the wait is still open.
            KitaruStateError: The wait has its outcome already, or the execution has ended.
        """
        answer(self._wiring, exec_id, value, wait=wait, by=by, via="python")

    def abort_wait(
        self, exec_id: str, *, wait: str | None = None, reason: str | None = None, by: str | None = None
    ) -> None:
        """Abort a wait: its body gets ``KitaruWaitAbortedError``. See ``input``."""
        abort(self._wiring, exec_id, wait=wait, reason=reason, by=by, via="python")

    def pending_waits(self, *, flow: str | None = None, limit: int = 50) -> tuple[Wait, ...]:
        """Open questions, oldest first, of all executions or of those of one flow."""
        found = self._wiring.store.waits.open(flow=flow, since=0, limit=limit)
        return tuple(wait_record(self._wiring, execution_id, row) for execution_id, row in found)

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
