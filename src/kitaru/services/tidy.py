"""Remove the snapshots and environments of this machine that nobody needs. They can be made again."""

from __future__ import annotations

import time
from typing import NamedTuple

from kitaru.deployments.laid_out import remove_unneeded
from kitaru.errors import KitaruStoreError
from kitaru.services.settings import ENVIRONMENTS, SNAPSHOTS, WHEELS
from kitaru.services.wiring import Wiring

_MARGIN_SECONDS = 3600
"""Between its use and the row that tells of it: a version is tried, in its environment, before it is recorded."""


class Tidied(NamedTuple):
    """How many were removed."""

    snapshots: int
    environments: int


def tidy(wiring: Wiring, *, dry_run: bool) -> Tidied:
    """Remove what no version of this store and no unfinished execution needs, nor any other store, nor a process.

    Raises:
        KitaruStoreError: A folder cannot be removed.
    """
    mine = f"{wiring.store_id}."
    retention = wiring.store.retention
    snapshots = retention.unfinished_snapshots() | {snapshot for snapshot, _ in retention.deployed()}
    needed = {mine + snapshot for snapshot in snapshots}
    before = time.time() - _MARGIN_SECONDS  # as files have it, whatever clock a test has injected
    home = wiring.settings.home
    try:
        found = [
            remove_unneeded(home / folder, mine=mine, needed=needed, before=before, dry_run=dry_run)
            for folder in (SNAPSHOTS, ENVIRONMENTS)
        ]
        # Any of them serves while an environment is built, and no longer.
        remove_unneeded(home / WHEELS, mine="", needed=(), before=before, dry_run=dry_run)
    except OSError as error:
        raise KitaruStoreError(
            f"what was laid out below {home} cannot be removed: {error}. Grant write access there."
        ) from error
    return Tidied(*found)
