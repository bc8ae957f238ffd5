"""The kind ``worker``: executions run where ``kitaru worker --stack NAME`` does."""

from __future__ import annotations

from kitaru.stacks.local import LocalKind


class WorkerKind(LocalKind):
    """See ``StackKind``. It has no options, as ``local`` has none: each worker has its own."""

    place = "worker"
