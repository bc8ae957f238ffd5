"""A lease that this process has given up, although the store renews it a moment later (S6.2)."""

from __future__ import annotations

import threading

from kitaru import checkpoint, flow
from kitaru.services.wiring import wiring
from tests.acceptance.gates import until

PATIENCE = 10

_inside = threading.Event()
_go_on = threading.Event()
_ran: list[str] = []


@checkpoint
def slow() -> int:
    _ran.append("slow")
    _inside.set()
    assert _go_on.wait(PATIENCE)
    return 1


@checkpoint
def after(x: int) -> int:
    _ran.append("after")
    return x + 1


@flow(cache=False)
def overtaken() -> int:
    return after(slow())


def test_s6_2_a_flow_that_stopped_for_a_lease_that_was_renewed_too_late_goes_on() -> None:
    """As when the write that renews it waited for a lock: by this process's clock the lease had run out before."""
    handle = overtaken.run()
    assert _inside.wait(PATIENCE)
    runner = wiring().runner
    runner.lease._until = 0.0
    _go_on.set()
    active = runner.active(handle.exec_id)
    assert active is not None
    assert active.done.wait(PATIENCE)

    runner._renewed_at = 0.0  # so the heartbeat renews now
    until(runner.lease.holds)
    runner.sweep()

    assert handle.wait(PATIENCE) == 2
    assert _ran.count("after") == 1
