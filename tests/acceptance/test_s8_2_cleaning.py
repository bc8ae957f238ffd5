"""S8.2: what is laid out for versions on a machine goes with them, and never while somebody needs it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from kitaru import KitaruClient
from kitaru.deployments.environment import python_for, this_python
from kitaru.deployments.laid_out import note
from kitaru.services.wiring import wiring
from tests.acceptance.asking import asked
from tests.acceptance.deployed import Project
from tests.acceptance.gates import PATIENCE, until


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    made = Project(tmp_path)
    monkeypatch.setenv("EFFECTS", str(made.effects_file))
    return made


def age(root: Path) -> None:
    """All of it was laid out and used an hour and a half ago."""
    at = time.time() - 5400
    for path in [*root.iterdir(), *root.glob("*/users/*")]:
        os.utime(path, (at, at))


def folders(root: Path) -> set[str]:
    return {path.name for path in root.iterdir() if path.is_dir()}


def two_versions(project: Project, flow: str) -> tuple[str, str]:
    """Their snapshots. No tag is at the second version."""
    project.deploy(flow)
    project.edit("v2")
    project.deploy(flow)
    deployments = KitaruClient().deployments
    return deployments.get(flow, version=1).snapshot, deployments.get(flow, version=2).snapshot


def is_open(pid: int, folder: Path) -> bool:
    """Whether a process has a folder open: those that run from a snapshot hold it so."""

    def leads_there(descriptor: Path) -> bool:
        try:
            return descriptor.readlink() == folder
        except FileNotFoundError:  # closed meanwhile
            return False

    return any(map(leads_there, Path(f"/proc/{pid}/fd").iterdir()))


def test_s8_2_the_source_of_a_deleted_version_goes_and_the_others_stay(project: Project, home: Path) -> None:
    first, second = two_versions(project, "hello")
    snapshots = home / "snapshots"
    clean = KitaruClient().clean
    KitaruClient().deployments.delete("hello", 2)
    assert clean().snapshots == 0  # used a moment ago: for a version that is not recorded yet, as far as anybody knows
    age(snapshots)
    assert clean(dry_run=True).snapshots == 1
    assert folders(snapshots) == {first, second}
    assert clean().snapshots == 1
    assert folders(snapshots) == {first}
    assert KitaruClient().deployments.invoke("hello").wait(PATIENCE) == "v1 ada"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks at the open files of a process")
def test_s8_4_what_an_unfinished_execution_or_a_process_needs_stays(project: Project, home: Path) -> None:
    _, second = two_versions(project, "approved")
    snapshots = home / "snapshots"
    clean = KitaruClient().clean
    handle = KitaruClient().deployments.invoke("approved", version=2)
    asked(handle, "ok")
    # As if the version had been deleted at the moment at which it was invoked.
    with wiring().store._database.write() as writer:  # type: ignore[attr-defined]
        writer.execute("UPDATE deployments SET deleted_at = 1 WHERE version = 2", {})
    age(snapshots)
    assert clean().snapshots == 0
    KitaruClient().executions.input(handle.exec_id, "yes")
    assert handle.wait(PATIENCE) == "v2 ada yes v2 ada again v2"
    # It was the second process of this version: one waits for the next execution.
    (spare,) = wiring().spares.pids()
    until(lambda: is_open(spare, snapshots / second))
    wiring().spares.close()
    age(snapshots)
    until(lambda: clean().snapshots == 1)  # when the process of the execution has ended too
    assert second not in folders(snapshots)


def test_s8_5_an_environment_that_two_stores_have_used_goes_with_the_last_of_them(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(target: Path, *_: object) -> None:
        target.mkdir()
        (target / ".ready").touch()

    monkeypatch.setattr("kitaru.deployments.environment._build", build)
    environments, wheels = home / "environments", home / "wheels"
    for user in (f"{wiring().store_id}.1", "another-store.1"):
        python_for(environments, ["some==1"], this_python(), extras=[], wheels=wheels, cwd=home, user=user)
    (environment,) = folders(environments)
    age(environments)
    age(wheels)
    assert KitaruClient().clean().environments == 0
    assert folders(wheels) == set()
    note(environments / environment, f"{wiring().store_id}.2")
    (environments / environment / "users" / "another-store.1").unlink()
    assert KitaruClient().clean().environments == 0
    age(environments)
    assert KitaruClient().clean().environments == 1
    assert list(environments.iterdir()) == []
