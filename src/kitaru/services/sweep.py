"""Remove the blobs that no record names, beside running writers.

Why none is removed that somebody is about to name: whoever writes a row that names a blob has put it just
before, or counted it as put (``Blobs``). What was put later than ``_MARGIN`` before this sweep began, or
before the first of all executions that run now began, stays. All other rows were on disk when the sweep
began, so it finds them. ``docs/decisions/retention.md`` has the whole of it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from kitaru.core.clock import Microseconds, SystemClock
from kitaru.core.ports import Unread
from kitaru.services.wiring import Wiring

_MARGIN = 3_600_000_000
_AT_ONCE = 100

# Blobs have the times of the real world, whatever clock a test has injected.
_machine = SystemClock()


class Swept(NamedTuple):
    """How many blobs were removed, and their bytes; ``kept`` tells why none was looked at."""

    blobs: int
    bytes: int
    kept: str | None = None


def sweep(wiring: Wiring, *, deleted: Collection[str], dry_run: bool) -> Swept:
    """Remove the blobs that no record names.

    Args:
        wiring: The process.
        deleted: Executions that count as deleted, in a dry run.
        dry_run: Only tell what would be removed.

    Raises:
        KitaruStoreError: The store or the artifact store cannot be used; a damaged blob is named.
    """
    others = wiring.blobs.users() - {wiring.store_id}
    if others:
        return Swept(
            0,
            0,
            f"the artifact store {wiring.settings.artifacts} is used by {len(others)} more "
            f"store{'s' if len(others) > 1 else ''} ({', '.join(sorted(others))}), so nobody knows what may go. "
            "Give each store its own with KITARU_ARTIFACTS, or delete the notes in its folder users if they are gone.",
        )
    cutoff = _cutoff(wiring)
    wiring.store.retention.settle(wiring.clock.now())  # a deletion that a power cut took back would need its blobs
    named = _note_all(wiring, deleted)
    blobs = size = 0
    for page in wiring.blobs.put_before(cutoff):
        owners = wiring.store.retention.owners([blob.name for blob in page])
        noted = {digest for digest, execution_id in owners if execution_id not in deleted}
        for blob in page:
            if blob.name in named or blob.name in noted:
                continue
            if dry_run or wiring.blobs.remove(blob.name, put_before=cutoff):
                blobs += 1
                size += blob.size
    return Swept(blobs, size)


def _cutoff(wiring: Wiring) -> Microseconds:
    """What was put before then is named by a row by now, or by none ever.

    Asked before anything else: an execution holds in memory what it has put since it began to run.
    """
    now = _machine.now()
    oldest = wiring.store.retention.oldest_run()
    return min(now, now if oldest is None else oldest) - _MARGIN


def _note_all(wiring: Wiring, deleted: Collection[str]) -> set[str]:
    """Note what finished executions name; the answer is what is named by all that cannot be noted.

    In the order in which executions are made, so that none is missed which is made meanwhile.
    """
    retention = wiring.store.retention
    named = {snapshot for snapshot, _ in retention.deployed()}
    named |= wiring.values.blobs_in(inputs for _, inputs in retention.deployed() if inputs is not None).digests
    place = (0, "")
    while found := retention.unread(after=place, limit=_AT_ONCE):
        place = (found[-1].created_at, found[-1].execution_id)
        noted: list[tuple[Unread, set[str]]] = []
        for one in found:
            digests, unread = wiring.values.blobs_in(one.texts)
            if one.snapshot is not None:
                digests.add(one.snapshot)
            if one.status.finished and not unread:
                noted.append((one, digests))
            elif one.execution_id not in deleted:
                named |= digests
        if noted:
            retention.note(noted)
    return named
