"""Events: the rows that mutations make, and reading them.

Why a cursor neither misses nor repeats: an id is given inside a write transaction, SQLite has one writer
at a time, and a reader sees whole transactions. So the ids that a reader sees are complete up to the
highest of them, and all that comes later is higher. PostgreSQL gives ids from a sequence before the
commit, and of two writers the later id may be seen first. There every commit locks the rows of its
executions before it adds events (``kitaru.store.apply.locks``), which puts the ids of one execution in the
order of its commits; a cursor belongs to one execution.

The one exception: a power cut may take back hints that were not synced, and their ids are given again. Who
had seen them was most likely on the same machine; syncing every hint to spare the others was rejected.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from kitaru.core.clock import Microseconds
from kitaru.core.event import EventKind
from kitaru.core.failure import Failure
from kitaru.core.mutations import AnswerRefused, ProgressMade, WaitAnswered
from kitaru.core.rows import AttemptRow, CallRow, EventRow
from kitaru.core.states import CallStatus, Status
from kitaru.store.database import Database
from kitaru.store.rows import Values

# Something has happened; without a time it happened now.
ADD_EVENT = """
INSERT INTO events (execution_id, call_id, at, kind, detail)
VALUES (:execution_id, :call_id, COALESCE(:at, kitaru_now()), :kind, :detail)
"""

# The events behind a cursor.
EVENTS_AFTER = """
SELECT event_id, call_id, at, kind, detail FROM events
WHERE execution_id = :execution_id AND event_id > :after ORDER BY event_id LIMIT :limit
"""


_LONGEST_MESSAGE = 1000
"""Characters of a failure's message in an event; all of it is in the record of the call."""

_OF_STATUS: Mapping[Status, str] = {status: str(EventKind(f"execution.{status}")) for status in Status}
_OF_CALL: Mapping[CallStatus, str] = {
    CallStatus.COMPLETED: str(EventKind.CALL_COMPLETED),
    CallStatus.FAILED: str(EventKind.CALL_FAILED),
    CallStatus.TIMED_OUT: str(EventKind.CALL_FAILED),
    CallStatus.CANCELLED: str(EventKind.CALL_CANCELLED),
}
_REUSED = str(EventKind.CALL_REUSED)
_KIND: Mapping[str, EventKind] = {str(kind): kind for kind in EventKind}


class SqlEvents:
    """The ``Events`` port in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def after(self, execution_id: str, event_id: int, *, limit: int) -> list[EventRow]:
        parameters = {"execution_id": execution_id, "after": event_id, "limit": limit}
        found = self._database.read(EVENTS_AFTER, parameters)
        return [EventRow(id_, call_id, at, _KIND[kind], detail) for id_, call_id, at, kind, detail in found]


# ── the parameters of ADD_EVENT. A time that is None is the database's own ───────────────────────


def of_execution(
    execution_id: str, kind: EventKind, at: Microseconds | None, detail: Mapping[str, object] | None = None
) -> Values:
    """An event of the execution itself."""
    return (execution_id, "", at, str(kind), _json(detail))


def of_status(execution_id: str, status: Status, at: Microseconds, failure: Failure | None) -> Values:
    """An execution has got a status."""
    return (execution_id, "", at, _OF_STATUS[status], _json(_failure(failure)))


def of_call(execution_id: str, row: CallRow) -> Values:
    """The outcome of a call."""
    if row.source_execution_id is not None:
        source = {"exec_id": row.source_execution_id, "call_id": row.source_call_id}
        return (execution_id, row.call_id, row.ended_at, _REUSED, json.dumps(source))
    # The common case is spelt out: one of these is made for every call.
    detail = "{}" if row.failure is None else _json(_failure(row.failure))
    return (execution_id, row.call_id, row.ended_at, _OF_CALL[row.status], detail)


def of_answer(execution_id: str, answered: WaitAnswered) -> Values:
    """The outcome of a wait."""
    kind = EventKind.CALL_COMPLETED if answered.failure is None else EventKind.CALL_FAILED
    return (execution_id, answered.wait_id, answered.at, str(kind), _json(_failure(answered.failure)))


def of_refusal(execution_id: str, refused: AnswerRefused) -> Values:
    """An answer that was none."""
    detail = _json({"message": refused.reason[:_LONGEST_MESSAGE]})
    return (execution_id, refused.wait_id, refused.at, str(EventKind.ANSWER_REFUSED), detail)


def of_start(execution_id: str, row: CallRow) -> Values:
    """An attempt of a call is under way."""
    return (execution_id, row.call_id, row.started_at, str(EventKind.CALL_STARTED), _json({"attempt": row.attempt + 1}))


def of_attempt(execution_id: str, row: AttemptRow) -> Values:
    """An attempt that did not succeed."""
    detail = _json({"attempt": row.number, **_failure(row.failure)})
    return (execution_id, row.call_id, row.ended_at, str(EventKind.ATTEMPT_FAILED), detail)


def of_progress(execution_id: str, made: ProgressMade) -> Values:
    """How far user code is."""
    detail = _json({"message": made.message, "percent": made.percent})
    return (execution_id, made.call_id, made.at, str(EventKind.PROGRESS), detail)


def _failure(failure: Failure | None) -> Mapping[str, object]:
    if failure is None:
        return {}
    return {"type": failure.type, "message": failure.message[:_LONGEST_MESSAGE], "origin": str(failure.origin)}


def _json(detail: Mapping[str, object] | None) -> str:
    return json.dumps(detail) if detail else "{}"
