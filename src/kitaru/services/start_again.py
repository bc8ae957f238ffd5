"""Start an execution whose id is recorded already: the recorded one is meant (S1.2)."""

from __future__ import annotations

from kitaru.core.rows import ExecutionRow
from kitaru.core.states import Status
from kitaru.engine.definitions import FlowDefinition
from kitaru.errors import KitaruUsageError
from kitaru.services.active import Active
from kitaru.services.recover import recover
from kitaru.services.wiring import Wiring


def recorded_as(wiring: Wiring, row: ExecutionRow) -> ExecutionRow:
    """The execution that has the id of ``row``, which could not be recorded.

    Raises:
        KitaruUsageError: It is another one, or gone again.
    """
    existing = wiring.store.executions.get(row.execution_id)
    if existing is None:
        raise KitaruUsageError(f"execution {row.execution_id} was deleted while it was started again. Try again.")
    other = _what_differs(existing, row)
    if other is not None:
        raise KitaruUsageError(
            f"execution_id={row.execution_id!r} is taken: it is recorded for {other}. "
            "Use another id, or start it with the inputs that were recorded."
        )
    return existing


def _what_differs(existing: ExecutionRow, row: ExecutionRow) -> str | None:
    if existing.flow != row.flow:
        return f"flow {existing.flow}"
    if existing.deployment_version != row.deployment_version:
        version = existing.deployment_version
        return f"flow {row.flow}, {'no version' if version is None else f'version {version}'}"
    if existing.original_id != row.original_id:
        original = existing.original_id
        return f"flow {row.flow}, and no replay" if original is None else f"a replay of {original}"
    if existing.input_digest != row.input_digest:
        return "the same flow with other inputs"
    if row.original_id is not None and existing.replay != row.replay:
        return f"another replay of {row.original_id}"
    return None


def go_on(wiring: Wiring, existing: ExecutionRow, definition: FlowDefinition | None) -> Active | None:
    """See that it goes on where its process has died, if this one serves its stack; what runs of it here."""
    if existing.status not in (Status.RUNNING, Status.PENDING) or wiring.runners.of(existing.stack) is None:
        return None
    return recover(wiring, existing, definition)
