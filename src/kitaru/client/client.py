"""The client."""

from __future__ import annotations

from kitaru.client.artifacts import Artifacts
from kitaru.client.executions import Executions
from kitaru.services.wiring import Wiring, wiring


class KitaruClient:
    """Looks at executions and steers them, on the store that this process uses (S7.1).

    Attributes:
        executions: Executions, their calls and attempts.
        artifacts: What ``kitaru.save`` kept.
    """

    def __init__(self) -> None:
        self._wiring: Wiring = wiring()
        self.executions = Executions(self._wiring)
        self.artifacts = Artifacts(self._wiring)
