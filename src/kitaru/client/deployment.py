"""A deployed version of a flow, as surfaces show it (S7.2)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from kitaru.client.handle import FlowHandle
from kitaru.core.clock import to_datetime
from kitaru.core.image import ImageSettings
from kitaru.core.rows import DeploymentRow
from kitaru.services.invoke import invoke
from kitaru.services.tag import delete_deployment, tag, untag
from kitaru.services.wiring import Wiring


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """An immutable version of a flow: its code, its environment, and what it takes.

    Attributes:
        flow: The flow's name.
        version: 1, 2, 3 ... for each flow.
        created_at: When it was deployed.
        stack: Where its executions run.
        entrypoint: Where the flow is found in its source.
        snapshot: Digest of the source.
        commit: The git commit that was checked out; None without git.
        dirty: True where the source was not what the commit has.
        image: Its environment.
        input_schema: JSON schema of its inputs.
        retries: How often its body may run again.
        cache: Whether its checkpoints reuse results of earlier executions.
        tags: The tags that pointed to it when this record was read.
    """

    flow: str
    version: int
    created_at: datetime
    stack: str
    entrypoint: str
    snapshot: str
    commit: str | None
    dirty: bool
    image: ImageSettings | None
    input_schema: Mapping[str, Any]
    retries: int
    cache: bool
    tags: tuple[str, ...]
    row: DeploymentRow = field(repr=False, compare=False)
    wiring: Wiring = field(repr=False, compare=False)

    @cached_property
    def default_inputs(self) -> Mapping[str, Any]:
        """The inputs that count where an invocation gives none."""
        return self.wiring.values.decode_inputs(self.row.default_inputs)

    def invoke(
        self,
        *,
        execution_id: str | None = None,
        tags: Iterable[str] = (),
        priority: int | None = None,
        **inputs: Any,
    ) -> FlowHandle[Any]:
        """Start an execution of this version; see ``Deployments.invoke``."""
        started = invoke(self.wiring, self.row, inputs, execution_id=execution_id, tags=tags, priority=priority)
        return FlowHandle(self.wiring, *started)

    def add_tag(self, name: str, *, exclusive: bool | None = None) -> Deployment:
        """Set a tag at this version; see ``Deployments.tag``. Returns the record as it is then."""
        return deployment_record(self.wiring, tag(self.wiring, self.flow, self.version, name, exclusive=exclusive))

    def remove_tag(self, name: str) -> Deployment:
        """Remove a tag from this version; see ``Deployments.untag``. Returns the record as it is then."""
        return deployment_record(self.wiring, untag(self.wiring, self.flow, self.version, name))

    def delete(self) -> None:
        """Delete this version; see ``Deployments.delete``."""
        delete_deployment(self.wiring, self.flow, self.version)


def deployment_record(wiring: Wiring, row: DeploymentRow) -> Deployment:
    """The record of a version."""
    image = None if row.image is None else ImageSettings.parse(json.loads(row.image), f"deployment {row.flow}")
    return Deployment(
        flow=row.flow,
        version=row.version,
        created_at=to_datetime(row.created_at),
        stack=row.stack,
        entrypoint=row.entrypoint,
        snapshot=row.snapshot,
        commit=row.commit,
        dirty=row.dirty,
        image=image,
        input_schema=json.loads(row.input_schema),
        retries=row.retries,
        cache=row.cache,
        tags=row.tags,
        row=row,
        wiring=wiring,
    )
