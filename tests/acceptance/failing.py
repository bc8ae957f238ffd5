"""Checkpoints that fail until they are mended: what tests of S3.2 share."""

from __future__ import annotations

from typing import Any

from kitaru import FlowHandle, checkpoint
from tests.acceptance.runs import TIMEOUT, Breakage, failure_of, retry


class Failing(Exception):
    pass


class Calls:
    """Checkpoints that fail until they are mended, and what they ran."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.outside = outside = Breakage()
        ran = self.ran

        @checkpoint
        def fail(name: str) -> str:
            ran.append(name)
            if not outside.mended:
                raise Failing(name)
            return name

        @checkpoint
        async def afail(name: str) -> str:
            ran.append(name)
            if not outside.mended:
                raise Failing(name)
            return name

        @checkpoint
        def good(name: str) -> str:
            ran.append(name)
            return name

        @checkpoint
        async def agood(name: str) -> str:
            ran.append(name)
            return name

        self.fail, self.afail, self.good, self.agood = fail, afail, good, agood

    def again(self, handle: FlowHandle[Any]) -> Any:
        """Let the execution fail, mend what was broken, retry it; the result. ``ran`` is what the retry ran."""
        failure_of(handle)
        self.ran.clear()
        self.outside.mend()
        return retry(handle).wait(timeout=TIMEOUT)
