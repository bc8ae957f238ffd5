"""The registered stacks, and which one is active."""

from __future__ import annotations

from kitaru.core.rows import StackRow
from kitaru.store.database import Database

# The port has a method called `list`, which hides the type inside the class.
_Rows = list[StackRow]

_COLUMNS = "SELECT name, kind, artifact_store, created_at, options FROM stacks"

# One stack.
GET_STACK = f"{_COLUMNS} WHERE name = :name"

# All stacks. The table has a handful of rows; reading it whole is right.
LIST_STACKS = f"{_COLUMNS} ORDER BY name"

# A new stack, unless its name is taken.
CREATE_STACK = """
INSERT INTO stacks (name, kind, artifact_store, created_at, options)
VALUES (:name, :kind, :artifact_store, :created_at, :options)
ON CONFLICT (name) DO NOTHING
"""

# Forget a stack that nobody needs: no unfinished execution, and not the active setting.
DELETE_STACK = """
DELETE FROM stacks WHERE name = :name
AND NOT EXISTS (SELECT 1 FROM settings WHERE key = 'active_stack' AND value = :name)
AND NOT EXISTS (
    SELECT 1 FROM executions WHERE stack = :name AND status IN ('pending', 'running', 'waiting')
)
"""

# Make a registered stack the active one.
USE_STACK = """
INSERT INTO settings (key, value) SELECT 'active_stack', name FROM stacks WHERE name = :name
ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""

# Make none the active one, which leaves `local`.
USE_NO_STACK = "DELETE FROM settings WHERE key = 'active_stack'"

# The active stack.
ACTIVE_STACK = "SELECT value FROM settings WHERE key = 'active_stack'"


class SqlStacks:
    """The ``Stacks`` port in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, name: str) -> StackRow | None:
        found = self._database.read(GET_STACK, {"name": name})
        return StackRow(*found[0]) if found else None

    def list(self) -> _Rows:
        return [StackRow(*values) for values in self._database.read(LIST_STACKS, {})]

    def active(self) -> str | None:
        found = self._database.read(ACTIVE_STACK, {})
        return found[0][0] if found else None

    def create(self, row: StackRow) -> bool:
        return self._write(CREATE_STACK, row._asdict())

    def delete(self, name: str) -> bool:
        return self._write(DELETE_STACK, {"name": name})

    def use(self, name: str | None) -> bool:
        if name is None:
            self._write(USE_NO_STACK, {})
            return True
        return self._write(USE_STACK, {"name": name})

    def _write(self, statement: str, parameters: dict[str, object]) -> bool:
        with self._database.write() as writer:
            return writer.execute(statement, parameters) == 1
