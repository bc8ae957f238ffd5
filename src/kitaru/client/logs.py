"""``executions.logs``."""

from __future__ import annotations

from collections.abc import Iterator

from kitaru.client.follow import PAGE, follow_records
from kitaru.core.clock import to_datetime
from kitaru.core.log_entry import LogEntry
from kitaru.core.rows import LogRow
from kitaru.services.wiring import Wiring


def logs(
    wiring: Wiring, exec_id: str, *, call_id: str | None, after: int, follow: bool, timeout: float | None
) -> Iterator[LogEntry]:
    """See ``Executions.logs``. What is wrong with the arguments is raised here, not by the iterator."""

    def page_after(execution_id: str, log_id: int) -> list[LogEntry]:
        found = wiring.store.logs.after(execution_id, log_id, call_id=call_id, limit=PAGE)
        return [_entry(execution_id, row) for row in found]

    return follow_records(
        wiring, exec_id, page_after, lambda entry: entry.log_id, after=after, follow=follow, timeout=timeout
    )


def _entry(execution_id: str, row: LogRow) -> LogEntry:
    return LogEntry(
        log_id=row.log_id,
        exec_id=execution_id,
        call_id=row.call_id or None,
        attempt=row.attempt,
        at=to_datetime(row.at),
        level=row.level,
        logger=row.logger,
        message=row.message,
    )
