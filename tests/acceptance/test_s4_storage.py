"""S4.4: small values live in the row, large ones in the artifact store, once, and before the row."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kitaru
from kitaru import checkpoint, flow
from kitaru.core.mutations import Commit, Refusal
from kitaru.core.ports import Store
from kitaru.services import wiring as process
from kitaru.services.settings import read_settings
from kitaru.services.wiring import Wiring, install, wiring
from tests.acceptance.runs import TIMEOUT, record


def blobs(home: Path) -> list[Path]:
    return [path for path in (home / "artifacts").glob("*") if path.is_file()]


def test_s4_4_small_values_make_no_file(home: Path) -> None:
    @checkpoint
    def work(x: Any) -> Any:
        return [x, x]

    @flow
    def agent() -> Any:
        return work("x" * 4_000)

    agent.run().wait(timeout=TIMEOUT)
    assert blobs(home) == []


def test_s4_4_a_large_value_is_kept_once_however_often_it_is_passed_on(home: Path) -> None:
    large = "é" * 200_000

    @checkpoint
    def make() -> str:
        return large

    @checkpoint
    def same(text: str) -> str:
        return text

    @flow
    def agent() -> str:
        return same(same(make()))

    handle = agent.run()
    assert handle.wait(timeout=TIMEOUT) == large
    assert [path.stat().st_size for path in blobs(home)] == [len(large.encode())]
    execution = record(handle)
    assert [call.output for call in execution.checkpoints] == [large] * 3
    assert execution.checkpoints[2].inputs == {"text": large}
    rows = wiring().store.calls.of(handle.exec_id)
    assert max(len(row.inputs) + len(row.output or "") for row in rows) < 1_000, "the rows only name it"


@pytest.mark.parametrize(
    "large",
    [
        pytest.param({"rows": [[n, f"row {n}"] for n in range(5_000)]}, id="one large whole"),
        pytest.param([n / 7 for n in range(20_000)], id="a long list"),
        pytest.param({"text": "x" * 60_000, "small": 1}, id="a large part"),
        pytest.param(bytes(100_000), id="bytes"),
        pytest.param(np.arange(50_000), id="an array"),
        pytest.param([(n, str(n)) for n in range(5_000)], id="many tagged parts"),
    ],
)
def test_s4_4_every_kind_of_large_value_is_shared_between_an_output_and_an_equal_input(home: Path, large: Any) -> None:
    @checkpoint
    def make() -> Any:
        return large

    @checkpoint
    def measure(value: Any) -> int:
        return len(value)

    @flow
    def agent() -> int:
        return measure(make())

    assert agent.run().wait(timeout=TIMEOUT) == len(large)
    assert len(blobs(home)) == 1


class Watching:
    """A real store that looks, before it writes, whether all blobs that the rows name are there."""

    def __init__(self, store: Store, artifacts: Path) -> None:
        self._store = store
        self._artifacts = artifacts
        self.named: list[str] = []
        self.missing: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(self, commits: Sequence[Commit]) -> Sequence[Refusal | None]:
        for digest in re.findall(r'"digest":"([0-9a-f]{64})"', repr(commits)):
            self.named.append(digest)
            if not (self._artifacts / digest).exists():
                self.missing.append(digest)
        return self._store.commit(commits)


def test_s4_4_blobs_are_written_before_the_rows_that_name_them() -> None:
    settings = read_settings({})
    store = Watching(Wiring(settings).store, Path(settings.artifacts))
    install(Wiring(settings, store=store))  # type: ignore[arg-type]

    @checkpoint
    def work(text: str) -> str:
        kitaru.log(long="l" * 50_000)
        kitaru.save("report", "r" * 50_000)
        return text * 2

    @flow
    async def agent(text: str) -> str:
        first = work(text)
        second = await asyncio.gather(work.submit("s" * 50_000), asyncio.sleep(0))
        return first + second[0]

    agent.run("t" * 50_000).wait(timeout=TIMEOUT)
    assert len(set(store.named)) >= 7
    assert store.missing == []


def test_s4_4_a_blob_that_is_gone_is_told_where_it_is_looked_at_and_costs_a_later_run_only_the_call(home: Path) -> None:
    ran: list[int] = []

    @checkpoint
    def work() -> str:
        ran.append(1)
        return "x" * 50_000

    @flow
    def agent() -> int:
        return len(work())

    handle = agent.run()
    assert handle.wait(timeout=TIMEOUT) == 50_000
    (blob,) = blobs(home)
    blob.unlink()
    with pytest.raises((kitaru.KitaruSerializationError, kitaru.KitaruNotFoundError), match=blob.name):
        _ = record(handle).checkpoints[0].output
    assert agent.run().wait(timeout=TIMEOUT) == 50_000
    assert len(ran) == 2


def test_s4_4_the_artifact_store_is_named_by_a_url(home: Path) -> None:
    kitaru.configure(artifacts="memory://")
    try:

        @checkpoint
        def work() -> str:
            return "x" * 50_000

        @flow
        def agent() -> int:
            return len(work())

        handle = agent.run()
        assert handle.wait(timeout=TIMEOUT) == 50_000
        assert len(record(handle).checkpoints[0].output) == 50_000
        assert blobs(home) == []
    finally:
        process.overrides.pop("artifacts")


def test_s4_values_in_the_store_are_text_that_people_can_read() -> None:
    @checkpoint
    def work(url: str, at: datetime) -> dict[str, Any]:
        return {"url": url, "words": ("a", "b")}

    @flow
    def agent() -> Any:
        return work("https://example.com", datetime(2024, 1, 1, tzinfo=UTC))

    handle = agent.run()
    handle.wait(timeout=TIMEOUT)
    (row,) = wiring().store.calls.of(handle.exec_id)
    assert json.loads(row.inputs)["url"] == "https://example.com"
    assert "2024-01-01" in row.inputs
    assert json.loads(row.output or "")["words"] == {"$tuple": ["a", "b"]}
