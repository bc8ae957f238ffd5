"""Cancel an execution and its children (S6.8)."""

from __future__ import annotations

from kitaru.core.mutations import Commit, Conflict, StatusChanged
from kitaru.core.states import Status
from kitaru.errors import KitaruStateError
from kitaru.services.find import find
from kitaru.services.wiring import Wiring

_CANCELLABLE = (Status.PENDING, Status.RUNNING, Status.WAITING)


def cancel(wiring: Wiring, execution_id: str) -> None:
    """Cancel, at once and for good: whichever of cancel and completion commits first stands.

    The runner learns of it at its next call or commit, or within a tenth of a second from its
    heartbeat; nothing that it still does is recorded. Cancelling a cancelled execution does nothing.

    Raises:
        KitaruNotFoundError: There is no such execution.
        KitaruStateError: It is completed or failed.
    """
    row = find(wiring, execution_id)
    end = StatusChanged(Status.CANCELLED, wiring.clock.now(), from_statuses=_CANCELLABLE, cascade=True)
    try:
        wiring.committer.commit(Commit(row.execution_id, None, (end,)))
    except Conflict as conflict:
        if conflict.status is not Status.CANCELLED:
            raise KitaruStateError(
                f"execution {row.execution_id} is {conflict.status or 'deleted'} and cannot be cancelled any more."
            ) from None
    for runner in wiring.runners.all():
        runner.look()
