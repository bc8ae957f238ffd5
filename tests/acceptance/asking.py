"""What the acceptance tests of S5 share: looking at what an execution waits for, and answering."""

from __future__ import annotations

import threading
from typing import Any

from kitaru import FlowHandle, KitaruClient, Wait
from tests.acceptance.gates import until


def open_waits(exec_id: str) -> dict[str, Wait]:
    """The open waits of an execution by their ids."""
    waits = KitaruClient().executions.pending_waits(limit=1000)
    return {wait.wait_id: wait for wait in waits if wait.exec_id == exec_id}


def asked(handle: FlowHandle[Any], *wait_ids: str) -> dict[str, Wait]:
    """Wait until the execution stands still and exactly these waits are open."""
    until(lambda: handle.status == "waiting" and set(open_waits(handle.exec_id)) == set(wait_ids))
    return open_waits(handle.exec_id)


def answer(handle: FlowHandle[Any], value: Any = None, *, wait: str | None = None, by: str | None = None) -> None:
    KitaruClient().executions.input(handle.exec_id, value, wait=wait, by=by)


def abort(handle: FlowHandle[Any], *, wait: str | None = None, reason: str | None = None) -> None:
    KitaruClient().executions.abort_wait(handle.exec_id, wait=wait, reason=reason)


def threads_of(flow: str) -> list[threading.Thread]:
    """The threads in which bodies of a flow are."""
    return [thread for thread in threading.enumerate() if thread.name == f"kitaru-{flow}"]
