"""The client."""

from __future__ import annotations

from kitaru.client.artifacts import Artifacts
from kitaru.client.deployments import Deployments
from kitaru.client.executions import Executions
from kitaru.client.limits import Limits
from kitaru.client.secrets import Secrets
from kitaru.client.stacks import Stacks
from kitaru.core.info import Info
from kitaru.services import options
from kitaru.services.wiring import Wiring, wiring


class KitaruClient:
    """Looks at executions and steers them, on the store that this process uses (S7.1).

    Attributes:
        executions: Executions, their calls and attempts.
        artifacts: What ``kitaru.save`` kept.
        secrets: The secrets of this project.
        stacks: Where executions run.
        limits: Named limits on calls and executions.
        deployments: Deployed versions of flows.
    """

    def __init__(self) -> None:
        self._wiring: Wiring = wiring()
        self.executions = Executions(self._wiring)
        self.artifacts = Artifacts(self._wiring)
        self.secrets = Secrets(self._wiring)
        self.stacks = Stacks(self._wiring)
        self.limits = Limits(self._wiring)
        self.deployments = Deployments(self._wiring)

    def info(self) -> Info:
        """Every setting in force in this process, secrets masked, and the layer that each comes from.

        Raises:
            KitaruUsageError: A layer holds a wrong value.
        """
        return options.info(self._wiring)
