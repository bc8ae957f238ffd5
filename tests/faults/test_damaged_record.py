"""S4.4, S9: a recorded value that cannot be read any more stops the body, whatever user code catches."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitaru import KitaruClient, KitaruExecutionError, checkpoint, flow


def test_s9_a_reused_result_whose_blob_is_damaged_fails_with_origin_store_whatever_the_body_catches(home: Path) -> None:
    broken = [True]

    @checkpoint
    def large() -> str:
        return "x" * 100_000

    @flow
    def agent() -> int:
        try:
            size = len(large())
        except Exception:  # as careless user code does
            size = -1
        if broken[0]:
            raise RuntimeError
        return size

    handle = agent.run()
    with pytest.raises(KitaruExecutionError):
        handle.wait(timeout=30)
    for blob in (path for path in home.rglob("artifacts/*") if path.is_file()):
        blob.write_bytes(b"y" * 100_000)
    broken[0] = False
    with pytest.raises(KitaruExecutionError) as failed:
        KitaruClient().executions.retry(handle.exec_id).wait(timeout=30)
    assert failed.value.failure_origin == "store"
