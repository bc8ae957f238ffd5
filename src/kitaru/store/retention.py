"""What cleaning asks: which executions are old, and which blobs anybody names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kitaru.core.clock import Microseconds
from kitaru.core.ports import Unread
from kitaru.core.rows import Encoded
from kitaru.core.states import Status
from kitaru.store import rows
from kitaru.store.database import NOTHING, Database
from kitaru.store.execution_rows import placeholders

# Everything in which an execution may name blobs.
_TEXTS = (
    ("executions", ("inputs", "result", "replay", "failure_detail")),
    ("calls", ("inputs", "output", "failure_detail")),
    ("attempts", ("failure_detail",)),
    ("waits", ("metadata", "default_answer", "answer")),
    ("artifacts", ("value",)),
    ("metadata", ("value",)),
    ("drift", ("recorded", "given")),
)

# When the first of all executions that run now began.
OLDEST_RUN = "SELECT MIN(COALESCE(started_at, created_at)) FROM executions WHERE status = 'running'"

# Executions whose blobs are not noted as they stand, in the order in which they were made. Finished ones do not
# change under their epoch; an id may have been used before.
UNREAD = """
SELECT executions.execution_id, executions.created_at, executions.epoch, status, snapshot
FROM executions LEFT JOIN blob_scans ON blob_scans.execution_id = executions.execution_id
    AND blob_scans.created_at = executions.created_at AND blob_scans.epoch = executions.epoch
WHERE (executions.created_at, executions.execution_id) > (:created_at, :after)
    AND (blob_scans.execution_id IS NULL OR status NOT IN ('completed', 'failed', 'cancelled'))
ORDER BY executions.created_at, executions.execution_id LIMIT :limit
"""

# Forget what was noted of an execution.
FORGET_REFERENCES = "DELETE FROM blob_references WHERE execution_id = :execution_id"

# An execution names a blob.
ADD_REFERENCE = """
INSERT INTO blob_references (digest, execution_id) VALUES (:digest, :execution_id)
ON CONFLICT (digest, execution_id) DO NOTHING
"""

# All blobs that an execution names are noted.
ADD_SCAN = """
INSERT INTO blob_scans (execution_id, created_at, epoch) VALUES (:execution_id, :created_at, :epoch)
ON CONFLICT (execution_id) DO UPDATE SET created_at = excluded.created_at, epoch = excluded.epoch
"""

# What deployments name. The table has a row per version; reading it whole is right.
DEPLOYED = "SELECT snapshot, default_inputs FROM deployments WHERE deleted_at IS NULL"

# What unfinished executions run from.
UNFINISHED_SNAPSHOTS = """
SELECT DISTINCT snapshot FROM executions
WHERE snapshot IS NOT NULL AND status IN ('pending', 'running', 'waiting')
"""

# A value of the store itself, unless it has one.
KEEP_SETTING = "INSERT INTO settings (key, value) VALUES (:key, :value) ON CONFLICT (key) DO NOTHING"

# A value of the store itself.
SET_SETTING = """
INSERT INTO settings (key, value) VALUES (:key, :value) ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""

# The value of a setting.
GET_SETTING = "SELECT value FROM settings WHERE key = :key"


def old(statuses: int, *, of_flow: bool) -> str:
    """Executions that ended longer ago than ``:age`` and are part of no other, the first ones first."""
    return f"""
SELECT execution_id, created_at FROM executions
WHERE created_at < kitaru_now() - :age AND ended_at < kitaru_now() - :age
    AND (created_at, execution_id) > (:created_at, :after)
    AND status IN {placeholders("status", statuses)} {"AND flow = :flow" if of_flow else ""}
    AND (parent_id IS NULL OR NOT EXISTS (
        SELECT 1 FROM executions AS parent WHERE parent.execution_id = executions.parent_id
    ))
ORDER BY created_at, execution_id LIMIT :limit
"""


def texts(count: int) -> str:
    """The texts of ``count`` many executions ``:id_N`` that are like ``:named``."""
    ids = placeholders("id", count)
    return " UNION ALL ".join(
        f"SELECT execution_id, {column} FROM {table} WHERE execution_id IN {ids} AND {column} LIKE :named"
        for table, columns in _TEXTS
        for column in columns
    )


def owners(count: int) -> str:
    """Which executions name ``count`` many blobs ``:id_N``. Of an execution that was just deleted a row may be left."""
    return f"""
SELECT digest, blob_references.execution_id
FROM blob_references JOIN executions ON executions.execution_id = blob_references.execution_id
WHERE digest IN {placeholders("id", count)}
"""


def _numbered(name: str, values: Sequence[str]) -> Mapping[str, str]:
    return {f"{name}_{index}": value for index, value in enumerate(values)}


class SqlRetention:
    """The ``Retention`` port in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def old(
        self,
        *,
        age: int,
        statuses: Sequence[Status],
        flow: str | None,
        after: tuple[Microseconds, str],
        limit: int,
    ) -> list[tuple[Microseconds, str]]:
        parameters = {
            "age": age,
            "flow": flow,
            "created_at": after[0],
            "after": after[1],
            "limit": limit,
            **_numbered("status", [str(status) for status in statuses]),
        }
        if flow is None:
            del parameters["flow"]
        found = self._database.read(old(len(statuses), of_flow=flow is not None), parameters)
        return [(created_at, execution_id) for execution_id, created_at in found]

    def oldest_run(self) -> Microseconds | None:
        return self._database.read(OLDEST_RUN, NOTHING)[0][0]

    def unread(self, *, after: tuple[Microseconds, str], limit: int) -> list[Unread]:
        found = self._database.read(UNREAD, {"created_at": after[0], "after": after[1], "limit": limit})
        if not found:
            return []
        named: dict[str, list[Encoded]] = {values[0]: [] for values in found}
        parameters = {"named": "%$blob%", **_numbered("id", list(named))}
        for execution_id, text in self._database.read(texts(len(named)), parameters):
            named[execution_id].append(text)
        return [
            Unread(execution_id, created_at, epoch, rows.status_of(status), snapshot, tuple(named[execution_id]))
            for execution_id, created_at, epoch, status, snapshot in found
        ]

    def note(self, noted: Sequence[tuple[Unread, set[str]]]) -> None:
        with self._database.write() as writer:
            for read, digests in noted:
                parameters = {"execution_id": read.execution_id}
                writer.execute(FORGET_REFERENCES, parameters)
                writer.put(ADD_REFERENCE, [(digest, read.execution_id) for digest in sorted(digests)])
                writer.execute(ADD_SCAN, {**parameters, "created_at": read.created_at, "epoch": read.epoch})

    def owners(self, digests: Sequence[str]) -> list[tuple[str, str]]:
        if not digests:
            return []
        found = self._database.read(owners(len(digests)), _numbered("id", digests))
        return [(digest, execution_id) for digest, execution_id in found]

    def deployed(self) -> list[tuple[str, Encoded | None]]:
        return [(snapshot, inputs) for snapshot, inputs in self._database.read(DEPLOYED, NOTHING)]

    def unfinished_snapshots(self) -> set[str]:
        return {digest for (digest,) in self._database.read(UNFINISHED_SNAPSHOTS, NOTHING)}

    def store_id(self, new: str) -> str | None:
        if self._database.alone:
            return None
        key = {"key": "store_id"}
        found = self._database.read(GET_SETTING, key)
        if not found:
            with self._database.write() as writer:
                writer.execute(KEEP_SETTING, {**key, "value": new})
            found = self._database.read(GET_SETTING, key)
        return found[0][0]

    def settle(self, at: Microseconds) -> None:
        with self._database.write() as writer:
            writer.execute(SET_SETTING, {"key": "cleaned_at", "value": str(at)})
