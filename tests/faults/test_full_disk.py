"""The disk fills up in the middle of a flow."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kitaru import KitaruClient, KitaruExecutionError, checkpoint, flow
from kitaru.core.states import Status
from kitaru.errors import FailureOrigin
from kitaru.services.wiring import overrides, reset, wiring

PATIENCE = 30
MEGABYTE = 1_000_000
CALLS = 60

ran: list[int] = []
"""The calls that were executed, in order."""


@checkpoint
def text(x: int) -> str:
    """Some 15 kB that go into the row itself."""
    ran.append(x)
    return f"{x:04d}" * 3_800


@checkpoint
def blob(x: int) -> bytes:
    """Some 40 kB that go to the artifact store."""
    ran.append(x)
    return x.to_bytes(4, "big") * 10_000


@flow
def filling(kind: str) -> int:
    step: Any = {"text": text, "blob": blob}[kind]
    return sum(len(step(x)) for x in range(CALLS))


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file system of 6 MB in memory, with the home on it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"mounting a file system is not permitted here: {mounted.stderr.strip()}")
    monkeypatch.setenv("KITARU_HOME", str(folder / "home"))
    yield folder
    reset()
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _check_retry_after(make_room: Any, kind: str, expected: int) -> None:
    """Run the flow to the point where there is no room, make some, and retry."""
    ran.clear()
    handle = filling.run(kind, execution_id="filling")
    with pytest.raises(KitaruExecutionError, match=r"disk is full|No space left") as caught:
        handle.wait(PATIENCE)
    assert caught.value.failure_origin is FailureOrigin.STORE
    executions = KitaruClient().executions
    recorded = [call.output for call in executions.get("filling").checkpoints if call.status == "completed"]
    assert 0 < len(recorded) < CALLS  # what was recorded before stays readable
    first = len(ran)

    make_room()
    wiring().runner.beat()
    end = executions.get("filling")
    assert (end.status, end.failure_origin) == (Status.FAILED, FailureOrigin.STORE)
    assert executions.retry("filling").wait(PATIENCE) == expected
    assert ran[first:] == list(range(len(recorded), CALLS))


@pytest.mark.parametrize(("kind", "expected"), [("text", CALLS * 15_200), ("blob", CALLS * 40_000)])
def test_a_full_disk_stops_the_flow_with_origin_store_and_a_retry_goes_on(
    kind: str, expected: int, small_disk: Path
) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(5 * MEGABYTE))
    _check_retry_after(ballast.unlink, kind, expected)


def test_a_store_that_may_not_grow_stops_the_flow_with_origin_store_and_a_retry_goes_on() -> None:
    """The same where nothing can be mounted: SQLite itself says that the disk is full."""

    def may_grow_to(pages: int) -> None:
        store: Any = wiring().store
        with store._database._lock:
            store._database._writer.execute(f"PRAGMA max_page_count = {pages}")

    may_grow_to(150)
    _check_retry_after(lambda: may_grow_to(1_000_000), "text", CALLS * 15_200)


@checkpoint
def wait_for(x: int) -> int:
    assert _go_on.wait(PATIENCE)
    return x


_go_on = threading.Event()


@flow
def one_at_a_time(x: int) -> int:
    return wait_for(x)


def test_a_full_disk_loses_no_flow_that_waits_for_its_turn(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(overrides, "max_flows", 1)
    _go_on.clear()
    handles = [one_at_a_time.run(x) for x in range(3)]
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    _go_on.set()
    with pytest.raises(KitaruExecutionError, match="disk is full"):
        handles[0].wait(PATIENCE)
    ballast.unlink()
    assert [handle.wait(PATIENCE) for handle in handles[1:]] == [1, 2]
