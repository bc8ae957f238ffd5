"""Delete a finished execution."""

from __future__ import annotations

from kitaru.core.mutations import Conflict
from kitaru.errors import KitaruStateError
from kitaru.services.find import find
from kitaru.services.wiring import Wiring


def delete(wiring: Wiring, execution_id: str) -> None:
    """Delete a finished execution with its calls, attempts, artifacts and metadata.

    Raises:
        KitaruNotFoundError: There is no such execution.
        KitaruStateError: It is not finished: cancel it first.
    """
    row = find(wiring, execution_id)
    try:
        wiring.store.executions.delete(row.execution_id)
    except Conflict as conflict:
        raise KitaruStateError(
            f"execution {row.execution_id} is {conflict.status}; cancel it before it can be deleted."
        ) from None
