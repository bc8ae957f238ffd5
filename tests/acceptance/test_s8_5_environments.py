"""S8.5: a version runs in an environment built from its requirements. These tests need a package registry."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from uv import find_uv_bin

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


REPLICATES = """
import importlib.metadata, sys
import kitaru

@kitaru.flow
def versions() -> list[str]:
    found = [importlib.metadata.version(name) for name in ("iniconfig", "pydantic")]
    return [*found, sys.prefix]

if __name__ == "__main__":
    image = {"replicate_local_python_environment": True, "requirements": sys.argv[1:]}
    print(*versions.deploy(image=image).image.requirements, sep="\\n")
"""


def test_s8_5_the_packages_of_the_environment_that_deploys_are_taken_over(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(tmp_path)
    script = project.scripts.write("replicates.py", REPLICATES)
    monkeypatch.setenv("PATH", f"{Path(find_uv_bin()).parent}{os.pathsep}{os.environ['PATH']}")
    python = python_for(
        tmp_path / "theirs", ["iniconfig==1.1.1"], this_python(), extras=["secrets"], wheels=tmp_path / "wheels",
        cwd=tmp_path, user="store",
    )  # fmt: skip
    command = [python, str(script), "IniConfig==2.0.0"]
    done = subprocess.run(command, cwd=project.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    requirements = done.stdout.split("\n")[:-1]
    # What the image names itself counts more than what is installed; and never Kitaru, which comes as a wheel.
    assert [one for one in requirements if one.lower().startswith("iniconfig")] == ["IniConfig==2.0.0"]
    assert not [one for one in requirements if one.lower().startswith("kitaru")]
    (pydantic,) = (one.partition("==")[2] for one in requirements if one.startswith("pydantic=="))
    *found, prefix = KitaruClient().deployments.invoke("versions").wait(PATIENCE)
    assert found == ["2.0.0", pydantic]
    assert Path(prefix).parent == home / "environments"
