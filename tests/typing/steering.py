"""What type checkers must say about waits and about steering executions. Never run, only read by them.

A line that ends in ``# E: pyright mypy`` must be rejected by both, one that names one checker by that one; every
other line must be accepted.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

import kitaru
from kitaru import Cleaned, FlowHandle, KitaruClient, ReplayPlan, Wait


def replays(exec_id: str, dry: bool) -> None:
    executions = KitaruClient().executions
    assert_type(executions.replay(exec_id), FlowHandle[Any])
    assert_type(executions.replay(exec_id, "step", {"step": {"output": 1}}, "unchanged"), FlowHandle[Any])
    assert_type(executions.replay(exec_id, from_="step", dry_run=False, url="x"), FlowHandle[Any])
    assert_type(executions.replay(exec_id, dry_run=True), ReplayPlan)
    assert_type(executions.replay(exec_id, "step", reuse="before", dry_run=True, url="x").calls[0].call_id, str)
    executions.replay(exec_id, reuse="after")  # E: pyright mypy
    executions.replay(exec_id, overrides={"step": 1})  # E: pyright mypy
    executions.replay(exec_id, dry_run=True).wait()  # E: pyright mypy
    executions.replay(exec_id, dry_run=dry)  # E: mypy
    executions.replay()  # E: pyright mypy


def waits() -> None:
    assert_type(kitaru.wait("review", question="Go on?", schema=bool, metadata={"a": 1}), Any)
    kitaru.wait("review", schema={"type": "string"}, expires_in=timedelta(days=1), default="no", timeout=5)
    kitaru.wait(name=1)  # E: pyright mypy
    kitaru.wait("review", expires_in="1d")  # E: pyright mypy
    kitaru.wait("review", metadata=[1])  # E: pyright mypy
    assert_type(kitaru.wait_any(a=None, b={"schema": str}), Any)
    kitaru.wait_any(a=1)  # E: pyright mypy
    kitaru.sleep(1.5)
    kitaru.sleep(timedelta(days=3))
    kitaru.sleep("3d")  # E: pyright mypy
    kitaru.sleep_until(datetime.now(UTC))
    kitaru.sleep_until(3)  # E: pyright mypy


def answers(exec_id: str) -> None:
    executions = KitaruClient().executions
    assert_type(executions.pending_waits(flow="agent"), tuple[Wait, ...])
    executions.input(exec_id, {"decision": "yes"}, wait="review", by="ann")
    executions.input(exec_id, wait=1)  # E: pyright mypy
    executions.abort_wait(exec_id, reason="no")


def cleans() -> None:
    assert_type(KitaruClient().clean(), Cleaned)
    KitaruClient().clean(older_than=timedelta(days=30), statuses=["completed"], flow="agent", dry_run=True)
    KitaruClient().clean(older_than=30)  # E: pyright mypy
    KitaruClient().clean(timedelta(days=30))  # E: pyright mypy
