"""Secrets, encrypted before they get here."""

from __future__ import annotations

from kitaru.core.clock import Microseconds
from kitaru.core.rows import SecretRow
from kitaru.store.database import Database

# The port has a method called `list`, which hides the type inside the class.
_Rows = list[SecretRow]

# Keep a secret, in place of one of the same name.
SET_CIPHERTEXT = """
INSERT INTO secrets (project, name, changed_at, ciphertext) VALUES (:project, :name, :changed_at, :ciphertext)
ON CONFLICT (project, name) DO UPDATE SET changed_at = excluded.changed_at, ciphertext = excluded.ciphertext
"""

# One secret.
GET_CIPHERTEXT = "SELECT name, changed_at, ciphertext FROM secrets WHERE project = :project AND name = :name"

# The secrets of a project.
LIST_CIPHERTEXTS = "SELECT name, changed_at, ciphertext FROM secrets WHERE project = :project ORDER BY name"

# Forget a secret.
DELETE_CIPHERTEXT = "DELETE FROM secrets WHERE project = :project AND name = :name"


class SqlSecrets:
    """The ``Secrets`` port in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def set(self, project: str, name: str, ciphertext: bytes, *, at: Microseconds) -> None:
        parameters = {"project": project, "name": name, "changed_at": at, "ciphertext": ciphertext}
        with self._database.write() as writer:
            writer.execute(SET_CIPHERTEXT, parameters)

    def get(self, project: str, name: str) -> SecretRow | None:
        found = self._database.read(GET_CIPHERTEXT, {"project": project, "name": name})
        return SecretRow(*found[0]) if found else None

    def list(self, project: str) -> _Rows:
        return [SecretRow(*values) for values in self._database.read(LIST_CIPHERTEXTS, {"project": project})]

    def delete(self, project: str, name: str) -> bool:
        with self._database.write() as writer:
            return writer.execute(DELETE_CIPHERTEXT, {"project": project, "name": name}) == 1
