"""One execution in a process of its own: ``python -m kitaru.worker.child EXECUTION_ID``.

It claims the execution, runs it until it is finished or parked, and ends with code 0; whether the
execution succeeded is in the store. With ``--spare FLOW_REF`` it loads the flow first, and then reads the id of its
execution from its standard input. With SIGTERM it hands the execution back, for others to go on with.
Whoever starts it chooses the interpreter, the working directory and the environment.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from kitaru.core.clock import SystemClock
from kitaru.core.states import Status
from kitaru.errors import KitaruNotFoundError
from kitaru.services.launch_deployment import hold_place
from kitaru.services.load import load_flow
from kitaru.services.pickup import NOTHING
from kitaru.services.settings import read_settings
from kitaru.services.wiring import Wiring, install
from kitaru.store import open_store
from kitaru.worker.stopping import on_termination

GRACE_SECONDS = 10.0
"""How long calls under way may still take once the process is asked to end."""


def run_one(execution_id: str) -> None:
    """Run an execution in this process until it is finished, parked, or handed back.

    One that is not to be run any more (finished, or somebody else's by now) is left alone.

    Raises:
        KitaruNotFoundError: There is no such execution, or its flow cannot be found from here.
    """
    settings = read_settings({})
    clock = SystemClock()
    store = open_store(settings.store, clock)
    row = store.executions.get(execution_id)
    if row is None:
        raise KitaruNotFoundError(f"there is no execution {execution_id!r} in {settings.store_name}.")
    wiring = Wiring(settings, store=store, clock=clock, stack=row.stack, takes=NOTHING)
    install(wiring)
    on_termination(lambda: wiring.runner.hand_back(GRACE_SECONDS))
    # A waiting one: whoever starts this process has seen that its timer is due.
    may_run = row.status in (Status.PENDING, Status.WAITING) or store.executions.is_orphan(execution_id)
    if may_run:
        wiring.runner.claim(row, load_flow(row.flow_ref), attempt=row.attempt)
    wiring.runner.drain()
    wiring.close()


def main(arguments: Sequence[str]) -> int:
    """The command."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at a terminal is for who started it, and decides
    hold_place(read_settings({}))
    match arguments:
        case ["--spare", flow_ref]:
            load_flow(flow_ref)
            execution_id = sys.stdin.readline().strip()
            if execution_id:  # else whoever started it needs it no more
                run_one(execution_id)
        case [execution_id]:
            run_one(execution_id)
        case _:
            print("usage: python -m kitaru.worker.child EXECUTION_ID", file=sys.stderr)  # noqa: T201  # a command
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
