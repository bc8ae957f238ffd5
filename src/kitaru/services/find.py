"""Find an execution by its id."""

from __future__ import annotations

from kitaru.core.rows import ExecutionRow
from kitaru.errors import KitaruNotFoundError
from kitaru.services.wiring import Wiring


def find(wiring: Wiring, execution_id: str) -> ExecutionRow:
    """The execution of an id, or of a prefix that only one has.

    Raises:
        KitaruNotFoundError: There is none, or the prefix fits several (they are listed).
    """
    row = wiring.store.executions.get(execution_id)
    if row is not None:
        return row
    candidates = wiring.store.executions.find(execution_id, limit=6) if execution_id else []
    if len(candidates) == 1:
        row = wiring.store.executions.get(candidates[0])
        if row is not None:
            return row
    if candidates:
        listed = ", ".join(candidates[:5]) + (", ..." if len(candidates) > 5 else "")
        raise KitaruNotFoundError(f"{execution_id!r} fits several executions: {listed}. Give more of the id.")
    raise KitaruNotFoundError(f"there is no execution {execution_id!r} in {wiring.settings.store}.")
