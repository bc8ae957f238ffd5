"""``executions.events``."""

from __future__ import annotations

import json
from collections.abc import Iterator

from kitaru.client.follow import PAGE, follow_records
from kitaru.core.clock import to_datetime
from kitaru.core.event import Event
from kitaru.core.rows import EventRow
from kitaru.services.wiring import Wiring


def events(wiring: Wiring, exec_id: str, *, after: int, follow: bool, timeout: float | None) -> Iterator[Event]:
    """See ``Executions.events``. What is wrong with the arguments is raised here, not by the iterator."""

    def page_after(execution_id: str, event_id: int) -> list[Event]:
        found = wiring.store.events.after(execution_id, event_id, limit=PAGE)
        return [_event(execution_id, row) for row in found]

    return follow_records(
        wiring, exec_id, page_after, lambda event: event.event_id, after=after, follow=follow, timeout=timeout
    )


def _event(execution_id: str, row: EventRow) -> Event:
    return Event(
        event_id=row.event_id,
        exec_id=execution_id,
        call_id=row.call_id or None,
        at=to_datetime(row.at),
        kind=row.kind,
        detail=json.loads(row.detail),
    )
