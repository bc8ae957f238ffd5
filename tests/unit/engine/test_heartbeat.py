"""The heartbeat goes on whatever happens in it: without it the lease runs out, and all flows stop."""

from __future__ import annotations

import logging
import threading

import pytest

from kitaru.core.clock import SystemClock
from kitaru.engine.leases import Heartbeat
from kitaru.errors import KitaruStoreError

PATIENCE = 10


@pytest.mark.parametrize("error", [KitaruStoreError("out of reach"), RuntimeError("a bug")])
def test_s6_2_a_heartbeat_that_fails_beats_again_and_a_bug_is_told(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    beats: list[int] = []
    again = threading.Event()

    def beat() -> None:
        beats.append(1)
        if len(beats) == 1:
            raise error
        again.set()

    with caplog.at_level(logging.ERROR, "kitaru.runner"):
        heartbeat = Heartbeat(beat, lambda: None, SystemClock(), every=0.01)
        assert again.wait(PATIENCE)
        heartbeat.end()
    assert bool(caplog.records) is not isinstance(error, KitaruStoreError)
