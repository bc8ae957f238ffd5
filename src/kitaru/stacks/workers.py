"""The kind ``worker``: executions run where ``kitaru worker --stack NAME`` does."""

from __future__ import annotations

from typing import Literal

from kitaru.core.ports import StackHost
from kitaru.core.rows import ExecutionRow
from kitaru.core.stack import Stack
from kitaru.stacks.kinds import check_options


class WorkerKind:
    """See ``StackKind``. It has no options: each worker has its own."""

    place: Literal["thread", "process", "worker"] = "worker"

    def check(self, stack: Stack) -> None:
        check_options(stack, {})

    def places(self, stack: Stack) -> None:  # noqa: ARG002  # the port's
        return None

    def start(self, stack: Stack, row: ExecutionRow, host: StackHost) -> None:  # noqa: ARG002  # the port's
        return None
