"""Register, choose and forget stacks (S8.1)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING

from kitaru.core.image import ImageSettings
from kitaru.core.ports import ExecutionFilter
from kitaru.core.references import UNFINDABLE, can_be_found
from kitaru.core.rows import StackRow
from kitaru.core.stack import LOCAL, Stack, check_stack_name
from kitaru.core.states import Status
from kitaru.engine.definitions import FlowDefinition
from kitaru.errors import KitaruNotFoundError, KitaruStateError, KitaruUsageError
from kitaru.services.secrets import secret_environment
from kitaru.stacks.kinds import check_stack, kind_named

if TYPE_CHECKING:
    from kitaru.services.wiring import Wiring

IN_MEMORY = "sqlite://"
_UNFINISHED = (Status.PENDING, Status.RUNNING, Status.WAITING)


def list_stacks(wiring: Wiring) -> list[Stack]:
    """Every stack: ``local`` first, then by name."""
    active = active_name(wiring)
    rows = wiring.store.stacks.list()
    return [Stack(name=LOCAL, kind=LOCAL, active=active == LOCAL), *(_stack(row, active) for row in rows)]


def active_name(wiring: Wiring) -> str:
    """The name of the active stack."""
    return wiring.store.stacks.active() or LOCAL


def get_stack(wiring: Wiring, name: str) -> Stack:
    """A stack by its name.

    Raises:
        KitaruNotFoundError: There is none; the nearest names are given.
    """
    active = active_name(wiring)
    if name == LOCAL:
        return Stack(name=LOCAL, kind=LOCAL, active=active == LOCAL)
    row = wiring.store.stacks.get(name)
    if row is None:
        raise KitaruNotFoundError(_unknown(wiring, name))
    return _stack(row, active)


def check_can_run(wiring: Wiring, definition: FlowDefinition, name: str, image: ImageSettings | None) -> None:
    """Refuse to start a flow where nothing can run it.

    Raises:
        KitaruUsageError: There is no such stack, its kind is not installed, or other processes run its executions
            and could not find the flow or the store.
        KitaruNotFoundError: They are to have a secret that is not there.
    """
    if name in (LOCAL, wiring.runner.lease.stack):
        return
    row = wiring.store.stacks.get(check_stack_name(name))
    if row is None:
        raise KitaruUsageError(_unknown(wiring, name))
    place = kind_named(row.kind).place
    if place == "thread":
        return
    if not can_be_found(definition.reference):
        raise KitaruUsageError(
            f"flow {definition.name} cannot run on stack {name!r}, which uses other processes. {UNFINDABLE}"
        )
    if wiring.settings.store == IN_MEMORY:
        raise KitaruUsageError(
            f"flow {definition.name} cannot run on stack {name!r}: other processes do not see a store in memory."
        )
    if place == "process":
        secret_environment(wiring, image)


def create_stack(
    wiring: Wiring, name: str, kind: str, *, artifact_store: str | None, options: Mapping[str, object]
) -> Stack:
    """Register a stack.

    Raises:
        KitaruUsageError: A wrong name, an unknown kind, or options that the kind does not have.
        KitaruStateError: The name is taken.
    """
    stack = Stack(name=check_stack_name(name), kind=kind, artifact_store=artifact_store, options=dict(options))
    check_stack(stack)
    try:
        text = json.dumps(stack.options, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise KitaruUsageError(f"stack {name}: its options cannot be kept: {error}.") from None
    row = StackRow(name, kind, artifact_store, wiring.clock.now(), text)
    if name == LOCAL or not wiring.store.stacks.create(row):
        raise KitaruStateError(f"there is a stack {name!r} already. Use another name, or delete that one first.")
    return stack


def use_stack(wiring: Wiring, name: str) -> Stack:
    """Make a stack the active one: the last layer of configuration (S1.8).

    Raises:
        KitaruNotFoundError: There is none of this name.
    """
    if not wiring.store.stacks.use(None if name == LOCAL else name):
        raise KitaruNotFoundError(_unknown(wiring, name))
    return get_stack(wiring, name)


def delete_stack(wiring: Wiring, name: str) -> None:
    """Forget a stack that nobody needs.

    Raises:
        KitaruNotFoundError: There is none of this name.
        KitaruStateError: It is ``local``, it is active, or an execution on it is not finished.
    """
    if name == LOCAL:
        raise KitaruStateError(f"stack {LOCAL!r} always exists and cannot be deleted.")
    if wiring.store.stacks.delete(name):
        return
    get_stack(wiring, name)
    if active_name(wiring) == name:
        raise KitaruStateError(
            f"stack {name!r} is the active one. Make another one active first: kitaru.use_stack({LOCAL!r})."
        )
    needed = wiring.store.executions.list(ExecutionFilter(stack=name, statuses=_UNFINISHED), limit=4, after=None)
    listed = ", ".join(f"{row.execution_id} ({row.status})" for row in needed[:3]) + (
        ", ..." if len(needed) > 3 else ""
    )
    raise KitaruStateError(
        f"stack {name!r} is needed by executions that are not finished: {listed}. Cancel them first."
    )


def _stack(row: StackRow, active: str) -> Stack:
    return Stack(
        name=row.name,
        kind=row.kind,
        artifact_store=row.artifact_store,
        options=json.loads(row.options),
        active=row.name == active,
    )


def _unknown(wiring: Wiring, name: str) -> str:
    names = [LOCAL, *(row.name for row in wiring.store.stacks.list())]
    near = get_close_matches(name, names, 1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    return f"there is no stack {name!r}. {hint}The stacks are: {', '.join(names)}."
