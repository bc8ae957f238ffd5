"""S8.5: the Kitaru that runs, as a wheel for other environments."""

from __future__ import annotations

import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from kitaru.deployments.wheel import own_wheel


def test_s8_5_of_several_that_make_the_wheel_at_once_each_gets_a_whole_one(tmp_path: Path) -> None:
    together = Barrier(4)

    def make(folder: Path) -> Path:
        together.wait()
        return own_wheel(folder)

    with ThreadPoolExecutor(4) as pool:
        for turn in range(10):
            (made,) = set(pool.map(make, [tmp_path / str(turn)] * 4))
            assert zipfile.ZipFile(made).testzip() is None
            assert {path.name for path in made.parent.iterdir()} == {made.name, "users"}
