"""Start an execution."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

from kitaru.core.ids import check_execution_id
from kitaru.core.image import ImageSettings
from kitaru.core.mutations import AlreadyExists, Commit, ExecutionCreated
from kitaru.core.ports import EncodedInputs
from kitaru.core.rows import ExecutionRow
from kitaru.core.states import Status
from kitaru.engine.call import CallScope
from kitaru.engine.context import body_run, current
from kitaru.engine.crash_points import crash_point
from kitaru.engine.definitions import FlowDefinition
from kitaru.engine.identity import Identity, child_execution_id
from kitaru.errors import KitaruStoreError, KitaruUsageError
from kitaru.services.children import ChildCall
from kitaru.services.recover import recover
from kitaru.services.retry import retry_row
from kitaru.services.runner import LOCAL, Active
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
    scope = current.get()
    with contextlib.nullcontext() if scope is None else scope.run.needing_the_store():
        return _start(wiring, definition, args, kwargs, options)


def _start(
    wiring: Wiring, definition: FlowDefinition, args: tuple[Any, ...], kwargs: dict[str, Any], options: StartOptions
) -> Started:
    inputs = wiring.values.encode_inputs(definition.binder.bind(args, kwargs), allow_opaque=False)
    _check(wiring, options)
    execution_id = options.execution_id
    scope = current.get()
    child = None
    parent_id = parent_call_id = None
    if scope is not None:
        run = scope.run
        parent_id = run.execution_id
        if isinstance(scope, CallScope):
            scope.check_open(f"{definition.name}.run()")
            parent_call_id = scope.call_id
            occurrence = scope.child_occurrence(definition.name, inputs.digest)
            identity = Identity(definition.name, inputs.digest, occurrence)
            execution_id = execution_id or child_execution_id(parent_id, scope.call_id, identity)
        else:
            child = _child_call(definition, inputs, execution_id)
            execution_id, parent_call_id = child.child_id, child.call_id
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
    )
    active = _create(wiring, definition, row, is_child=scope is not None, child=child)
    if child is not None:
        child.started()
    return Started(row.execution_id, active, child)


def _check(wiring: Wiring, options: StartOptions) -> None:
    if options.execution_id is not None:
        check_execution_id(options.execution_id)
    known = {LOCAL, *wiring.store.stacks.names()} if options.stack != LOCAL else {LOCAL}
    if options.stack not in known:
        raise KitaruUsageError(f"there is no stack {options.stack!r}. The stacks are: {', '.join(sorted(known))}.")


def _child_call(definition: FlowDefinition, inputs: EncodedInputs, execution_id: str | None) -> ChildCall:
    """The parent's side of a child flow: identified like a checkpoint call, so it is found on resume."""
    run = body_run(f"{definition.name}.run()")
    run.check_name(definition.name, definition.reference)
    identity = Identity(definition.name, inputs.digest, run.numbering.occurrence(definition.name, inputs.digest))
    position = run.numbering.position()
    recorded = run.memo.take(identity)
    return ChildCall(
        run=run,
        identity=identity,
        inputs=inputs,
        position=position,
        call_id=run.numbering.call_id(definition.name) if recorded is None else recorded.call_id,
        child_id=execution_id or child_execution_id(run.execution_id, "", identity),
        recorded=recorded,
    )


def _create(
    wiring: Wiring, definition: FlowDefinition, row: ExecutionRow, *, is_child: bool, child: ChildCall | None
) -> Active | None:
    runner = wiring.runner
    runner_id = runner.begin()
    # A child always gets a thread: its parent holds a place while it waits, so all could wait for ever.
    place = is_child or runner.reserve()
    owned = row._replace(runner_id=runner_id)
    if place:
        owned = owned._replace(status=Status.RUNNING, epoch=1, started_at=row.created_at)
    try:
        wiring.committer.commit(Commit(row.execution_id, None, (ExecutionCreated(owned),)))
    except AlreadyExists:
        if place and not is_child:
            runner.release()
        return _go_on(wiring, definition, row, is_child=is_child, child=child)
    except BaseException as error:
        if place and not is_child:
            runner.release()
        if isinstance(error, KitaruStoreError):
            runner.doubt(owned, definition)
        raise
    crash_point("after_create")
    if place:
        return runner.launch(owned, definition, counted=not is_child)
    return runner.queue(owned, definition)


def _go_on(
    wiring: Wiring, definition: FlowDefinition, row: ExecutionRow, *, is_child: bool, child: ChildCall | None
) -> Active | None:
    """The id is recorded already: check that the same is meant, and see that it goes on."""
    existing = wiring.store.executions.get(row.execution_id)
    if existing is None:
        raise KitaruUsageError(f"execution {row.execution_id} was deleted while it was started again. Try again.")
    if existing.flow != row.flow or existing.input_digest != row.input_digest:
        what = "flow " + existing.flow if existing.flow != row.flow else "the same flow with other inputs"
        raise KitaruUsageError(
            f"execution_id={row.execution_id!r} is taken: it is recorded for {what}. "
            "Use another id, or start it with the inputs that were recorded."
        )
    stands = child is not None and (child.failure_was_handled or child.failed_just_now(existing))
    if existing.status is Status.FAILED and is_child and not stands:
        return retry_row(wiring, existing, definition)
    if existing.status in (Status.RUNNING, Status.PENDING):
        return recover(wiring, existing, definition)
    return None
