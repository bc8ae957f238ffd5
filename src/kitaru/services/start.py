"""Start an execution."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

from kitaru.core import redaction
from kitaru.core.ids import check_execution_id
from kitaru.core.image import ImageSettings
from kitaru.core.mutations import AlreadyExists, Commit, ExecutionCreated
from kitaru.core.ports import EncodedInputs
from kitaru.core.references import check_not_importing
from kitaru.core.replay import PART_OF_A_REPLAY
from kitaru.core.rows import Encoded, ExecutionRow
from kitaru.core.stack import LOCAL
from kitaru.core.states import CallKind, Status
from kitaru.engine.call import CallScope
from kitaru.engine.context import body_run, current
from kitaru.engine.crash_points import crash_point
from kitaru.engine.definitions import FlowDefinition
from kitaru.engine.dry_run import Stopped
from kitaru.engine.identity import Identity, changed_digest, child_execution_id
from kitaru.engine.overrides import changed_arguments
from kitaru.errors import KitaruStoreError
from kitaru.services.active import Active
from kitaru.services.children import ChildCall
from kitaru.services.recover import is_elsewhere, start_with
from kitaru.services.retry import retry_row
from kitaru.services.secrets import check_image
from kitaru.services.stacks import check_can_run
from kitaru.services.start_again import go_on, recorded_as
from kitaru.services.wiring import Wiring


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOptions:
    """The resolved options of one execution (S1.8)."""

    stack: str = LOCAL
    retries: int = 0
    cache: bool = True
    image: ImageSettings | None = None
    execution_id: str | None = None
    tags: tuple[str, ...] = ()
    priority: int | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """An execution that is on its way: in this process where ``active``, by a flow's body where ``child``."""

    execution_id: str
    active: Active | None
    child: ChildCall | None = None


def start(
    wiring: Wiring, definition: FlowDefinition, args: tuple[Any, ...], kwargs: dict[str, Any], options: StartOptions
) -> Started:
    """Record an execution and have it run (S1.2).

    With an ``execution_id`` that is recorded already, the recorded execution is meant: its handle is
    returned, and where its process has died it goes on in this one.

    Raises:
        KitaruUsageError: The arguments do not fit, the stack is unknown, or the id belongs to another
            flow or other inputs. Nothing has been recorded.
        KitaruSerializationError: An argument cannot be carried; its path is in the message.
    """
    check_not_importing(f"{definition.name}.run()")
    scope = current.get()
    with contextlib.nullcontext() if scope is None else scope.run.needing_the_store():
        return _start(wiring, definition, args, kwargs, options)


def _start(
    wiring: Wiring, definition: FlowDefinition, args: tuple[Any, ...], kwargs: dict[str, Any], options: StartOptions
) -> Started:
    arguments = definition.binder.bind(args, kwargs)
    inputs = wiring.values.encode_inputs(arguments, allow_opaque=False)
    _check(wiring, definition, options)
    execution_id = options.execution_id
    scope = current.get()
    child = None
    parent_id = parent_call_id = replay = None
    priority = options.priority
    if scope is not None:
        run = scope.run
        parent_id = run.execution_id
        priority = run.row.priority if priority is None else priority
        replay = PART_OF_A_REPLAY if run.is_replay else None
        if isinstance(scope, CallScope):
            scope.check_open(f"{definition.name}.run()")
            parent_call_id = scope.call_id
            occurrence = scope.child_occurrence(definition.name, inputs.digest)
            identity = Identity(definition.name, inputs.digest, occurrence)
            execution_id = execution_id or child_execution_id(parent_id, scope.call_id, identity)
        else:
            child = _child_call(definition, arguments, inputs, execution_id)
            execution_id, parent_call_id, inputs = child.child_id, child.call_id, child.inputs
    if child is not None and child.is_dry:
        return _found(wiring, definition, child)
    row = ExecutionRow(
        execution_id=execution_id or wiring.ids.execution_id(),
        project=wiring.settings.project,
        flow=definition.name,
        flow_ref=definition.reference,
        status=Status.PENDING,
        stack=options.stack,
        inputs=inputs.text,
        input_digest=inputs.digest,
        created_at=wiring.clock.now(),
        parent_id=parent_id,
        parent_call_id=parent_call_id,
        retries=options.retries,
        cache=options.cache,
        image=None if options.image is None else options.image.to_json(),
        tags=options.tags,
        replay=replay,
        priority=priority or 0,
        code_digest=wiring.shared.code_digest(definition.fn),
        snapshot=wiring.settings.snapshot,
    )
    active = None
    if child is not None and child.output is not None:
        _record_given(wiring, row, child.output)
    else:
        try:
            active = launch(wiring, definition, row, is_child=scope is not None)
        except AlreadyExists:
            active = _start_again(wiring, definition, row, is_child=scope is not None, child=child)
    if child is not None:
        child.started()
    return Started(row.execution_id, active, child)


def _found(wiring: Wiring, definition: FlowDefinition, child: ChildCall) -> Started:
    """The child of a body that runs dry: one that is there already, and is not to run again."""
    existing = wiring.store.executions.get(child.child_id)
    if existing is None or (existing.status is Status.FAILED and not child.failure_was_handled):
        raise Stopped(f"it runs its child flow {definition.name} ({child.call_id})")
    return Started(child.child_id, None, child)


def _check(wiring: Wiring, definition: FlowDefinition, options: StartOptions) -> None:
    if options.execution_id is not None:
        check_execution_id(options.execution_id)
        redaction.refuse(options.execution_id, "execution_id=")
    for tag in options.tags:
        redaction.refuse(tag, "a tag")
    check_image(wiring, options.image)
    check_can_run(wiring, definition, options.stack, options.image)


def _child_call(
    definition: FlowDefinition, arguments: dict[str, object], inputs: EncodedInputs, execution_id: str | None
) -> ChildCall:
    """The parent's side of a child flow: identified like a checkpoint call, so it is found on resume."""
    run = body_run(f"{definition.name}.run()")
    run.check_name(definition.name, definition.reference)
    identity = Identity(definition.name, inputs.digest, run.numbering.occurrence(definition.name, inputs.digest))
    position = run.numbering.position()
    override = run.overrides.of(CallKind.FLOW, identity) if run.overrides else None
    if override is not None:
        execution_id = None  # an id of the caller's own is that of the source's child
        if override.inputs is not None:
            _, _, changed = changed_arguments(override.inputs, definition.binder, arguments, run.values)
            inputs = run.values.encode_inputs(changed, allow_opaque=False)
            identity = identity._replace(digest=changed_digest(identity.digest, inputs.digest))
    recorded = run.memo.take(identity)
    call_id = child_id = None
    if recorded is not None:
        run.reused(recorded, position)
        call_id, child_id = recorded.call_id, recorded.child_id
    elif override is not None:
        call_id = override.call_id
    return ChildCall(
        run=run,
        identity=identity,
        inputs=inputs,
        position=position,
        call_id=call_id or run.numbering.call_id(definition.name),
        child_id=execution_id or child_id or child_execution_id(run.execution_id, "", identity),
        recorded=recorded,
        output=None if override is None else override.output,
    )


def launch(
    wiring: Wiring,
    definition: FlowDefinition | None,
    row: ExecutionRow,
    *,
    is_child: bool,
    copied: tuple[str, ...] = (),
) -> Active | None:
    """Record a new execution and have it run: by this process where that serves its stack, else by who does.

    ``definition`` is None where the flow is not at hand. ``copied`` are calls of ``row.original_id`` that it may
    reuse. Raises ``AlreadyExists`` where its id is taken.
    """
    runner = wiring.runner
    row = row._replace(epoch=wiring.ids.epoch())
    if definition is None or is_elsewhere(wiring, row):
        wiring.committer.commit(Commit(row.execution_id, None, (ExecutionCreated(row, copied),)))
        crash_point("after_create")
        starter = wiring.runners.of(row.stack)
        return None if starter is None else start_with(starter, row, definition)
    runner_id = runner.begin()
    # A child always gets a thread: its parent holds a place while it waits, so all could wait for ever.
    place = is_child or runner.reserve()
    owned = row._replace(runner_id=runner_id)
    if place:
        owned = owned._replace(status=Status.RUNNING, started_at=row.created_at)
    try:
        wiring.committer.commit(Commit(row.execution_id, None, (ExecutionCreated(owned, copied),)))
    except BaseException as error:
        if place and not is_child:
            runner.places.give_back()
        if isinstance(error, KitaruStoreError):
            runner.unsettled.doubt(owned, definition)
        raise
    crash_point("after_create")
    if place:
        return runner.launch(owned, definition, counted=not is_child, is_new=not copied)
    return runner.queue(owned, definition)


def _record_given(wiring: Wiring, row: ExecutionRow, output: Encoded) -> None:
    """A child whose result is given by a replay: it is recorded and never runs."""
    given = row._replace(status=Status.COMPLETED, started_at=row.created_at, ended_at=row.created_at, result=output)
    with contextlib.suppress(AlreadyExists):  # by an earlier run of the parent's body
        wiring.committer.commit(Commit(row.execution_id, None, (ExecutionCreated(given),)))


def _start_again(
    wiring: Wiring, definition: FlowDefinition, row: ExecutionRow, *, is_child: bool, child: ChildCall | None
) -> Active | None:
    """The id is recorded already: see that the same is meant, and goes on."""
    existing = recorded_as(wiring, row)
    stands = child is not None and (child.failure_was_handled or child.failed_just_now(existing))
    if existing.status is Status.FAILED and is_child and not stands:
        return retry_row(wiring, existing, definition)
    return go_on(wiring, existing, definition)
