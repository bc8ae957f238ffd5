"""Reads executions, and deletes them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from kitaru.core.clock import Microseconds
from kitaru.core.mutations import Conflict, InUse, Part
from kitaru.core.ports import Deleted, ExecutionFilter
from kitaru.core.rows import ExecutionRow
from kitaru.core.states import Status
from kitaru.errors import KitaruNotFoundError
from kitaru.store import rows
from kitaru.store.database import Database, Writer
from kitaru.store.execution_rows import EXECUTION, MOST_AT_ONCE, placeholders, read_executions
from kitaru.store.runners import SqlRunners, of_flows

_EXECUTION = f"SELECT {EXECUTION} FROM executions"

# One execution.
GET_EXECUTION = f"{_EXECUTION} WHERE execution_id = :execution_id"

# The status alone.
GET_STATUS = "SELECT status FROM executions WHERE execution_id = :execution_id"


def get_statuses(count: int) -> str:
    """The statuses of so many executions, ``:id_0`` and so on."""
    ids = ", ".join(f":id_{index}" for index in range(count))
    return f"SELECT execution_id, status FROM executions WHERE execution_id IN ({ids})"


# Executions, newest first; ``list_executions`` puts the conditions in.
_LIST_EXECUTIONS = f"{_EXECUTION} WHERE {{conditions}} ORDER BY created_at DESC, execution_id DESC LIMIT :limit"

_CONDITIONS = {
    "flow": "flow = :flow",
    "stack": "stack = :stack",
    "tag": "execution_id IN (SELECT execution_id FROM execution_tags WHERE tag = :tag)",
    "parent_id": "parent_id = :parent_id",
    "original_id": "original_id = :original_id",
    "project": "project = :project",
    "created_after": "created_at >= :created_after",
    "created_before": "created_at < :created_before",
    "after": "(created_at, execution_id) < (:after_created_at, :after)",
}

# Where a page ended.
GET_CREATED_AT = "SELECT created_at FROM executions WHERE execution_id = :execution_id"

# Ids in a range of text.
FIND_EXECUTIONS = """
SELECT execution_id FROM executions
WHERE execution_id >= :first AND execution_id < :behind ORDER BY execution_id LIMIT :limit
"""

# True where a running or pending execution's runner is unknown or its lease has run out. Dead runners
# are removed from the table before this is asked. Pending without a runner is nobody's loss.
_NOBODY = """
NOT EXISTS (SELECT 1 FROM runners WHERE runners.runner_id = executions.runner_id AND lease_until > kitaru_now())
"""
_ORPHAN = f"status IN ('running', 'pending') AND {_NOBODY}"

# True where nobody runs an execution that should run, or should go on because its timer is due.
IS_ORPHAN = f"""
SELECT 1 FROM executions WHERE execution_id = :execution_id AND {_NOBODY}
AND (status IN ('running', 'pending') OR (status = 'waiting' AND due_at <= kitaru_now()))
"""

# Waiting executions whose timer is due: of this runner, or of none that lives. Dead runners are removed from
# the table before this is asked.
DUE = f"""{_EXECUTION}
WHERE status = 'waiting' AND due_at <= kitaru_now() AND project = :project AND stack = :stack
AND (runner_id = :runner_id OR NOT EXISTS (
    SELECT 1 FROM runners WHERE runners.runner_id = executions.runner_id AND lease_until > kitaru_now()
))
ORDER BY due_at LIMIT :limit
"""

# When the first of all timers is due.
NEXT_DUE = """
SELECT MIN(due_at) FROM executions
WHERE status = 'waiting' AND due_at IS NOT NULL AND project = :project AND stack = :stack
"""

# What was recorded for a runner to begin with, oldest first.
PENDING_FOR_RUNNER = f"""{_EXECUTION}
WHERE runner_id = :runner_id AND status = 'pending' ORDER BY created_at, execution_id LIMIT :limit
"""

# Keeps others from changing an execution in this transaction, where the database locks rows.
LOCK_EXECUTION = "SELECT status FROM executions WHERE execution_id = :execution_id /* lock */"

# An execution and all its descendants, with their statuses.
TREE = """
WITH RECURSIVE tree (execution_id, status) AS (
    SELECT execution_id, status FROM executions WHERE execution_id = :execution_id
    UNION
    SELECT child.execution_id, child.status FROM tree JOIN executions AS child ON child.parent_id = tree.execution_id
)
SELECT execution_id, status FROM tree ORDER BY execution_id
"""

# The parent of an execution, where that may go on.
PARENT_IN_USE = """
SELECT parent.execution_id, parent.status
FROM executions JOIN executions AS parent ON parent.execution_id = executions.parent_id
WHERE executions.execution_id = :execution_id AND parent.status NOT IN ('completed', 'cancelled')
"""

# A replay of an execution, or of one of its replays, that may go on: with child flows of the execution, say.
REPLAY_IN_USE = """
WITH RECURSIVE replays (execution_id, status) AS (
    SELECT execution_id, status FROM executions WHERE original_id = :execution_id
    UNION
    SELECT replay.execution_id, replay.status
    FROM replays JOIN executions AS replay ON replay.original_id = replays.execution_id
)
SELECT execution_id, status FROM replays WHERE status NOT IN ('completed', 'cancelled') LIMIT 1
"""

# Every row of an execution, the execution last.
DELETE_EXECUTION = tuple(
    f"DELETE FROM {table} WHERE execution_id = :execution_id"
    for table in (
        "execution_tags", "calls", "attempts", "waits", "artifacts", "metadata", "drift", "events", "logs",
        "slots", "executions",
    )
)  # fmt: skip

# What cleaning has noted of an execution, which is not counted as its rows.
FORGET_NOTES = tuple(
    f"DELETE FROM {table} WHERE execution_id = :execution_id" for table in ("blob_references", "blob_scans")
)


def list_executions(given: tuple[str, ...], statuses: int) -> str:
    """The list statement with the conditions of ``given``, and ``statuses`` many of ``:status_N``."""
    return _LIST_EXECUTIONS.format(conditions=conditions(given, statuses))


def conditions(given: tuple[str, ...], statuses: int) -> str:
    """What stands behind WHERE for a list of executions, as ``list_executions`` describes it."""
    texts = [_CONDITIONS[name] for name in given]
    if statuses:
        texts.append("status IN " + placeholders("status", statuses))
    return " AND ".join(texts) or "1 = 1"


# Executions of snapshots for which nobody lives, or that are nobody's yet, oldest first.
FROZEN = f"""{_EXECUTION}
WHERE snapshot IS NOT NULL AND status IN ('pending', 'running') AND stack = :stack
    AND (({_ORPHAN}) OR (status = 'pending' AND runner_id IS NULL))
ORDER BY created_at, execution_id LIMIT :limit
"""

# Executions of snapshots whose timer is due, and for which nobody lives.
FROZEN_DUE = f"""{_EXECUTION}
WHERE status = 'waiting' AND due_at <= kitaru_now() AND snapshot IS NOT NULL AND stack = :stack AND NOT EXISTS (
    SELECT 1 FROM runners WHERE runners.runner_id = executions.runner_id AND lease_until > kitaru_now()
)
ORDER BY due_at LIMIT :limit
"""


def orphans(flows: int | None, *, unowned: bool = True) -> str:
    """Executions without a living runner, oldest first; of so many flows, ``:flow_0`` and so on."""
    return f"""{_EXECUTION}
WHERE {_ORPHAN} {"" if unowned else "AND runner_id IS NOT NULL"} AND project = :project AND stack = :stack
{"" if flows is None else of_flows(flows)}
ORDER BY created_at, execution_id LIMIT :limit
"""


def unowned(flows: int) -> str:
    """Pending executions that are nobody's, those of the highest priority and oldest first."""
    return f"""{_EXECUTION}
WHERE status = 'pending' AND runner_id IS NULL AND project = :project AND stack = :stack {of_flows(flows)}
ORDER BY priority DESC, created_at, execution_id LIMIT :limit
"""


# The port has a method called `list`, which hides the type inside the class.
_Rows = list[ExecutionRow]
_Ids = list[str]

_LAST_CHARACTER = "\U0010ffff"


class _DryRun(Exception):
    """Undoes the transaction."""


class SqlExecutions:
    """The ``Executions`` port in SQL."""

    def __init__(self, database: Database, runners: SqlRunners) -> None:
        self._database = database
        self._runners = runners

    def get(self, execution_id: str) -> ExecutionRow | None:
        found = self._rows(self._database.read(GET_EXECUTION, {"execution_id": execution_id}))
        return found[0] if found else None

    def status(self, execution_id: str) -> Status | None:
        found = self._database.read(GET_STATUS, {"execution_id": execution_id})
        return rows.status_of(found[0][0]) if found else None

    def statuses(self, execution_ids: Sequence[str]) -> Mapping[str, Status]:
        found: dict[str, Status] = {}
        for first in range(0, len(execution_ids), MOST_AT_ONCE):
            part = execution_ids[first : first + MOST_AT_ONCE]
            parameters = {f"id_{index}": execution_id for index, execution_id in enumerate(part)}
            found |= {
                execution_id: rows.status_of(status)
                for execution_id, status in self._database.read(get_statuses(len(part)), parameters)
            }
        return found

    def list(self, where: ExecutionFilter, *, limit: int, after: str | None) -> _Rows:
        if where.statuses == ():
            return []
        statuses = where.statuses or ()
        parameters: dict[str, object] = {
            name: value for name, value in where._asdict().items() if value is not None and name != "statuses"
        }
        if after is not None:
            parameters["after"] = after
        statement = list_executions(tuple(parameters), len(statuses))
        if after is not None:
            parameters["after_created_at"] = self._created_at(after)
        parameters |= {f"status_{index}": str(status) for index, status in enumerate(statuses)}
        return self._rows(self._database.read(statement, parameters | {"limit": limit}))

    def find(self, prefix: str, *, limit: int) -> _Ids:
        parameters = {"first": prefix, "behind": prefix + _LAST_CHARACTER, "limit": limit}
        return [execution_id for (execution_id,) in self._database.read(FIND_EXECUTIONS, parameters)]

    def orphans(
        self, *, project: str, stack: str, flow_refs: Sequence[str] | None, limit: int, unowned: bool = True
    ) -> _Rows:
        self._runners.bury()
        parameters = {"project": project, "stack": stack, "limit": limit}
        if flow_refs is None:
            return self._rows(self._database.read(orphans(None, unowned=unowned), parameters))
        return self._of_flows(partial(orphans, unowned=unowned), parameters, flow_refs)

    def unowned(self, *, project: str, stack: str, flow_refs: Sequence[str], limit: int) -> _Rows:
        parameters = {"project": project, "stack": stack, "limit": limit}
        return self._of_flows(unowned, parameters, flow_refs)

    def frozen(self, *, stack: str, limit: int) -> _Rows:
        self._runners.bury()
        parameters = {"stack": stack, "limit": limit}
        found = [*self._database.read(FROZEN, parameters), *self._database.read(FROZEN_DUE, parameters)]
        return self._rows(found)

    def _of_flows(
        self, statement: Callable[[int], str], parameters: Mapping[str, object], flow_refs: Sequence[str]
    ) -> _Rows:
        found: _Rows = []
        for first in range(0, len(flow_refs), MOST_AT_ONCE):
            flows = {f"flow_{index}": one for index, one in enumerate(flow_refs[first : first + MOST_AT_ONCE])}
            found += self._rows(self._database.read(statement(len(flows)), {**parameters, **flows}))
        return found

    def is_orphan(self, execution_id: str) -> bool:
        self._runners.bury()
        return bool(self._database.read(IS_ORPHAN, {"execution_id": execution_id}))

    def pending(self, *, runner_id: str, limit: int) -> _Rows:
        parameters = {"runner_id": runner_id, "limit": limit}
        return self._rows(self._database.read(PENDING_FOR_RUNNER, parameters))

    def due(self, *, runner_id: str, project: str, stack: str, limit: int) -> _Rows:
        self._runners.bury()
        parameters = {"runner_id": runner_id, "project": project, "stack": stack, "limit": limit}
        return self._rows(self._database.read(DUE, parameters))

    def next_due(self, *, project: str, stack: str) -> Microseconds | None:
        return self._database.read(NEXT_DUE, {"project": project, "stack": stack})[0][0]

    def delete(self, execution_id: str, *, dry_run: bool = False) -> Deleted:
        deleted = Deleted((), 0)
        with contextlib.suppress(_DryRun), self._database.write(sync=False) as writer:
            tree = self._deletable_tree(writer, execution_id)
            row_count = 0
            for member in tree:
                parameters = {"execution_id": member}
                row_count += sum(writer.execute(statement, parameters) for statement in DELETE_EXECUTION)
                for statement in FORGET_NOTES:
                    writer.execute(statement, parameters)
            deleted = Deleted(tree, row_count)
            if dry_run:
                raise _DryRun
        return deleted

    def _deletable_tree(self, writer: Writer, execution_id: str) -> tuple[str, ...]:
        writer.fetch(LOCK_EXECUTION, {"execution_id": execution_id})
        tree = {member: rows.status_of(status) for member, status in writer.fetch(TREE, {"execution_id": execution_id})}
        status = tree.get(execution_id)
        if status is None or not status.finished:
            raise Conflict(status)
        found = [(child, status, Part.CHILD) for child, status in tree.items() if not status.finished]
        found += self._in_use(writer, PARENT_IN_USE, Part.PARENT, execution_id)
        for member in tree:
            found += self._in_use(writer, REPLAY_IN_USE, Part.REPLAY, member)
        for other, status, part in found:
            raise InUse(other, part, status)
        return tuple(tree)

    @staticmethod
    def _in_use(writer: Writer, statement: str, part: Part, execution_id: str) -> Iterator[tuple[str, Status, Part]]:
        for other, status in writer.fetch(statement, {"execution_id": execution_id}):
            yield other, rows.status_of(status), part

    def _created_at(self, execution_id: str) -> int:
        found = self._database.read(GET_CREATED_AT, {"execution_id": execution_id})
        if not found:
            raise KitaruNotFoundError(
                f"Execution {execution_id!r}, at which the last page ended, has been deleted. List from the start."
            )
        return found[0][0]

    def _rows(self, found: Sequence[rows.Values]) -> _Rows:
        return read_executions(found, self._database.read)
