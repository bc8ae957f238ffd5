"""A worker: a process that runs the executions of one stack (S6.3).

It takes what is pending, due or orphaned, as many at once as it has places, in threads or each in a
process of its own, and ends when it is asked to: it stops taking, lets calls under way end, and hands
the rest back, so that another worker goes on at once.
"""

from __future__ import annotations

import signal
import threading

from kitaru.core.ports import Child
from kitaru.core.rows import ExecutionRow
from kitaru.engine.leases import LEASE_SECONDS
from kitaru.services.pickup import ALL
from kitaru.services.runners import Host
from kitaru.services.settings import read_settings
from kitaru.services.stacks import get_stack
from kitaru.services.wiring import Wiring, install
from kitaru.stacks.kinds import kind_named
from kitaru.worker.stopping import on_termination

GRACE_SECONDS = 30.0
"""How long calls under way may take once a worker is asked to end."""


def run_worker(
    stack: str,
    *,
    concurrency: int,
    isolated: bool = False,
    grace: float = GRACE_SECONDS,
    lease_seconds: float = LEASE_SECONDS,
) -> None:
    """Run executions of a stack until the process is asked to end (SIGTERM, Ctrl-C).

    Args:
        stack: The stack.
        concurrency: How many executions run at once.
        isolated: Each in a process of its own, and not in threads of this one. On a stack of kind ``process`` always.
        grace: Seconds that calls under way may take at the end; a second signal ends at once.
        lease_seconds: After so long without a sign of life, others take over what this worker runs.
    """

    def spawn(row: ExecutionRow) -> Child | None:
        return kind.start(found, row, Host(wiring))

    settings = read_settings({"max_flows": concurrency})
    wiring = Wiring(
        settings,
        stack=stack,
        takes=ALL,
        lease_seconds=lease_seconds,
        spawn=spawn,
    )
    found = get_stack(wiring, stack)
    kind = kind_named("process" if isolated else found.kind)
    install(wiring)
    ended = threading.Event()

    def end() -> None:
        try:
            wiring.runner.hand_back(grace)
        finally:
            ended.set()

    on_termination(end, signals=(signal.SIGTERM, signal.SIGINT))
    wiring.runner.begin()
    while not ended.wait(1.0):  # with a timeout: a wait without one is not interrupted by signals everywhere
        pass
    wiring.close()
