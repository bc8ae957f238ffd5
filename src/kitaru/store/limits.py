"""Named limits, and the places under them.

A place counts only while its execution is running, under the epoch that asked for it, by a runner with
a lease. So the places of a dead process are free as soon as its death is known, and nobody has to free
them. Whoever takes places locks the rows of their limits first: what it counts is what it takes from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from kitaru.core.clock import Microseconds
from kitaru.core.ports import Admission, Ask
from kitaru.core.rows import LimitRow, SlotRow
from kitaru.store import rows
from kitaru.store.database import Database
from kitaru.store.runners import COUNTS, SqlRunners

# A limit that was set by hand. It replaces any other.
SET_LIMIT = """
INSERT INTO limits (name, at_once, per_minute, declared) VALUES (:name, :at_once, :per_minute, 0)
ON CONFLICT (name) DO UPDATE SET at_once = excluded.at_once, per_minute = excluded.per_minute, declared = 0
"""

# A limit of a process's configuration. One that was set by hand stays.
DECLARE_LIMIT = """
INSERT INTO limits (name, at_once, per_minute, declared) VALUES (:name, :at_once, :per_minute, 1)
ON CONFLICT (name) DO UPDATE SET at_once = excluded.at_once, per_minute = excluded.per_minute
WHERE limits.declared = 1
"""

# Forget a limit.
DELETE_LIMIT = "DELETE FROM limits WHERE name = :name"

# All limits. A handful of rows, which are meant to be read whole.
LIMITS = "SELECT name, at_once, per_minute, declared FROM limits ORDER BY name"

# Nobody else takes places under this limit until the transaction ends.
LOCK_LIMIT = "UPDATE limits SET at_once = at_once WHERE name = :name"

_MINUTE = 60_000_000

_USED = f"FROM limit_uses WHERE limit_name = :name AND used_at > kitaru_now() - {_MINUTE}"

# What a limit allows and what of it is taken, the oldest use of the last minute, and the time.
ROOM = f"""
SELECT at_once, per_minute,
    (SELECT COUNT(*) FROM slots WHERE limit_name = :name AND taken_at IS NOT NULL AND {COUNTS}),
    (SELECT COUNT(*) {_USED}), (SELECT MIN(used_at) {_USED}), kitaru_now()
FROM limits WHERE name = :name
"""

# The first in the line of a limit.
LINE = f"""
SELECT execution_id, call_id FROM slots WHERE limit_name = :name AND taken_at IS NULL AND {COUNTS}
ORDER BY priority DESC, asked_at, turn LIMIT :room
"""

# Come into the line; what an earlier epoch of the execution left there is replaced. ``turn`` keeps the order of
# those who come together.
JOIN_LINE = """
INSERT INTO slots (limit_name, execution_id, call_id, epoch, priority, asked_at, turn, taken_at)
VALUES (:name, :execution_id, :call_id, :epoch, :priority, kitaru_now(), :turn, NULL)
ON CONFLICT (limit_name, execution_id, call_id) DO UPDATE SET
    epoch = excluded.epoch, priority = excluded.priority, asked_at = excluded.asked_at,
    turn = excluded.turn, taken_at = NULL
"""

# A place is taken.
TAKE_SLOT = """
UPDATE slots SET taken_at = kitaru_now()
WHERE limit_name = :name AND execution_id = :execution_id AND call_id = :call_id
"""

# ... and counts for a minute.
ADD_USE = "INSERT INTO limit_uses (limit_name, used_at) VALUES (:name, kitaru_now())"

# Uses that count no more.
REMOVE_USES = f"DELETE FROM limit_uses WHERE limit_name = :name AND used_at <= kitaru_now() - {_MINUTE}"

# Give a place back, or leave the line.
LEAVE_LIMIT = "DELETE FROM slots WHERE limit_name = :name AND execution_id = :execution_id AND call_id = :call_id"

# The same, unless it has been asked for anew since.
LEAVE_LINE = f"{LEAVE_LIMIT} AND epoch = :epoch"

# Places that no longer count. Read whole: it is asked seldom, and the table holds what is under way.
REMOVE_DEAD_SLOTS = f"DELETE FROM slots WHERE NOT {COUNTS}"

# How much of the rate is used.
USED = f"SELECT COUNT(*) {_USED}"

_SLOTS = f"""
SELECT slots.limit_name, slots.execution_id, slots.call_id, slots.priority, asked_at, taken_at,
    (SELECT host FROM runners JOIN executions ON runners.runner_id = executions.runner_id
        WHERE executions.execution_id = slots.execution_id)
FROM slots WHERE {{condition}} AND {COUNTS}
ORDER BY CASE WHEN taken_at IS NULL THEN 1 ELSE 0 END, taken_at, slots.priority DESC, asked_at, turn
"""

# The places under a limit.
SLOTS_OF_LIMIT = _SLOTS.format(condition="slots.limit_name = :limit")

# The places of an execution.
SLOTS_OF_EXECUTION = _SLOTS.format(condition="slots.execution_id = :execution_id")

_ANY_NUMBER = 2**31 - 1

# The port has a method called `list`, which hides the type inside the class.
_Limits = list[LimitRow]
_Slots = list[SlotRow]

_Execute = Callable[[str, Mapping[str, object]], list[rows.Values]]


class _Room(NamedTuple):
    """What a limit has to give, and to whom."""

    has_rate: bool
    first: frozenset[tuple[str, str]]
    next_at: Microseconds | None
    now: Microseconds


class SqlLimits:
    """The ``Limits`` port in SQL."""

    def __init__(self, database: Database, runners: SqlRunners) -> None:
        self._database = database
        self._runners = runners

    def set(self, row: LimitRow) -> None:
        statement = DECLARE_LIMIT if row.declared else SET_LIMIT
        parameters = {"name": row.name, "at_once": row.at_once, "per_minute": row.per_minute}
        with self._database.write() as writer:
            writer.execute(statement, parameters)

    def delete(self, name: str) -> bool:
        with self._database.write() as writer:
            return writer.execute(DELETE_LIMIT, {"name": name}) == 1

    def list(self) -> _Limits:
        return [
            LimitRow(name, at_once, per_minute, bool(declared))
            for name, at_once, per_minute, declared in self._database.read(LIMITS, {})
        ]

    def used(self, name: str) -> int:
        return self._database.read(USED, {"name": name})[0][0]

    def slots(self, *, limit: str | None = None, execution_id: str | None = None) -> _Slots:
        self._runners.bury()
        if limit is not None:
            found = self._database.read(SLOTS_OF_LIMIT, {"limit": limit})
        else:
            found = self._database.read(SLOTS_OF_EXECUTION, {"execution_id": execution_id})
        return [SlotRow(*values) for values in found]

    def take(self, asks: Sequence[Ask], *, joining: Sequence[Ask]) -> Admission:
        names = sorted({name for ask in (*asks, *joining) for name in ask.limits})
        if not joining:  # somebody waits: whose places are free by now, and is it worth a transaction?
            self._runners.bury()
            seen = _look(self._database.read, names)
            if not _whose_turn(seen, asks) and len(seen) == len(names):
                return _admission((), names, seen)
        with self._database.write(sync=False) as writer:
            for name in names:  # in one order everywhere, so that nobody waits for each other
                writer.execute(LOCK_LIMIT, {"name": name})
            writer.put(JOIN_LINE, _joining(joining))
            seen = _look(writer.fetch, names)
            taken = _whose_turn(seen, (*asks, *joining))
            for ask in taken:
                for name in ask.limits:
                    writer.put(TAKE_SLOT, [_slot(name, ask)])
                    if seen[name].has_rate:
                        writer.put(REMOVE_USES, [(name,)])
                        writer.put(ADD_USE, [(name,)])
        return _admission(taken, names, seen)

    def leave(self, asks: Sequence[Ask]) -> None:
        if asks:
            with self._database.write(sync=False) as writer:
                writer.put(LEAVE_LINE, [(*_slot(name, ask), ask.epoch) for ask in asks for name in ask.limits])

    def sweep(self) -> None:
        self._runners.bury()
        with self._database.write(sync=False) as writer:
            writer.execute(REMOVE_DEAD_SLOTS)


def _look(execute: _Execute, names: Iterable[str]) -> dict[str, _Room]:
    """What the limits have to give; those that are not defined are left out."""
    seen: dict[str, _Room] = {}
    for name in names:
        for at_once, per_minute, held, used, oldest, now in execute(ROOM, {"name": name}):
            by_count = _ANY_NUMBER if at_once is None else at_once - held
            by_rate = _ANY_NUMBER if per_minute is None else per_minute - used
            room = max(0, min(by_count, by_rate))
            first = execute(LINE, {"name": name, "room": room}) if room else []
            next_at = oldest + _MINUTE if by_rate <= 0 else None
            seen[name] = _Room(per_minute is not None, frozenset((one[0], one[1]) for one in first), next_at, now)
    return seen


def _whose_turn(seen: Mapping[str, _Room], asks: Sequence[Ask]) -> tuple[Ask, ...]:
    return tuple(
        ask
        for ask in asks
        if all(name in seen and (ask.execution_id, ask.call_id) in seen[name].first for name in ask.limits)
    )


def _admission(taken: tuple[Ask, ...], names: Iterable[str], seen: Mapping[str, _Room]) -> Admission:
    times = [room.next_at for room in seen.values() if room.next_at is not None]
    unknown = tuple(name for name in names if name not in seen)
    return Admission(taken, unknown, min(times, default=None), max((room.now for room in seen.values()), default=0))


def _joining(asks: Sequence[Ask]) -> list[rows.Values]:
    return [(*_slot(name, ask), ask.epoch, ask.priority, turn) for turn, ask in enumerate(asks) for name in ask.limits]


def _slot(name: str, ask: Ask) -> rows.Values:
    return name, ask.execution_id, ask.call_id
