"""The client."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from kitaru.client.artifacts import Artifacts
from kitaru.client.deployments import Deployments
from kitaru.client.executions import Executions
from kitaru.client.limits import Limits
from kitaru.client.secrets import Secrets
from kitaru.client.stacks import Stacks
from kitaru.core.cleaned import Cleaned
from kitaru.core.info import Info
from kitaru.core.states import Status
from kitaru.services import options
from kitaru.services.clean import clean
from kitaru.services.wiring import Wiring, wiring

if TYPE_CHECKING:
    from kitaru.core.image import ImageSettings
    from kitaru.engine.definitions import FlowDefinition
    from kitaru.services.render_image import Rendered


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

    def clean(
        self,
        *,
        older_than: timedelta | None = None,
        statuses: Sequence[Status | str] = (Status.COMPLETED, Status.FAILED, Status.CANCELLED),
        flow: str | None = None,
        dry_run: bool = False,
    ) -> Cleaned:
        """Delete old executions, then what nobody refers to: large values, and processes that are gone.

        Runs beside everything else, and beside another cleaning; may be interrupted at any moment, and goes on
        where it is called again. An execution goes with its children. One that another execution needs which
        may go on, such as a replay of it that is not finished or failed, stays. A large value stays for an hour
        after it was last recorded, and while something runs that began before it.

        Args:
            older_than: Delete executions that ended longer ago than this, by the database's clock. None
                deletes no execution.
            statuses: Only those with one of these statuses.
            flow: Only those of this flow.
            dry_run: Delete nothing, and tell what would be.

        Returns:
            What was removed.

        Raises:
            KitaruUsageError: An argument makes no sense. Nothing was removed.
            KitaruStoreError: The store or the artifact store cannot be used; what was removed so far is removed.
        """
        return clean(self._wiring, older_than=older_than, statuses=statuses, flow=flow, dry_run=dry_run)

    def render_image(self, image: ImageSettings | None = None, definition: FlowDefinition | None = None) -> Rendered:
        """A Dockerfile for the image of a flow's definition, or of the project, with ``image`` over it.

        Raises:
            KitaruUsageError: A layer holds a wrong value, or one that fits no Dockerfile.
        """
        from kitaru.services.render_image import render_image  # noqa: PLC0415  # as for deploying: 30 ms

        return render_image(self._wiring, image, definition)
