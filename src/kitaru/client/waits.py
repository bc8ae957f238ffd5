"""Open questions, for whoever answers them."""

from __future__ import annotations

import json

from kitaru.core.clock import to_datetime
from kitaru.core.rows import WaitRow
from kitaru.core.wait import Wait
from kitaru.services.wiring import Wiring


def wait_record(wiring: Wiring, execution_id: str, row: WaitRow) -> Wait:
    """The record of a wait."""
    return Wait(
        exec_id=execution_id,
        wait_id=row.wait_id,
        name=row.name,
        status=row.status,
        question=row.question,
        schema=None if row.schema is None else json.loads(row.schema),
        metadata=None if row.metadata is None else wiring.values.decode(row.metadata),  # type: ignore[arg-type]
        opened_at=to_datetime(row.opened_at),
        expires_at=None if row.expires_at is None else to_datetime(row.expires_at),
        answered_at=None if row.answered_at is None else to_datetime(row.answered_at),
        answered_by=row.by,
        answered_via=row.via,
    )
