"""Stacks that workers serve: ``kitaru worker --stack NAME``, on as many machines as share the store."""

from __future__ import annotations

from kitaru.core.ports import StackDriver, StackHost
from kitaru.core.rows import ExecutionRow
from kitaru.core.stack import Stack
from kitaru.stacks.kinds import check_options


class WorkerKind:
    """See ``StackKind``. It has no options."""

    def check(self, stack: Stack) -> None:
        check_options(stack, {})

    def driver(self, stack: Stack, host: StackHost) -> StackDriver:  # noqa: ARG002  # the port's
        return Nobody()


class Nobody:
    """See ``StackDriver``: what is recorded for the stack waits until a worker takes it, and notices a cancellation."""

    def start(self, row: ExecutionRow) -> None:
        """Nothing: workers look."""

    def cancel(self, execution_id: str) -> None:
        """Nothing: its worker looks."""

    def running(self) -> tuple[str, ...]:
        """Nothing runs here."""
        return ()

    def drain(self) -> None:
        """Nothing runs here."""

    def end(self) -> None:
        """Nothing runs here."""
