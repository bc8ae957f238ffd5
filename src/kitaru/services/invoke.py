"""Invoke a deployed flow by its name, with no source at hand (S8.3)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from kitaru.core import redaction
from kitaru.core.ids import check_execution_id
from kitaru.core.limit import check_priority
from kitaru.core.mutations import AlreadyExists
from kitaru.core.ports import DeploymentKey
from kitaru.core.rows import DeploymentRow, ExecutionRow
from kitaru.core.states import Status
from kitaru.core.tags import check_tags
from kitaru.engine.call import CallScope
from kitaru.engine.context import current
from kitaru.errors import KitaruContextError, KitaruNotFoundError
from kitaru.services.active import Active
from kitaru.services.find_deployment import get_version
from kitaru.services.input_schema import check_inputs, placed
from kitaru.services.start import launch
from kitaru.services.start_again import go_on, recorded_as
from kitaru.services.wiring import Wiring


def invoke(
    wiring: Wiring,
    deployment: DeploymentRow,
    inputs: Mapping[str, object],
    *,
    execution_id: str | None,
    tags: Iterable[str],
    priority: int | None,
) -> tuple[str, Active | None]:
    """Record an execution of a version and have it run; its id, and what this process watches of it.

    Args:
        wiring: The process.
        deployment: The version.
        inputs: By name; over the version's default inputs.
        execution_id: An id of the caller's own. Where it is recorded already, for the same version and the
            same inputs, that execution is meant.
        tags: Words to find the execution by.
        priority: The higher goes first where executions, or their calls, wait for a place. None: 0.

    Raises:
        KitaruUsageError: Inputs or options do not fit (all that is wrong with the inputs is listed), or the id is
            taken. Nothing has been recorded.
        KitaruNotFoundError: The version was deleted a moment ago, or its source is gone. Nothing has been recorded.
        KitaruContextError: Called in a flow's body, which would invoke again whenever it runs.
    """
    name = f"flow {deployment.flow}, version {deployment.version}"
    _check_scope(deployment.flow)
    words = check_tags(tags, name)
    for word, what in ((execution_id or "", "execution_id="), *((one, "a tag") for one in words)):
        redaction.refuse(word, what)
    schema = json.loads(deployment.input_schema)
    given = {**wiring.values.decode_inputs(deployment.default_inputs), **placed(schema, inputs)}
    check_inputs(schema, given, name, whole=True)
    encoded = wiring.values.encode_inputs(given, allow_opaque=False)
    row = ExecutionRow(
        execution_id=wiring.ids.execution_id() if execution_id is None else check_execution_id(execution_id),
        project=deployment.project,
        flow=deployment.flow,
        flow_ref=deployment.entrypoint,
        status=Status.PENDING,
        stack=deployment.stack,
        inputs=encoded.text,
        input_digest=encoded.digest,
        created_at=wiring.clock.now(),
        retries=deployment.retries,
        cache=deployment.cache,
        image=deployment.image,
        tags=words,
        priority=0 if priority is None else check_priority(priority, name),
        deployment_version=deployment.version,
        snapshot=deployment.snapshot,
    )
    _keep_source(wiring, deployment)
    try:
        active = launch(wiring, None, row, is_child=False)
    except AlreadyExists:
        active = go_on(wiring, recorded_as(wiring, row), None)
    return row.execution_id, active


def _keep_source(wiring: Wiring, deployment: DeploymentRow) -> None:
    """See that cleaning leaves the source until the execution names it, should the version be deleted meanwhile."""
    if wiring.blobs.keep([deployment.snapshot]):
        key = DeploymentKey(deployment.project, deployment.flow, deployment.version)
        get_version(wiring, key)  # says that it was deleted
        raise KitaruNotFoundError(
            f"the source of version {deployment.version} of flow {deployment.flow!r} is not in the artifact store "
            f"{wiring.settings.artifacts} any more. Deploy the flow again."
        )


def _check_scope(flow: str) -> None:
    scope = current.get()
    if scope is not None and not isinstance(scope, CallScope):
        raise KitaruContextError(
            f"flow {flow} is invoked in the body of a flow, which would do so again whenever it runs. Invoke it in a "
            "checkpoint, with execution_id=kitaru.idempotency_key()."
        )
