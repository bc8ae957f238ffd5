"""Replay an execution: a new one, made from what another has recorded (S6.4, S6.5)."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from kitaru.core.ids import check_execution_id
from kitaru.core.mutations import AlreadyExists
from kitaru.core.ports import EncodedInputs, Values
from kitaru.core.replay import Action, Override, ReplayPlan, Reuse, to_json
from kitaru.core.rows import Encoded, ExecutionRow
from kitaru.core.states import Status
from kitaru.engine.definitions import FlowDefinition
from kitaru.errors import KitaruStateError, KitaruUsageError
from kitaru.services.active import Active
from kitaru.services.find import find
from kitaru.services.load import load_flow
from kitaru.services.overrides import read_overrides
from kitaru.services.plan import plan
from kitaru.services.start import launch
from kitaru.services.start_again import go_on, recorded_as
from kitaru.services.wiring import Wiring

Overrides = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A replay that can be started: all that may be refused has been looked at, nothing is recorded.

    ``definition`` is None where the source runs from a snapshot: so does its replay, and the flow is not at hand.
    """

    source: ExecutionRow
    definition: FlowDefinition | None
    inputs: EncodedInputs
    plan: ReplayPlan
    asked: str


def prepare_replay(
    wiring: Wiring,
    execution_id: str,
    *,
    from_: str | None,
    overrides: Overrides | None,
    reuse: Reuse,
    flow_inputs: Mapping[str, object],
) -> Prepared:
    """Plan a replay.

    Raises:
        KitaruNotFoundError: There is no such execution, or its flow cannot be found here.
        KitaruStateError: It is pending or running.
        KitaruUsageError: An argument is wrong.
    """
    if reuse not in get_args(Reuse):
        raise KitaruUsageError(f"reuse={reuse!r}: 'before' or 'unchanged' is expected.")
    source = find(wiring, execution_id)
    if source.status in (Status.PENDING, Status.RUNNING):
        raise KitaruStateError(
            f"execution {source.execution_id} is {source.status} and cannot be replayed before it stands still. "
            "Wait for its end, or cancel it."
        )
    definition = load_flow(source.flow_ref) if source.snapshot == wiring.settings.snapshot else None
    calls = wiring.store.calls.memo(source.execution_id)
    changed: tuple[Override, ...] = () if overrides is None else read_overrides(overrides, calls, wiring.values)
    planned = plan(calls, from_=from_, overrides=changed, reuse=reuse)
    return Prepared(
        source=source,
        definition=definition,
        inputs=_flow_inputs(definition, source, flow_inputs, wiring.values),
        plan=ReplayPlan(original_exec_id=source.execution_id, flow=source.flow, calls=planned),
        asked=to_json(from_, reuse, changed),
    )


def replay(wiring: Wiring, prepared: Prepared, execution_id: str | None = None) -> tuple[str, Active | None]:
    """Record the new execution with the calls that it may reuse, in one transaction, and run it.

    Returns its id, and what this process runs of it.

    With an ``execution_id`` that is recorded for the same replay, that one is meant.

    Raises:
        KitaruUsageError: The id cannot be used, or is taken by something else.
    """
    source = prepared.source
    row = ExecutionRow(
        execution_id=wiring.ids.execution_id() if execution_id is None else check_execution_id(execution_id),
        project=source.project,
        flow=source.flow,
        flow_ref=source.flow_ref,
        status=Status.PENDING,
        stack=source.stack,
        inputs=prepared.inputs.text,
        input_digest=prepared.inputs.digest,
        created_at=wiring.clock.now(),
        original_id=source.execution_id,
        retries=source.retries,
        cache=source.cache,
        image=source.image,
        tags=source.tags,
        replay=prepared.asked,
        priority=source.priority,
        deployment_version=source.deployment_version,
        snapshot=source.snapshot,
    )
    copied = tuple(call.call_id for call in prepared.plan.calls if call.action is Action.REUSE)
    _keep_blobs(wiring, source, frozenset(copied))
    try:
        active = launch(wiring, prepared.definition, row, is_child=False, copied=copied)
    except AlreadyExists:
        active = go_on(wiring, recorded_as(wiring, row), prepared.definition)
    return row.execution_id, active


def _keep_blobs(wiring: Wiring, source: ExecutionRow, copied: frozenset[str]) -> None:
    """See that cleaning leaves what the copies name, should their source be deleted at this very moment.

    One that is absent already is told of by whoever reads it.
    """
    texts: list[Encoded] = [source.inputs]
    texts += (artifact.value for artifact in wiring.store.artifacts.list(source.execution_id))
    for call in wiring.store.calls.memo(source.execution_id):
        if call.call_id in copied:
            failed = None if call.failure is None else call.failure.exception
            texts += [text for text in (call.inputs, call.output, failed) if text is not None]
    wiring.values.keep(texts)
    if source.snapshot is not None:
        wiring.blobs.keep([source.snapshot])


def _flow_inputs(
    definition: FlowDefinition | None, source: ExecutionRow, given: Mapping[str, object], values: Values
) -> EncodedInputs:
    """The source's inputs with some replaced, as the flow takes them now."""
    if definition is None and not given:
        return EncodedInputs(source.inputs, source.input_digest, opaque=False)
    arguments = values.decode_inputs(source.inputs)
    binder = None if definition is None else definition.binder
    parameters: Mapping[str, inspect.Parameter] = {} if binder is None else binder.parameters
    known = arguments if binder is None else parameters
    extra = next((one.name for one in parameters.values() if one.kind is inspect.Parameter.VAR_KEYWORD), None)
    for name, value in given.items():
        if name in known and name != extra:
            arguments[name] = value
        elif extra is not None:
            arguments[extra] = {**_mapping(arguments.get(extra)), name: value}
        else:
            raise KitaruUsageError(f"flow {source.flow} has no input {name!r}; it has {', '.join(known) or 'none'}.")
    bound = arguments if binder is None else binder.bind(*binder.unbind(arguments))
    return values.encode_inputs(bound, allow_opaque=False)


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}  # pyright: ignore[reportUnknownVariableType]  # of **kwargs
