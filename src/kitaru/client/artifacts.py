"""``KitaruClient().artifacts``."""

from __future__ import annotations

from kitaru.client.records import artifact_record
from kitaru.core.artifact import Artifact
from kitaru.errors import KitaruNotFoundError
from kitaru.services.find import find
from kitaru.services.wiring import Wiring


class Artifacts:
    """What ``kitaru.save`` kept."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring

    def list(self, exec_id: str) -> tuple[Artifact, ...]:
        """The artifacts of an execution, by name."""
        row = find(self._wiring, exec_id)
        rows = self._wiring.store.artifacts.list(row.execution_id)
        return tuple(artifact_record(self._wiring, row.execution_id, artifact) for artifact in rows)

    def get(self, exec_id: str, name: str) -> Artifact:
        """One artifact. Raises ``KitaruNotFoundError`` that lists the names there are."""
        row = find(self._wiring, exec_id)
        artifact = self._wiring.store.artifacts.get(row.execution_id, name)
        if artifact is None:
            names = ", ".join(sorted(one.name for one in self._wiring.store.artifacts.list(row.execution_id)))
            raise KitaruNotFoundError(
                f"execution {row.execution_id} has no artifact {name!r}; it has {names or 'none'}."
            )
        return artifact_record(self._wiring, row.execution_id, artifact)
