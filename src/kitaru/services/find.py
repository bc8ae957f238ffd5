"""Find an execution by its id."""

from __future__ import annotations

from difflib import get_close_matches

from kitaru.core.ports import ExecutionFilter
from kitaru.core.rows import ExecutionRow
from kitaru.errors import KitaruNotFoundError, KitaruUsageError
from kitaru.services.wiring import Wiring

_LOOKED_AT = 1000
"""Of so many newest executions, the ids that a misspelt one is compared with."""


def find(wiring: Wiring, execution_id: str) -> ExecutionRow:
    """The execution of an id, or of a prefix that only one has.

    Raises:
        KitaruNotFoundError: There is none, or the prefix fits several (they are listed).
        KitaruUsageError: It is no id at all.
    """
    if not isinstance(execution_id, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without a type checker
        hint = "; take its exec_id" if hasattr(execution_id, "exec_id") else ""
        raise KitaruUsageError(f"{execution_id!r} is no id of an execution: a string is expected{hint}.")
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
    ids = [row.execution_id for row in wiring.store.executions.list(ExecutionFilter(), limit=_LOOKED_AT, after=None)]
    near = get_close_matches(execution_id, ids, 2)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise KitaruNotFoundError(f"there is no execution {execution_id!r} in {wiring.settings.store_name}.{hint}")
