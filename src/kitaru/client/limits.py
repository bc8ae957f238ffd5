"""``KitaruClient().limits``."""

from __future__ import annotations

from kitaru.core.limit import Limit
from kitaru.services.limits import delete_limit, get_limit, list_limits, set_limit
from kitaru.services.wiring import Wiring


class Limits:
    """Named limits: how much of something may happen at once, or in a minute, across all processes of the store."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring

    def set(self, name: str, *, at_once: int | None = None, per_minute: int | None = None) -> None:
        """Define a limit, or define it anew. It counts more than what any configuration declares.

        Args:
            name: The name that ``@checkpoint(limit=...)`` gives. ``flow:NAME`` and ``stack:NAME`` bound how many
                executions of a flow, or on a stack, run at once.
            at_once: How many calls may hold a place at the same time, 1 or more; None for any number.
            per_minute: How many may begin in any 60 seconds, 1 or more; None for any number.

        Raises:
            KitaruUsageError: A value is wrong, or neither bound is given.
        """
        set_limit(self._wiring, name, at_once, per_minute)

    def delete(self, name: str) -> None:
        """Forget a limit; calls that name it are refused until it is defined again.

        Raises ``KitaruNotFoundError`` where there is none of that name.
        """
        delete_limit(self._wiring, name)

    def list(self) -> tuple[Limit, ...]:
        """Every limit by name: its bounds, who holds a place since when, and who waits."""
        return list_limits(self._wiring)

    def get(self, name: str) -> Limit:
        """One limit. Raises ``KitaruNotFoundError`` where there is none of that name."""
        return get_limit(self._wiring, name)
