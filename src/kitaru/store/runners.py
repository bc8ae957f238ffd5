"""The processes that run executions, and their leases (S6.2)."""

from __future__ import annotations

from collections.abc import Sequence

from kitaru.core.rows import ExecutionRow, RunnerRow
from kitaru.store.database import Database, Writer
from kitaru.store.execution_rows import EXECUTION, read_executions
from kitaru.store.liveness import RunnerLocks

# A runner, with a lease from now on.
REGISTER_RUNNER = """
INSERT INTO runners (runner_id, stack, host, pid, lease_until)
VALUES (:runner_id, :stack, :host, :pid, kitaru_now() + :lease)
ON CONFLICT (runner_id) DO UPDATE SET
    stack = excluded.stack, host = excluded.host, pid = excluded.pid, lease_until = excluded.lease_until
"""

# Renew a lease that has not run out.
RENEW_LEASE = """
UPDATE runners SET lease_until = kitaru_now() + :lease
WHERE runner_id = :runner_id AND lease_until > kitaru_now()
"""

# Forget a runner.
REMOVE_RUNNER = "DELETE FROM runners WHERE runner_id = :runner_id"

# Forget runners whose lease has run out: it is never renewed. Keeps the table as small as it is in use.
REMOVE_EXPIRED = "DELETE FROM runners WHERE lease_until <= kitaru_now()"

# True where a runner's lease has not run out.
HAS_LEASE = "SELECT 1 FROM runners WHERE runner_id = :runner_id AND lease_until > kitaru_now() /* lock */"

# All runners. The table has a row per process that runs executions; reading it whole is right.
RUNNERS = "SELECT runner_id, stack, host, pid, lease_until FROM runners ORDER BY runner_id"

# True where a stack has a living runner.
SERVES = "SELECT 1 FROM runners WHERE stack = :stack AND lease_until > kitaru_now() LIMIT 1"

# True where a stack has a pending execution that is nobody's.
HAS_UNOWNED = """
SELECT 1 FROM executions
WHERE status = 'pending' AND runner_id IS NULL AND project = :project AND stack = :stack LIMIT 1
"""

# A pending execution that a runner cannot run is nobody's again.
UNTAKE = """
UPDATE executions SET runner_id = NULL
WHERE execution_id = :execution_id AND runner_id = :runner_id AND status = 'pending'
"""

# What was pending for a runner that ends is nobody's again.
UNTAKE_ALL = "UPDATE executions SET runner_id = NULL WHERE runner_id = :runner_id AND status = 'pending'"


# The execution of a place runs, under the epoch that took it, by a runner with a lease. Dead runners of this
# machine are removed from their table when somebody waits.
COUNTS = """EXISTS (
    SELECT 1 FROM executions JOIN runners ON runners.runner_id = executions.runner_id
    WHERE executions.execution_id = slots.execution_id AND executions.epoch = slots.epoch
        AND executions.status = 'running' AND runners.lease_until > kitaru_now()
)"""

# True where so many executions hold places under the limit of a pending one's flow or stack, or wait for some, that
# it would only wait too. It is no guarantee: that is given by the places themselves.
_FULL = f"""EXISTS (
    SELECT 1 FROM limits WHERE limits.name IN ('flow:' || executions.flow, 'stack:' || executions.stack)
        AND limits.at_once <= (SELECT COUNT(*) FROM slots WHERE slots.limit_name = limits.name AND {COUNTS})
)"""


def take(apart_from: int) -> str:
    """Give a runner pending executions that are nobody's: one statement, so no two runners get the same."""
    return f"""
WITH chosen AS (
    SELECT execution_id FROM executions
    WHERE status = 'pending' AND runner_id IS NULL AND project = :project AND stack = :stack
    {of_flows(apart_from, "NOT IN") if apart_from else ""} AND NOT {_FULL}
    ORDER BY priority DESC, created_at, execution_id LIMIT :limit /* lock, skip */
)
UPDATE executions SET runner_id = :runner_id WHERE execution_id IN (SELECT execution_id FROM chosen)
RETURNING {EXECUTION}
"""


def of_flows(count: int, how: str = "IN") -> str:
    """A condition on the function of an execution: ``:flow_0`` and so on."""
    return f"AND flow_ref {how} ({', '.join(f':flow_{index}' for index in range(count))})"


# The port has a method called `list`, which hides the type inside the class.
_Rows = list[RunnerRow]


class SqlRunners:
    """The ``Runners`` port in SQL."""

    def __init__(self, database: Database, locks: RunnerLocks) -> None:
        self._database = database
        self._locks = locks
        self._has_more = False  # the last `take` got all that it asked for; a hint, by any thread

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
        with self._database.write() as writer:
            writer.execute(REMOVE_EXPIRED)
            writer.execute(REGISTER_RUNNER, parameters)

    def heartbeat(self, runner_id: str, *, lease_seconds: float) -> bool:
        parameters = {"runner_id": runner_id, "lease": _microseconds(lease_seconds)}
        with self._database.write() as writer:
            renewed = writer.execute(RENEW_LEASE, parameters) == 1
        self._database.ask_time()  # as often as this: the machine's clock may be set at any time
        return renewed

    def retire(self, runner_id: str) -> None:
        with self._database.write() as writer:
            writer.execute(REMOVE_RUNNER, {"runner_id": runner_id})
            writer.execute(UNTAKE_ALL, {"runner_id": runner_id})
        self._locks.release(runner_id)
        self._locks.remove(runner_id)  # where it was another process's

    def serves(self, stack: str) -> bool:
        self.bury()
        return bool(self._database.read(SERVES, {"stack": stack}))

    def take(
        self, runner_id: str, *, project: str, stack: str, apart_from: Sequence[str], limit: int
    ) -> Sequence[ExecutionRow]:
        place = {"project": project, "stack": stack}
        if not self._has_more and not self._database.read(HAS_UNOWNED, place):
            return ()  # the usual answer, for which no writer has to wait
        flows = {f"flow_{index}": flow_ref for index, flow_ref in enumerate(apart_from)}
        parameters = {**place, **flows, "runner_id": runner_id, "limit": limit}
        with self._database.write(sync=False, urgent=False) as writer:
            taken = read_executions(writer.fetch(take(len(flows)), parameters), writer.fetch)
        self._has_more = len(taken) == limit
        return sorted(taken, key=lambda row: (-row.priority, row.created_at, row.execution_id))

    def untake(self, runner_id: str, execution_id: str) -> None:
        with self._database.write() as writer:
            writer.execute(UNTAKE, {"runner_id": runner_id, "execution_id": execution_id})

    def list(self) -> _Rows:
        return [RunnerRow(*values) for values in self._database.read(RUNNERS, {})]

    def is_gone(self, writer: Writer, runner_id: str) -> bool:
        """True where the runner is unknown, dead or without a lease. Asked within a write transaction."""
        leased = bool(writer.fetch(HAS_LEASE, {"runner_id": runner_id}))
        return not leased or self._locks.is_dead(runner_id)

    def clear(self) -> int:
        buried = self.bury()
        with self._database.write() as writer:
            return buried + writer.execute(REMOVE_EXPIRED)

    def bury(self) -> int:
        """Forget the runners that are dead, so that SQL alone can tell whose executions are orphans; how many."""
        if not self._locks.exist:
            return 0
        dead = [row.runner_id for row in self.list() if self._locks.is_dead(row.runner_id)]
        if not dead:
            return 0
        with self._database.write() as writer:
            writer.put(REMOVE_RUNNER, [(runner_id,) for runner_id in dead])
        for runner_id in dead:  # after the row: a row without a file would count as alive
            self._locks.remove(runner_id)
        return len(dead)


def _microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)
