"""Delete a finished execution."""

from __future__ import annotations

from collections.abc import Mapping

from kitaru.core.mutations import Conflict, InUse, Part
from kitaru.errors import KitaruStateError
from kitaru.services.find import find
from kitaru.services.wiring import Wiring

_REASONS: Mapping[Part, str] = {
    Part.CHILD: "its child {other} is {status}; cancel that before it can be deleted.",
    Part.PARENT: "it is a part of {other}, which is {status} and may go on with it; delete that one.",
    Part.REPLAY: "{other} was made from it, is {status} and may go on with what was recorded; delete that one first.",
}


def delete(wiring: Wiring, execution_id: str) -> None:
    """Delete a finished execution with its children: calls, attempts, waits, artifacts, metadata, events and logs.

    Large values that nobody else names are freed by the next cleaning.

    Raises:
        KitaruNotFoundError: There is no such execution.
        KitaruStateError: It is not finished, or another execution that may go on needs it.
    """
    row = find(wiring, execution_id)
    try:
        wiring.store.executions.delete(row.execution_id)
    except Conflict as conflict:
        if conflict.status is not None:  # else somebody else has deleted it
            raise KitaruStateError(
                f"execution {row.execution_id} is {conflict.status}; cancel it before it can be deleted."
            ) from None
    except InUse as use:
        reason = _REASONS[use.part].format(other=use.other, status=use.status)
        raise KitaruStateError(f"execution {row.execution_id} cannot be deleted: {reason}") from None
