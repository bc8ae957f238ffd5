"""Reads artifacts."""

from __future__ import annotations

from kitaru.core.rows import ArtifactRow
from kitaru.store.database import Database

# One artifact.
GET_ARTIFACT = """
SELECT name, call_id, value, created_at FROM artifacts WHERE execution_id = :execution_id AND name = :name
"""

# The artifacts of an execution.
ARTIFACTS = """
SELECT name, call_id, value, created_at FROM artifacts WHERE execution_id = :execution_id ORDER BY name
"""


# The port has a method called `list`, which hides the type inside the class.
_Rows = list[ArtifactRow]


class SqlArtifacts:
    """The ``Artifacts`` port in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, execution_id: str, name: str) -> ArtifactRow | None:
        found = self._database.read(GET_ARTIFACT, {"execution_id": execution_id, "name": name})
        return ArtifactRow(*found[0]) if found else None

    def list(self, execution_id: str) -> _Rows:
        found = self._database.read(ARTIFACTS, {"execution_id": execution_id})
        return [ArtifactRow(*values) for values in found]
