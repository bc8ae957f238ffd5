"""One execution in a process of its own: ``python -m kitaru.worker.child EXECUTION_ID``.

It claims the execution, runs it until it is finished or parked, and ends with code 0; whether the
execution succeeded is in the store. Where its flow cannot be loaded, it ends with ``CANNOT_LOAD`` and has claimed
nothing. With SIGTERM it hands the execution back, for others to go on with.
Whoever starts it chooses the interpreter, the working directory and the environment.

``--flow FLOW_REF`` is for a process that lives on beside it (``kitaru.stacks.child_process``): the flow is loaded
first, and then the id of the execution is read from the standard input. That is a pipe which the other process keeps
open. Once it is closed, nobody is there any more who wants the execution run here: it is handed back.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import BinaryIO

from kitaru.core.clock import SystemClock
from kitaru.core.processes import CANNOT_LOAD, end_own_session
from kitaru.core.states import Status
from kitaru.engine.definitions import FlowDefinition
from kitaru.errors import KitaruNotFoundError
from kitaru.services.launch_deployment import hold_place
from kitaru.services.load import load_flow
from kitaru.services.pickup import NOTHING
from kitaru.services.settings import read_settings
from kitaru.services.wiring import Wiring, install
from kitaru.store import open_store
from kitaru.worker.stopping import on_termination

GRACE_SECONDS = 10.0
"""How long calls under way may still take once the process is asked to end.

A process that started this one decides that itself: it asks, and kills when it has waited long enough.
"""


def run_one(execution_id: str, parent: BinaryIO | None = None) -> None:
    """Run an execution in this process until it is finished, parked, or handed back.

    One that is not to be run any more (finished, or somebody else's by now) is left alone.

    Args:
        execution_id: The execution.
        parent: What ends when the process ends that has started this one; None where there is none to look for.

    Raises:
        KitaruNotFoundError: There is no such execution.
    """
    settings = read_settings({})
    clock = SystemClock()
    store = open_store(settings.store, clock)
    row = store.executions.get(execution_id)
    if row is None:
        raise KitaruNotFoundError(f"there is no execution {execution_id!r} in {settings.store_name}.")
    definition = _loaded(row.flow_ref)
    wiring = Wiring(settings, store=store, clock=clock, stack=row.stack, takes=NOTHING)
    install(wiring)
    leaving = threading.Event()

    def asked() -> None:
        leaving.set()
        try:
            wiring.runner.hand_back(GRACE_SECONDS if parent is None else math.inf)
        finally:
            _flush()
            os._exit(0)  # whatever call has not ended yet

    def left() -> None:
        leaving.set()
        try:
            wiring.runner.hand_back(GRACE_SECONDS)
        finally:
            _flush()
            end_own_session()  # with what the execution has started: nobody else would end it

    on_termination(asked)
    if parent is not None:
        _when_closed(parent, left)
    # A waiting one: whoever starts this process has seen that its timer is due.
    may_run = row.status in (Status.PENDING, Status.WAITING) or store.executions.is_orphan(execution_id)
    if may_run:
        wiring.runner.claim(row, definition, attempt=row.attempt)
    wiring.runner.drain()
    if leaving.is_set():
        threading.Event().wait()  # the thread that hands back ends this process
    wiring.close()


def _loaded(flow_ref: str) -> FlowDefinition:
    try:
        return load_flow(flow_ref)
    except BaseException:  # noqa: BLE001  # user code is imported: any of it may fail, SystemExit too
        traceback.print_exc()
        sys.exit(CANNOT_LOAD)


def _when_closed(pipe: BinaryIO, act: Callable[[], None]) -> None:
    """Call ``act``, in a thread of its own, once the other end of a pipe is closed."""

    def watch() -> None:
        while pipe.read(1):
            pass
        act()

    threading.Thread(target=watch, name="kitaru-parent", daemon=True).start()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more, or user code has closed it
            stream.flush()


def _own_input() -> BinaryIO:
    """The standard input, taken away from user code, which finds an empty one in its place."""
    taken = os.fdopen(os.dup(0), "rb", 0)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    return taken


def main(arguments: Sequence[str]) -> int:
    """The command."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at a terminal is for who started it, and decides
    hold_place(read_settings({}))
    match arguments:
        case ["--flow", flow_ref]:
            parent = _own_input()
            _loaded(flow_ref)
            execution_id = parent.readline().decode().strip()
            if execution_id:  # else whoever started it needs it no more
                run_one(execution_id, parent)
        case [execution_id]:
            run_one(execution_id)
        case _:
            print("usage: python -m kitaru.worker.child EXECUTION_ID", file=sys.stderr)  # noqa: T201  # a command
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
