from __future__ import annotations

from pathlib import Path

import pytest

from kitaru.values import ValueCodec, open_blobs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def values(folder: Path) -> ValueCodec:
    return ValueCodec(open_blobs(folder))
