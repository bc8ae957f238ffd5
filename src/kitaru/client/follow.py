"""Reads what grows behind a cursor, and goes on until the execution is finished."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from kitaru.errors import KitaruNotFoundError, KitaruUsageError
from kitaru.services.find import find
from kitaru.services.wiring import Wiring

T = TypeVar("T")

PAGE = 1000
_POLL_SECONDS = 2.0


def follow_records(
    wiring: Wiring,
    exec_id: str,
    page_after: Callable[[str, int], list[T]],
    id_of: Callable[[T], int],
    *,
    after: int,
    follow: bool,
    timeout: float | None,
) -> Iterator[T]:
    """``read_on`` for what a caller names. What is wrong with the arguments is raised here, not by the iterator.

    ``exec_id`` may be a prefix; ``page_after`` is given the whole id first. The rest is as in ``read_on``.
    """
    if not isinstance(after, int) or isinstance(after, bool) or after < 0:  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without a type checker
        raise KitaruUsageError(f"after={after!r}: the id of the last one that was seen, or 0 for all.")
    execution_id = find(wiring, exec_id).execution_id
    page = partial(page_after, execution_id)
    return read_on(wiring, execution_id, page, id_of, after=after, follow=follow, timeout=timeout)


def read_on(
    wiring: Wiring,
    execution_id: str,
    page_after: Callable[[int], list[T]],
    id_of: Callable[[T], int],
    *,
    after: int,
    follow: bool,
    timeout: float | None,
) -> Iterator[T]:
    """All that is there behind ``after``; with ``follow`` also what comes, until the execution is finished.

    Args:
        wiring: Where it is read.
        execution_id: The execution.
        page_after: Reads at most ``PAGE`` records behind an id, oldest first.
        id_of: The id of a record.
        after: The cursor.
        follow: Whether to go on until the execution is finished.
        timeout: Seconds to follow at most.

    Raises:
        TimeoutError: The time has passed, and the execution is not finished.
        KitaruNotFoundError: The execution was deleted meanwhile.
    """
    clock = wiring.clock
    deadline = None if timeout is None else clock.monotonic() + timeout
    changed = threading.Event()
    stop_listening = wiring.store.changes(changed.set) if follow else None
    try:
        while True:
            changed.clear()
            # Asked before the last look: what ended it was written together with its end.
            status = wiring.store.executions.status(execution_id)
            while page := page_after(after):
                yield from page
                after = id_of(page[-1])
                if len(page) < PAGE:
                    break
            if status is None:
                raise KitaruNotFoundError(f"execution {execution_id} has been deleted.")
            if not follow or status.finished:
                return
            left = _POLL_SECONDS if deadline is None else min(_POLL_SECONDS, deadline - clock.monotonic())
            if left <= 0:
                raise TimeoutError(f"execution {execution_id} was not finished within {timeout:g} s; it goes on.")
            clock.wait(changed, left)
    finally:
        if stop_listening is not None:
            stop_listening()
