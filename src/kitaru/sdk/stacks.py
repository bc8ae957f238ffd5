"""Stacks, for scripts: the methods of ``KitaruClient().stacks`` as functions (S8.1)."""

from __future__ import annotations

from kitaru.client.client import KitaruClient
from kitaru.core.stack import Stack


def list_stacks() -> tuple[Stack, ...]:
    """Every stack, ``local`` first."""
    return KitaruClient().stacks.list()


def current_stack() -> Stack:
    """The active stack. Raises ``KitaruNotFoundError`` where it has been deleted."""
    return KitaruClient().stacks.current()


def use_stack(name: str) -> Stack:
    """Make a stack the active one. Raises ``KitaruNotFoundError`` where there is none of this name."""
    return KitaruClient().stacks.use(name)


def create_stack(name: str, kind: str = "process", *, artifact_store: str | None = None, **options: object) -> Stack:
    """Register a stack; arguments and errors: see ``KitaruClient().stacks.create``. Options are keywords here."""
    return KitaruClient().stacks.create(name, kind, artifact_store=artifact_store, options=options)


def delete_stack(name: str) -> None:
    """Forget a stack that nobody needs; errors: see ``KitaruClient().stacks.delete``."""
    KitaruClient().stacks.delete(name)
