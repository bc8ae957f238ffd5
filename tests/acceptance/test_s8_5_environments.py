"""S8.5: a version runs in an environment built from its requirements. These tests need a package registry."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kitaru import KitaruClient, KitaruUsageError
from kitaru.deployments.environment import python_for, this_python
from tests.acceptance.deployed import Project
from tests.acceptance.gates import PATIENCE

USES_A_PACKAGE = """
import importlib.metadata, sys
import kitaru

@kitaru.flow
def version() -> str:
    import iniconfig
    return f"{importlib.metadata.version('iniconfig')} {kitaru.__file__.startswith(sys.prefix)}"
"""


def test_s8_5_requirements_that_differ_from_the_callers_are_in_the_environment(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.scripts.write("uses.py", USES_A_PACKAGE)
    project.python("import uses; uses.version.deploy(image={'requirements': ['iniconfig==1.1.1']})")
    # The Kitaru in it is the one that runs here, and not the registry's package of that name.
    assert KitaruClient().deployments.invoke("version").wait(PATIENCE) == "1.1.1 True"


def test_s8_5_an_environment_is_built_once_however_many_ask_and_nothing_half_made_is_left(tmp_path: Path) -> None:
    def build(requirement: str) -> str:
        return python_for(
            tmp_path / "environments", [requirement], this_python(), extras=[], wheels=tmp_path / "wheels",
            cwd=tmp_path, user="store",
        )  # fmt: skip

    with ThreadPoolExecutor(4) as pool:
        (python,) = set(pool.map(build, ["iniconfig==1.1.1"] * 4))
    built = (Path(python).parent.parent / ".ready").stat().st_mtime_ns
    assert build("iniconfig==1.1.1") == python
    assert (Path(python).parent.parent / ".ready").stat().st_mtime_ns == built
    (Path(python).parent.parent / ".ready").unlink()  # as a process leaves it that was killed while it built
    assert subprocess.run([build("iniconfig==1.1.1"), "-c", "import iniconfig, kitaru"], check=False).returncode == 0
    folders = set((tmp_path / "environments").iterdir())
    with pytest.raises(KitaruUsageError, match=r"the environment with iniconfig==99 cannot be built: .*") as caught:
        build("iniconfig==99")
    assert "\n" not in str(caught.value)
    assert set((tmp_path / "environments").iterdir()) == folders
