"""S6.8: cancelling from another process."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitaru import KitaruClient
from tests.acceptance.gates import until
from tests.acceptance.processes import Scripts

SCRIPT = """
import asyncio, sys, threading
import kitaru
from kitaru import checkpoint, flow

def say(line):
    sys.stdout.write(line + "\\n")  # as one write: threads say things at once
    sys.stdout.flush()

@checkpoint
async def slow():
    try:
        say("ready")
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        say("checkpoint cancelled")
        raise

@checkpoint
def step(number):
    say(f"step {number}")

@flow
async def async_agent():
    try:
        await slow()
    except kitaru.KitaruCancelled:
        say("body")
        raise

@flow
def sync_agent():
    step(1)
    say("ready")
    sys.stdin.readline()
    try:
        step(2)
    except kitaru.KitaruCancelled:
        say("body")
        raise

@flow
def child():
    step(1)
    say("ready")
    threading.Event().wait()

@flow
def parent_agent():
    try:
        child.run(execution_id="child").wait()
    except kitaru.KitaruCancelled:
        say("body")
        raise

@flow
def hold():
    say("ready")
    sys.stdin.readline()

@flow
def pending_agent():
    say("it ran")

which = sys.argv[1]
if which == "pending_agent":
    kitaru.configure(max_flows=1)
    hold.run()
handle = globals()[which].run(execution_id="it")
try:
    handle.wait()
except kitaru.KitaruCancelledError as error:
    say(f"{error.exec_id} {error.status}")
"""


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ("async_agent", ["body", "checkpoint cancelled", "it cancelled"]),
        ("sync_agent", ["body", "it cancelled"]),
        ("parent_agent", ["body", "it cancelled"]),
        ("pending_agent", ["it cancelled"]),
    ],
)
def test_s6_8_another_process_cancels(tmp_path: Path, which: str, expected: list[str]) -> None:
    scripts = Scripts(tmp_path / "project")
    scripts.write("agent.py", SCRIPT)
    with scripts.started("agent.py", which) as child:
        child.expect("ready")
        until(lambda: KitaruClient().executions.list(flow=which))
        KitaruClient().executions.cancel("it")
        printed = []
        while "it cancelled" not in printed:  # its waiter is told although a body may hang for ever
            printed.append(child.read())
        if which in ("sync_agent", "pending_agent"):  # the others read nothing, and may have ended
            child.tell("go on")
        more, errors = child.finish()
    assert sorted(printed + more) == expected, errors
    assert child.process.returncode == 0
    assert KitaruClient().executions.get("it").status == "cancelled"
    if which == "parent_agent":
        assert KitaruClient().executions.get("child").status == "cancelled"
