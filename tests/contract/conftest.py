"""The backends, as fixtures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kitaru.core.ports import Store
from tests.contract.stores import BACKENDS, SHARED, ManualClock
from tests.postgres import needs_postgres


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=BACKENDS)
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> Iterator[Store]:
    """An empty store of each backend, on ``clock``."""
    needs_postgres(request.param)
    opened = BACKENDS[request.param](tmp_path, clock)
    yield opened
    opened.close()


@pytest.fixture
def embedded_url(tmp_path: Path) -> str:
    """The URL of a store whose processes share a machine: there a dead one is known at once, by its locks."""
    return SHARED["sqlite"](tmp_path)


@pytest.fixture(params=SHARED)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store that several processes can open."""
    needs_postgres(request.param)
    return SHARED[request.param](tmp_path)
