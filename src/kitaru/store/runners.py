"""The processes that run executions, and their leases (S6.2)."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from kitaru.core.rows import RunnerRow
from kitaru.store import statements
from kitaru.store.liveness import RunnerLocks
from kitaru.store.sqlite import Database

# The port has a method called `list`, which hides the type inside the class.
_Rows = list[RunnerRow]


class SqlRunners:
    """The ``Runners`` port in SQL."""

    def __init__(self, database: Database, locks: RunnerLocks) -> None:
        self._database = database
        self._locks = locks

    def register(self, row: RunnerRow, *, lease_seconds: float) -> None:
        self.bury()
        self._locks.hold(row.runner_id)  # first: without its lock a registered runner would count as dead
        parameters = {
            "runner_id": row.runner_id,
            "stack": row.stack,
            "host": row.host,
            "pid": row.pid,
            "lease": _microseconds(lease_seconds),
        }
        with self._database.write() as connection:
            connection.execute(statements.REMOVE_EXPIRED)
            connection.execute(statements.REGISTER_RUNNER, parameters)

    def heartbeat(self, runner_id: str, *, lease_seconds: float) -> bool:
        parameters = {"runner_id": runner_id, "lease": _microseconds(lease_seconds)}
        with self._database.write() as connection:
            return connection.execute(statements.RENEW_LEASE, parameters).rowcount == 1

    def retire(self, runner_id: str) -> None:
        with self._database.write() as connection:
            connection.execute(statements.REMOVE_RUNNER, {"runner_id": runner_id})
            connection.execute(statements.UNTAKE_ALL, {"runner_id": runner_id})
        self._locks.release(runner_id)

    def serves(self, stack: str) -> bool:
        self.bury()
        return bool(self._database.read(statements.SERVES, {"stack": stack}))

    def take(self, runner_id: str, *, project: str, stack: str, apart_from: Sequence[str], limit: int) -> Sequence[str]:
        place = {"project": project, "stack": stack}
        if not self._database.read(statements.HAS_UNOWNED, place):
            return ()  # the usual answer, for which no writer has to wait
        flows = {f"flow_{index}": flow_ref for index, flow_ref in enumerate(apart_from)}
        parameters = {**place, **flows, "runner_id": runner_id, "limit": limit}
        with self._database.write(sync=False) as connection:
            return [found for (found,) in connection.execute(statements.take(len(flows)), parameters).fetchall()]

    def untake(self, runner_id: str, execution_id: str) -> None:
        with self._database.write() as connection:
            connection.execute(statements.UNTAKE, {"runner_id": runner_id, "execution_id": execution_id})

    def list(self) -> _Rows:
        return [RunnerRow(*values) for values in self._database.read(statements.RUNNERS, {})]

    def is_gone(self, connection: sqlite3.Connection, runner_id: str) -> bool:
        """True where the runner is unknown, dead or without a lease. Asked within a write transaction."""
        leased = connection.execute(statements.HAS_LEASE, {"runner_id": runner_id}).fetchone() is not None
        return not leased or self._locks.is_dead(runner_id)

    def bury(self) -> None:
        """Forget the runners that are dead, so that SQL alone can tell whose executions are orphans."""
        dead = [row.runner_id for row in self.list() if self._locks.is_dead(row.runner_id)]
        if not dead:
            return
        with self._database.write() as connection:
            connection.executemany(statements.REMOVE_RUNNER, [{"runner_id": runner_id} for runner_id in dead])
        for runner_id in dead:  # after the row: a row without a file would count as alive
            self._locks.remove(runner_id)


def _microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)
