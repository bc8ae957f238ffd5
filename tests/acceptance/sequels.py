"""Executions whose code is edited between their runs: what tests of S3.1, S3.2 and S3.6 share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kitaru import checkpoint, flow
from tests.acceptance.runs import TIMEOUT, Breakage, failure_of, retry

Body = Callable[[], Any]


class Sequel:
    """One execution whose body is changed between its runs, as when code is edited while it is parked."""

    def __init__(self) -> None:
        self.outside = Breakage()
        self.body: Body = lambda: None

    def start(self, first: Body) -> Any:
        """Run ``first`` to its end, then fail."""
        self.body = first

        @flow
        def agent() -> Any:
            value = self.body()
            self.outside.check()
            return value

        self.handle = agent.run()
        failure_of(self.handle)
        return self.handle

    def resume(self, second: Body) -> Any:
        self.body = second
        self.outside.mend()
        return retry(self.handle).wait(timeout=TIMEOUT)


class Counter:
    """A checkpoint whose result shows which of its runs made it."""

    def __init__(self) -> None:
        self.ran: list[Any] = []
        ran = self.ran

        @checkpoint
        def work(x: Any) -> Any:
            ran.append(x)
            return (x, len(ran))

        self.work = work
