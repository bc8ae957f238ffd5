"""Finds the flow of a recorded execution, or of a target that somebody names."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from kitaru.core.references import resolve
from kitaru.engine.definitions import FlowDefinition, registry
from kitaru.errors import KitaruNotFoundError


@runtime_checkable
class HasDefinition(Protocol):
    """What the ``@flow`` decorator makes."""

    definition: FlowDefinition


@runtime_checkable
class Startable(HasDefinition, Protocol):
    """The same, as whoever starts it sees it."""

    def run(self, *args: Any, **kwargs: Any) -> Any: ...


def load_target(target: str) -> Startable:
    """The flow that ``module:flow`` or ``file.py:flow`` names, imported where this process has not seen it yet.

    Raises:
        KitaruNotFoundError: There is no such flow.
    """
    place, _, name = target.rpartition(":")
    source = str(Path(place).resolve()) if place.endswith(".py") else place
    try:
        found = resolve(f"{source}:{name}") if source and name else None
    except KitaruNotFoundError as error:
        raise KitaruNotFoundError(f"there is no flow {target!r}, seen from {Path.cwd()}: {error}") from None
    if not isinstance(found, Startable):
        raise KitaruNotFoundError(f"{target!r} names no flow. Write module:flow or file.py:flow.")
    return found


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
