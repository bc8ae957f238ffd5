"""What a cleaning did."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaned:
    """What ``KitaruClient().clean`` removed or, with ``dry_run``, would have removed.

    Attributes:
        executions: Executions, children included.
        rows: Rows of the store that they had.
        kept: Executions that are old enough, and stay because another one that may go on needs them.
        blobs: Large values in the artifact store that no record names.
        bytes: Their size.
        runners: Processes that had been running executions and are gone.
        snapshots: Sources of deployments that were laid out on this machine.
        environments: Environments of deployments that were built on this machine.
        blobs_kept: Why no blob was looked at; None where they were.
        dry_run: Whether nothing was removed.
    """

    executions: int
    rows: int
    kept: int
    blobs: int
    bytes: int
    runners: int
    snapshots: int
    environments: int
    blobs_kept: str | None
    dry_run: bool
