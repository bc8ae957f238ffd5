"""A named upper bound on work (S2, admission): at most so many at once, at most so many a minute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from kitaru.errors import KitaruUsageError

MAX_PRIORITY = 1_000_000
"""Priorities are whole numbers from minus this to this; the higher goes first, 0 is the default."""

_FIELDS = ("at_once", "per_minute")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A call's place under a limit.

    Attributes:
        exec_id: The execution.
        call_id: Its call; None where the execution itself counts, under a limit of its flow or stack.
        since: Since when it holds the place, or waits for it.
        host: The machine that it runs on.
    """

    exec_id: str
    call_id: str | None
    since: datetime
    host: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A limit, as it was when it was read.

    Attributes:
        name: ``openai``; ``flow:NAME`` and ``stack:NAME`` bound executions, not calls.
        at_once: How many may hold a place at the same time; None for any number.
        per_minute: How many may take a place in any 60 seconds; None for any number.
        declared: True where a configuration says so, False where it was set with ``limits.set``.
        used: Places taken within the last 60 seconds, where ``per_minute`` counts them.
        holders: Who holds a place, longest first.
        waiting: Who waits for one, in the order in which they get it.
    """

    name: str
    at_once: int | None
    per_minute: int | None
    declared: bool
    used: int
    holders: tuple[Slot, ...]
    waiting: tuple[Slot, ...]


def check_limit(name: object, at_once: object, per_minute: object, owner: str) -> None:
    """Refuse a limit that makes no sense.

    Raises:
        KitaruUsageError: No name, no bound, a bound that is no whole number of 1 or more, or a rate for
            executions.
    """
    if not isinstance(name, str) or not name or name != name.strip():
        raise KitaruUsageError(f"{owner}: {name!r} is no name of a limit: a word is expected.")
    for field, value in zip(_FIELDS, (at_once, per_minute), strict=True):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**31):
            raise KitaruUsageError(
                f"{owner}: {field}={value!r} of limit {name!r}: a whole number, 1 or more, is expected."
            )
    if at_once is None and per_minute is None:
        raise KitaruUsageError(f"{owner}: limit {name!r} bounds nothing. Give at_once=, per_minute= or both.")
    if of_executions(name) and per_minute is not None:
        raise KitaruUsageError(
            f"{owner}: limit {name!r} counts executions, which have no per_minute=. Give at_once= alone."
        )


def of_executions(name: str) -> bool:
    """True for the limit of a flow or a stack: executions come under it by themselves."""
    return name.startswith(("flow:", "stack:"))


def parse_limits(given: object, owner: str) -> dict[str, dict[str, int]]:
    """Limits as a configuration writes them, ``{"openai": {"at_once": 5, "per_minute": 60}}``, checked.

    Returns:
        The same, without what is None.

    Raises:
        KitaruUsageError: See ``check_limit``; or an unknown field (the nearest one is named).
    """
    if not isinstance(given, Mapping):
        raise KitaruUsageError(
            f'{owner}: limits={given!r}: a mapping such as {{"openai": {{"at_once": 5}}}} is expected.'
        )
    limits: dict[str, dict[str, int]] = {}
    table: dict[Any, Any] = dict(given)  # pyright: ignore[reportUnknownArgumentType]  # checked below
    for name, fields in table.items():
        if not isinstance(fields, Mapping):
            raise KitaruUsageError(f'{owner}: limit {name!r} is {fields!r}; {{"at_once": 5}} or the like is expected.')
        values: dict[Any, Any] = dict(fields)  # pyright: ignore[reportUnknownArgumentType]  # checked below
        for field in values:
            if field not in _FIELDS:
                near = get_close_matches(str(field), _FIELDS, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"the fields are {' and '.join(_FIELDS)}."
                raise KitaruUsageError(f"{owner}: limit {name!r} has no field {field!r}; {hint}")
        check_limit(name, values.get("at_once"), values.get("per_minute"), owner)
        limits[name] = {field: value for field, value in values.items() if value is not None}
    return limits


def check_priority(priority: object, owner: str) -> int:
    """Return a priority, else raise ``KitaruUsageError``."""
    if isinstance(priority, bool) or not isinstance(priority, int) or abs(priority) > MAX_PRIORITY:
        raise KitaruUsageError(
            f"{owner}: priority={priority!r}: a whole number between -{MAX_PRIORITY} and {MAX_PRIORITY} is expected; "
            "the higher goes first."
        )
    return priority
