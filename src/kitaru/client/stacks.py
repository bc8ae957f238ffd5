"""``KitaruClient().stacks``."""

from __future__ import annotations

from collections.abc import Mapping

from kitaru.core.stack import Stack
from kitaru.services import stacks
from kitaru.services.wiring import Wiring


class Stacks:
    """Named places where executions run (S8.1)."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring

    def list(self) -> tuple[Stack, ...]:
        """Every stack, ``local`` first."""
        return tuple(stacks.list_stacks(self._wiring))

    def get(self, name: str) -> Stack:
        """One stack. Raises ``KitaruNotFoundError`` that gives the nearest name."""
        return stacks.get_stack(self._wiring, name)

    def current(self) -> Stack:
        """The active stack: used by runs for which no other layer of configuration names one (S1.8).

        Raises:
            KitaruNotFoundError: It has been deleted.
        """
        return stacks.get_stack(self._wiring, stacks.active_name(self._wiring))

    def create(
        self,
        name: str,
        kind: str = "process",
        *,
        artifact_store: str | None = None,
        options: Mapping[str, object] | None = None,
    ) -> Stack:
        """Register a stack. It is not made the active one.

        Args:
            name: Letters, digits, ``.``, ``_`` and ``-``; unique.
            kind: What runs there: ``local``, ``process``, or a kind that an installed package brings.
            artifact_store: Path or URL for large values, for kinds that take one.
            options: Settings of the kind.

        Raises:
            KitaruUsageError: A wrong name, an unknown kind, or options that the kind does not have.
            KitaruStateError: The name is taken.
        """
        return stacks.create_stack(self._wiring, name, kind, artifact_store=artifact_store, options=options or {})

    def use(self, name: str) -> Stack:
        """Make a stack the active one, in this store and until another one is. Raises ``KitaruNotFoundError``."""
        return stacks.use_stack(self._wiring, name)

    def delete(self, name: str) -> None:
        """Forget a stack.

        Raises:
            KitaruNotFoundError: There is none of this name.
            KitaruStateError: It is ``local``, it is active, or an execution on it is not finished (it is named).
        """
        stacks.delete_stack(self._wiring, name)
