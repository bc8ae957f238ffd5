"""``KitaruClient().deployments``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kitaru.client.deployment import Deployment, deployment_record
from kitaru.client.handle import FlowHandle
from kitaru.core.ports import DeploymentKey
from kitaru.core.resume_plan import ResumePlan
from kitaru.services.check import check
from kitaru.services.find_deployment import find_deployment, find_flow
from kitaru.services.invoke import invoke
from kitaru.services.load import HasDefinition
from kitaru.services.settings import positive
from kitaru.services.tag import delete_deployment, tag, untag
from kitaru.services.wiring import Wiring


class Deployments:
    """Deployed versions of flows, by the flow's name (S8.2, S8.3). Made by ``my_flow.deploy()``."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring

    def list(
        self, flow: str | None = None, *, limit: int = 50, after: Deployment | None = None
    ) -> tuple[Deployment, ...]:
        """Versions of one flow, or of all; by flow, the newest version first.

        Args:
            flow: The flow's name.
            limit: How many at most.
            after: The last one of the page before.

        Raises:
            KitaruNotFoundError: There is no such flow; the nearest names are given.
        """
        project, name = (None, None) if flow is None else find_flow(self._wiring, flow)
        place = None if after is None else DeploymentKey(after.row.project, after.flow, after.version)
        rows = self._wiring.store.deployments.list(
            project=project, flow=name, limit=positive(limit, "limit"), after=place
        )
        return tuple(deployment_record(self._wiring, row) for row in rows)

    def get(self, flow: str, *, version: int | None = None, tag: str | None = None) -> Deployment:
        """One version: by number, by tag, or the one that ``default`` points to.

        Raises:
            KitaruNotFoundError: There is no such flow, version or tag; the nearest are given.
        """
        return deployment_record(self._wiring, find_deployment(self._wiring, flow, version=version, tag=tag))

    def invoke(
        self,
        flow: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        version: int | None = None,
        tag: str | None = None,
        execution_id: str | None = None,
        tags: Iterable[str] = (),
        priority: int | None = None,
    ) -> FlowHandle[Any]:
        """Start an execution of a version, with no source at hand.

        It runs from the version's snapshot in a process of its own, and stays on that version for its whole
        life, whatever is deployed or edited meanwhile (S8.4).

        Args:
            flow: The flow's name.
            inputs: By name, over the version's default inputs.
            version: The version; without it and ``tag`` the one that ``default`` points to.
            tag: A tag; of a shared one the newest version.
            execution_id: An id of your own: a second invocation with the same id and inputs returns the first
                one's handle.
            tags: Words to find the execution by.
            priority: The higher goes first where executions, or their calls, wait for a place. Default 0.

        Raises:
            KitaruNotFoundError: There is no such flow, version or tag; the nearest are given.
            KitaruUsageError: Inputs do not fit; all that is wrong is listed. Nothing has been recorded.
        """
        row = find_deployment(self._wiring, flow, version=version, tag=tag)
        started = invoke(self._wiring, row, inputs or {}, execution_id=execution_id, tags=tags, priority=priority)
        return FlowHandle(self._wiring, *started)

    def tag(self, flow: str, version: int, tag_name: str, *, exclusive: bool | None = None) -> Deployment:
        """Set a tag at a version, or move it there (S8.3).

        Args:
            flow: The flow's name.
            version: The version.
            tag_name: The tag.
            exclusive: True: it is at one version only, and leaves the one it was at in the same transaction.
                None: as the tag is; a new one is shared. ``default`` always is exclusive.

        Raises:
            KitaruNotFoundError: There is no such flow or version.
            KitaruUsageError: The tag cannot be a tag, or an exclusive one is to be shared.
        """
        return deployment_record(self._wiring, tag(self._wiring, flow, version, tag_name, exclusive=exclusive))

    def untag(self, flow: str, version: int, tag_name: str) -> Deployment:
        """Remove a tag from a version. ``default`` can only be moved (``KitaruUsageError``)."""
        return deployment_record(self._wiring, untag(self._wiring, flow, version, tag_name))

    def check(self, flow: str | HasDefinition) -> tuple[ResumePlan, ...]:
        """What the code at hand would make of every execution of a flow that has not ended: deploy or not?

        The body of each is run with its calls answered from its records, up to the first one that has none:
        no call runs and nothing is written, but the plain code of the body does run.

        Args:
            flow: The flow, as it is now; or its name: then it is loaded from where its executions were
                started.
        """
        if isinstance(flow, str):
            return tuple(check(self._wiring, flow, None))
        return tuple(check(self._wiring, flow.definition.name, flow.definition))

    def delete(self, flow: str, version: int) -> None:
        """Delete a version; its number is not given again.

        Raises:
            KitaruStateError: An exclusive tag points to it, or an execution stays on it that is not finished.
        """
        delete_deployment(self._wiring, flow, version)
