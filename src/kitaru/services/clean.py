"""Remove what is old, and what a process that died has left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from difflib import get_close_matches

from kitaru.core.cleaned import Cleaned
from kitaru.core.mutations import Conflict, InUse
from kitaru.core.states import FINISHED, Status
from kitaru.errors import KitaruUsageError
from kitaru.services.sweep import sweep
from kitaru.services.tidy import tidy
from kitaru.services.wiring import Wiring

_AT_ONCE = 50
_never = threading.Event()


def clean(
    wiring: Wiring, *, older_than: timedelta | None, statuses: Sequence[Status | str], flow: str | None, dry_run: bool
) -> Cleaned:
    """See ``KitaruClient.clean``."""
    age = _age(older_than)
    wanted = _statuses(statuses)
    if age is None and flow is not None:
        raise KitaruUsageError(f"clean(flow={flow!r}): say with older_than= which of its executions are to go.")
    runners = 0 if dry_run else wiring.store.runners.clear()
    deleted: set[str] = set()
    rows = kept = 0
    if age is not None:
        for execution_id in _old(wiring, age, wanted, flow):
            try:
                gone = wiring.store.executions.delete(execution_id, dry_run=dry_run)
            except InUse:
                kept += 1
            except Conflict:  # it goes on, or somebody else has deleted it
                continue
            else:
                deleted |= set(gone.execution_ids)
                rows += gone.rows
    swept = sweep(wiring, deleted=deleted if dry_run else (), dry_run=dry_run)
    tidied = tidy(wiring, dry_run=dry_run)
    return Cleaned(
        executions=len(deleted),
        rows=rows,
        kept=kept,
        blobs=swept.blobs,
        bytes=swept.bytes,
        runners=runners,
        blobs_kept=swept.kept,
        snapshots=tidied.snapshots,
        environments=tidied.environments,
        dry_run=dry_run,
    )


def _old(wiring: Wiring, age: int, statuses: Sequence[Status], flow: str | None) -> Iterator[str]:
    """Executions to delete: each in a transaction of its own, and a pause after each page as long as that took."""
    place = (0, "")
    while True:
        began = wiring.clock.monotonic()
        found = wiring.store.retention.old(age=age, statuses=statuses, flow=flow, after=place, limit=_AT_ONCE)
        for _, execution_id in found:
            yield execution_id
        if len(found) < _AT_ONCE:
            return
        place = found[-1]
        # SQLite has one writer, and those who wait for it look only now and then.
        wiring.clock.wait(_never, wiring.clock.monotonic() - began)


def _age(older_than: timedelta | None) -> int | None:
    if older_than is None:
        return None
    if not isinstance(older_than, timedelta) or older_than < timedelta(0):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without a type checker
        raise KitaruUsageError(
            f"clean(older_than={older_than!r}): a timedelta is expected, such as timedelta(days=30)."
        )
    return older_than // timedelta(microseconds=1)


def _statuses(given: Sequence[Status | str]) -> list[Status]:
    names = [str(status) for status in sorted(FINISHED)]
    wanted = (given,) if isinstance(given, str) else tuple(given)
    for one in wanted:
        if one not in names:
            near = get_close_matches(str(one), names, 1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Those of finished executions are {', '.join(names)}."
            raise KitaruUsageError(f"clean(statuses=...): {str(one)!r} is no status of a finished execution. {hint}")
    if not wanted:
        raise KitaruUsageError(f"clean(statuses=()): name at least one of {', '.join(names)}.")
    return [Status(one) for one in wanted]
