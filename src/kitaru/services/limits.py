"""Named limits: set, delete, and look at who holds and who waits."""

from __future__ import annotations

from difflib import get_close_matches

from kitaru.core.clock import to_datetime
from kitaru.core.limit import Limit, Slot, check_limit
from kitaru.core.rows import LimitRow, SlotRow
from kitaru.errors import KitaruNotFoundError
from kitaru.services.wiring import Wiring


def set_limit(wiring: Wiring, name: str, at_once: int | None, per_minute: int | None) -> None:
    """Define a limit for all processes of the store, whatever their configuration says.

    Raises:
        KitaruUsageError: It makes no sense.
    """
    check_limit(name, at_once, per_minute, "limits.set()")
    wiring.store.limits.set(LimitRow(name, at_once, per_minute, declared=False))
    wiring.shared.line.forget()


def delete_limit(wiring: Wiring, name: str) -> None:
    """Forget a limit. Calls that name it are refused from now on, until it is defined again.

    Raises:
        KitaruNotFoundError: There is none of that name.
    """
    if not wiring.store.limits.delete(name):
        raise _unknown(wiring, name)
    wiring.shared.line.forget()


def list_limits(wiring: Wiring) -> tuple[Limit, ...]:
    """Every limit, those included that only this process's configuration declares, with who is under it."""
    wiring.shared.line.declare()
    return tuple(_limit(wiring, row) for row in wiring.store.limits.list())


def get_limit(wiring: Wiring, name: str) -> Limit:
    """One limit. Raises ``KitaruNotFoundError`` where there is none of that name."""
    wiring.shared.line.declare()
    found = find_limit(wiring, name)
    if found is None:
        raise _unknown(wiring, name)
    return found


def find_limit(wiring: Wiring, name: str) -> Limit | None:
    """A limit that the store has; None where it has none of that name."""
    row = next((row for row in wiring.store.limits.list() if row.name == name), None)
    return None if row is None else _limit(wiring, row)


def _limit(wiring: Wiring, row: LimitRow) -> Limit:
    slots = wiring.store.limits.slots(limit=row.name)
    return Limit(
        name=row.name,
        at_once=row.at_once,
        per_minute=row.per_minute,
        declared=row.declared,
        used=0 if row.per_minute is None else wiring.store.limits.used(row.name),
        holders=tuple(_slot(slot) for slot in slots if slot.taken_at is not None),
        waiting=tuple(_slot(slot) for slot in slots if slot.taken_at is None),
    )


def _slot(row: SlotRow) -> Slot:
    since = row.asked_at if row.taken_at is None else row.taken_at
    return Slot(exec_id=row.execution_id, call_id=row.call_id or None, since=to_datetime(since), host=row.host)


def _unknown(wiring: Wiring, name: str) -> KitaruNotFoundError:
    names = [row.name for row in wiring.store.limits.list()]
    near = get_close_matches(name, names, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"The limits are: {', '.join(names) or 'none yet'}."
    return KitaruNotFoundError(f"there is no limit {name!r}; {hint}" if near else f"there is no limit {name!r}. {hint}")
