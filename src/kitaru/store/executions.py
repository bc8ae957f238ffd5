"""Reads executions, and deletes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from kitaru.core.mutations import Conflict
from kitaru.core.ports import ExecutionFilter
from kitaru.core.rows import ExecutionRow
from kitaru.core.states import Status
from kitaru.errors import KitaruNotFoundError
from kitaru.store import rows, statements
from kitaru.store.runners import SqlRunners
from kitaru.store.sqlite import Database

# The port has a method called `list`, which hides the type inside the class.
_Rows = list[ExecutionRow]
_Ids = list[str]

_MOST_AT_ONCE = 500  # databases bound the number of parameters
_LAST_CHARACTER = "\U0010ffff"


class SqlExecutions:
    """The ``Executions`` port in SQL."""

    def __init__(self, database: Database, runners: SqlRunners) -> None:
        self._database = database
        self._runners = runners

    def get(self, execution_id: str) -> ExecutionRow | None:
        found = self._rows(self._database.read(statements.GET_EXECUTION, {"execution_id": execution_id}))
        return found[0] if found else None

    def status(self, execution_id: str) -> Status | None:
        found = self._database.read(statements.GET_STATUS, {"execution_id": execution_id})
        return rows.status_of(found[0][0]) if found else None

    def list(self, where: ExecutionFilter, *, limit: int, after: str | None) -> _Rows:
        if where.statuses == ():
            return []
        statuses = where.statuses or ()
        parameters: dict[str, object] = {
            name: value for name, value in where._asdict().items() if value is not None and name != "statuses"
        }
        if after is not None:
            parameters["after"] = after
        statement = statements.list_executions(tuple(parameters), len(statuses))
        if after is not None:
            parameters["after_created_at"] = self._created_at(after)
        parameters |= {f"status_{index}": str(status) for index, status in enumerate(statuses)}
        return self._rows(self._database.read(statement, parameters | {"limit": limit}))

    def find(self, prefix: str, *, limit: int) -> _Ids:
        parameters = {"first": prefix, "behind": prefix + _LAST_CHARACTER, "limit": limit}
        return [execution_id for (execution_id,) in self._database.read(statements.FIND_EXECUTIONS, parameters)]

    def orphans(self, *, project: str, stack: str, flow_refs: Sequence[str] | None, limit: int) -> _Rows:
        self._runners.bury()
        parameters = {"project": project, "stack": stack, "limit": limit}
        if flow_refs is None:
            return self._rows(self._database.read(statements.orphans(None), parameters))
        return self._of_flows(statements.orphans, parameters, flow_refs)

    def unowned(self, *, project: str, stack: str, flow_refs: Sequence[str], limit: int) -> _Rows:
        parameters = {"project": project, "stack": stack, "limit": limit}
        return self._of_flows(statements.unowned, parameters, flow_refs)

    def _of_flows(
        self, statement: Callable[[int], str], parameters: Mapping[str, object], flow_refs: Sequence[str]
    ) -> _Rows:
        found: _Rows = []
        for first in range(0, len(flow_refs), _MOST_AT_ONCE):
            flows = {f"flow_{index}": one for index, one in enumerate(flow_refs[first : first + _MOST_AT_ONCE])}
            found += self._rows(self._database.read(statement(len(flows)), {**parameters, **flows}))
        return found

    def is_orphan(self, execution_id: str) -> bool:
        self._runners.bury()
        return bool(self._database.read(statements.IS_ORPHAN, {"execution_id": execution_id}))

    def pending(self, *, runner_id: str, limit: int) -> _Rows:
        parameters = {"runner_id": runner_id, "limit": limit}
        return self._rows(self._database.read(statements.PENDING_FOR_RUNNER, parameters))

    def due(self, *, runner_id: str, project: str, stack: str, limit: int) -> _Rows:
        self._runners.bury()
        parameters = {"runner_id": runner_id, "project": project, "stack": stack, "limit": limit}
        return self._rows(self._database.read(statements.DUE, parameters))

    def delete(self, execution_id: str) -> None:
        with self._database.write() as connection:
            found = connection.execute(statements.GET_STATUS, {"execution_id": execution_id}).fetchone()
            status = rows.status_of(found[0]) if found else None
            if status is None or not status.finished:
                raise Conflict(status)
            for statement in statements.DELETE_EXECUTION:
                connection.execute(statement, {"execution_id": execution_id})

    def _created_at(self, execution_id: str) -> int:
        found = self._database.read(statements.GET_CREATED_AT, {"execution_id": execution_id})
        if not found:
            raise KitaruNotFoundError(
                f"Execution {execution_id!r}, at which the last page ended, has been deleted. List from the start."
            )
        return found[0][0]

    def _rows(self, found: Sequence[rows.Values]) -> _Rows:
        if not found:
            return []
        tags: dict[str, _Ids] = {}
        for first in range(0, len(found), _MOST_AT_ONCE):
            part = found[first : first + _MOST_AT_ONCE]
            parameters = {f"id_{index}": values[0] for index, values in enumerate(part)}
            for execution_id, tag in self._database.read(statements.get_tags(len(part)), parameters):
                tags.setdefault(execution_id, []).append(tag)
        return [rows.read_execution(values, tuple(tags.get(values[0], ()))) for values in found]
