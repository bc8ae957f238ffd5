"""Finds the flow of a recorded execution."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from kitaru.core.references import resolve
from kitaru.engine.definitions import FlowDefinition, registry
from kitaru.errors import KitaruNotFoundError


@runtime_checkable
class HasDefinition(Protocol):
    """What the ``@flow`` decorator makes."""

    definition: FlowDefinition


def load_flow(reference: str) -> FlowDefinition:
    """The flow of a reference, imported where this process has not seen it yet.

    Raises:
        KitaruNotFoundError: Its module, script or name is gone, or is no flow any more.
    """
    known = registry.get(reference)
    if known is not None:
        return known
    found = resolve(reference)
    if not isinstance(found, HasDefinition):
        raise KitaruNotFoundError(f"{reference} is not a flow any more. Restore its @flow decorator and try again.")
    return found.definition
