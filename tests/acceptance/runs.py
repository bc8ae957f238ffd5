"""What the acceptance tests of S2 to S4 share: short words for running flows and looking at them."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from kitaru import Execution, FlowHandle, KitaruClient, KitaruExecutionError
from kitaru.core.clock import Microseconds, SystemClock
from kitaru.services.settings import read_settings
from kitaru.services.wiring import Wiring, install

TIMEOUT = 30.0
"""Seconds after which something that should have happened is taken not to."""


def record(handle: FlowHandle[Any]) -> Execution:
    return KitaruClient().executions.get(handle.exec_id)


def failure_of(handle: FlowHandle[Any]) -> KitaruExecutionError:
    """What ``wait`` raises for an execution that fails."""
    with pytest.raises(KitaruExecutionError) as caught:
        handle.wait(timeout=TIMEOUT)
    assert handle.status == "failed"
    return caught.value


def retry(handle: FlowHandle[Any]) -> FlowHandle[Any]:
    return KitaruClient().executions.retry(handle.exec_id)


def retried(handle: FlowHandle[Any]) -> Any:
    """The result of a failed execution that succeeds when it is retried."""
    failure_of(handle)
    return retry(handle).wait(timeout=TIMEOUT)


def call_ids(handle: FlowHandle[Any]) -> list[str]:
    return [call.call_id for call in record(handle).checkpoints]


class Breakage:
    """Something outside of the flow that is broken until it is mended: why an execution failed at first."""

    def __init__(self) -> None:
        self._mended = threading.Event()

    def mend(self) -> None:
        self._mended.set()

    def check(self) -> None:
        if not self._mended.is_set():
            raise ConnectionError("still broken")

    @property
    def mended(self) -> bool:
        return self._mended.is_set()


class SkippingClock(SystemClock):
    """The machine's clock, but pauses of a second and more pass at once. They are kept in ``pauses``."""

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self._skipped = 0.0

    def now(self) -> Microseconds:
        return super().now() + int(self._skipped * 1_000_000)

    def monotonic(self) -> float:
        return super().monotonic() + self._skipped

    def wait(self, event: threading.Event, seconds: float) -> bool:
        if seconds < 1:  # the heartbeat's
            return super().wait(event, seconds)
        self._skip(seconds)
        return event.is_set()

    async def sleep(self, seconds: float) -> None:
        if seconds < 1:
            await super().sleep(seconds)
        else:
            self._skip(seconds)

    def idle_until(self, at: Microseconds) -> None:
        seconds = (at - self.now()) / 1_000_000
        if seconds > 0:
            self._skip(seconds)

    def _skip(self, seconds: float) -> None:
        self.pauses.append(round(seconds * 2) / 2)
        self._skipped += seconds


def use_skipping_clock() -> SkippingClock:
    """Let this process run on a ``SkippingClock``."""
    clock = SkippingClock()
    install(Wiring(read_settings({}), clock=clock, lease_seconds=1_000_000))
    return clock


class Program:
    """A script in a process of its own, in the test's home."""

    def __init__(self, folder: Path, source: str, name: str = "program.py") -> None:
        self.path = folder / name
        self.path.write_text(source)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(self.path), *arguments],
            capture_output=True, text=True, timeout=60, check=False, cwd=self.path.parent,
        )  # fmt: skip

    def printed(self, *arguments: str) -> str:
        """What it prints, where it ends well."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()
