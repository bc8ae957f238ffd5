"""Resume an execution that stands still (S6.4)."""

from __future__ import annotations

from kitaru.core.states import Status, WaitStatus
from kitaru.errors import KitaruStateError
from kitaru.services.active import Active
from kitaru.services.find import find
from kitaru.services.recover import recover
from kitaru.services.wiring import Wiring


def resume(wiring: Wiring, execution_id: str) -> tuple[str, Active | None]:
    """Go on with an execution whose process is gone; its full id, and the run where it is in this process now.

    It was running, or its timer has come since.

    Where its owner lives this does nothing: it is running.

    Raises:
        KitaruNotFoundError: There is no such execution, or its flow cannot be found here.
        KitaruStateError: It is finished, or it waits for an answer, a timer or a child.
    """
    row = find(wiring, execution_id)
    if row.status.finished:
        hint = "Retry it instead." if row.status is Status.FAILED else "Start a new execution instead."
        raise KitaruStateError(f"execution {row.execution_id} is {row.status} and cannot be resumed. {hint}")
    if row.status is Status.WAITING and not wiring.store.executions.is_orphan(row.execution_id):
        asked = [one.wait_id for one in wiring.store.waits.of(row.execution_id) if one.status is WaitStatus.OPEN]
        why = f"the answer to {', '.join(asked)}" if asked else "a timer or a child"
        raise KitaruStateError(
            f"execution {row.execution_id} is waiting for {why}, and goes on by itself once it comes."
        )
    return row.execution_id, recover(wiring, row)
