"""A checkpoint whose runs are counted: what tests of S3.4 and S3.5 share."""

from __future__ import annotations

from typing import Any

from kitaru import checkpoint, flow
from tests.acceptance.runs import TIMEOUT


class Work:
    """A checkpoint that counts its runs, and a flow that calls it once."""

    def __init__(self, **options: Any) -> None:
        self.ran: list[Any] = []
        ran = self.ran

        @checkpoint(**options)
        def work(x: Any) -> str:
            ran.append(x)
            return f"run {len(ran)}"

        @flow
        def agent(x: Any) -> str:
            return work(x)

        self.work, self.agent = work, agent

    def __call__(self, x: Any = 1, **options: Any) -> str:
        return self.agent.run(x, **options).wait(timeout=TIMEOUT)
