"""``fresh_kitaru``: what runs in the block leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import kitaru
from kitaru.services import wiring as process
from kitaru.testing import fresh_kitaru


@kitaru.checkpoint
def large() -> bytes:
    return b"a" * 200_000


@kitaru.flow
def stores_much() -> int:
    return len(large())


def test_each_block_begins_empty_and_nothing_gets_into_the_home(home: Path) -> None:
    for _ in range(2):
        with fresh_kitaru() as client:
            assert stores_much.run(execution_id="mine").wait(timeout=30) == 200_000
            assert [one.exec_id for one in client.executions.list()] == ["mine"]
            [call] = client.executions.get("mine").checkpoints
            assert call.cached_from is None  # the cache is of the block too
    assert not home.exists()


def test_afterwards_the_configured_store_is_in_use_again(tmp_path: Path) -> None:
    kitaru.configure(max_flows=3)
    stores_much.run(execution_id="real").wait(timeout=30)
    with fresh_kitaru() as client:
        assert process.wiring().settings.max_flows == 3
        assert len(client.executions.list()) == 0
    assert process.wiring().settings.max_flows == 3
    assert [one.exec_id for one in kitaru.KitaruClient().executions.list()] == ["real"]
