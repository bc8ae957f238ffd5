"""A flow that is run twice with other inputs: what tests of S3.3 share."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from kitaru import FlowHandle, checkpoint, flow
from tests.acceptance.runs import TIMEOUT, Breakage, failure_of, record, retry

T1 = datetime(2024, 1, 1, tzinfo=UTC)
T2 = datetime(2024, 6, 1, tzinfo=UTC)


class Twice:
    """A flow that fails at the end of its first run; ``body`` is told which run it is."""

    def __init__(self, body: Callable[[int], Any]) -> None:
        self.runs = 0
        outside = Breakage()

        @flow
        def agent() -> Any:
            self.runs += 1
            value = body(self.runs)
            outside.check()
            return value

        self.handle: FlowHandle[Any] = agent.run()
        failure_of(self.handle)
        outside.mend()

    def again(self) -> FlowHandle[Any]:
        return retry(self.handle)

    def drift(self) -> list[tuple[str, str, str, Any, Any]]:
        """The report after a second run that succeeds, with decoded JSON."""
        assert record(self.handle).drift == ()
        self.again().wait(timeout=TIMEOUT)
        return [
            (one.call_id, one.recorded_call_id, one.input, _decoded(one.recorded), _decoded(one.given))
            for one in record(self.handle).drift
        ]


def _decoded(text: str | None) -> Any:
    return None if text is None else json.loads(text)


@checkpoint
def fetch(url: str, at: Any = None) -> str:
    return f"{url} at {at}"
