"""Reads the registered stacks."""

from __future__ import annotations

from kitaru.store import statements
from kitaru.store.sqlite import Database


class SqlStacks:
    """The ``Stacks`` port in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def names(self) -> list[str]:
        return [name for (name,) in self._database.read(statements.STACK_NAMES, {})]

    def active(self) -> str | None:
        found = self._database.read(statements.GET_SETTING, {"key": "active_stack"})
        return found[0][0] if found else None
