"""The lock files by which a dead runner is known."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import pytest

from kitaru.core.clock import SystemClock
from kitaru.errors import KitaruStoreError
from kitaru.store import liveness, open_store
from kitaru.store.liveness import RunnerLocks
from tests.contract.stores import create, execution, runner

pytest.importorskip("fcntl", reason="no locks on files on this system: only leases count")


def test_who_holds_its_lock_is_not_dead_whoever_looks(tmp_path: Path) -> None:
    mine, other = RunnerLocks(tmp_path), RunnerLocks(tmp_path)
    mine.hold("r")
    mine.hold("r")  # a second registration of the same process
    assert not mine.is_dead("r")
    assert not other.is_dead("r")
    mine.close()
    assert other.is_dead("r")


def test_without_a_lock_file_nothing_is_proven(tmp_path: Path) -> None:
    assert not RunnerLocks(tmp_path).is_dead("r")
    assert not RunnerLocks(tmp_path / "absent").is_dead("r")
    assert not RunnerLocks(None).is_dead("r")


def test_the_file_goes_with_the_runner(tmp_path: Path) -> None:
    mine, other = RunnerLocks(tmp_path), RunnerLocks(tmp_path)
    mine.hold("retired/../x")  # any text is an id
    mine.hold("dead")
    assert len(list(tmp_path.iterdir())) == 2
    mine.release("retired/../x")
    mine.close()
    other.remove("dead")
    assert list(tmp_path.iterdir()) == []


def test_the_file_of_a_living_runner_is_not_removed(tmp_path: Path) -> None:
    mine, other = RunnerLocks(tmp_path), RunnerLocks(tmp_path)
    mine.hold("r")
    other.remove("r")
    assert [path.name for path in tmp_path.iterdir()] == ["r"]
    mine.release("r")


def test_a_runner_id_that_another_process_holds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "_TRIES", 2)
    mine, other = RunnerLocks(tmp_path), RunnerLocks(tmp_path)
    mine.hold("r")
    with pytest.raises(KitaruStoreError, match="a runner id of its own"):
        other.hold("r")
    mine.close()


def test_a_lock_on_a_file_that_was_removed_meanwhile_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = liveness.fcntl.flock

    def removed_just_before(file: IO[bytes], how: int) -> None:
        monkeypatch.setattr(liveness.fcntl, "flock", flock)
        (tmp_path / "r").unlink()
        flock(file, how)

    monkeypatch.setattr(liveness.fcntl, "flock", removed_just_before)
    mine = RunnerLocks(tmp_path)
    mine.hold("r")
    assert (tmp_path / "r").exists()
    mine.close()
    assert RunnerLocks(tmp_path).is_dead("r")


def test_a_folder_that_cannot_be_made_is_an_error_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KitaruStoreError, match="cannot be made"):
        RunnerLocks(tmp_path / "file" / "folder").hold("r")


def test_a_store_that_was_closed_without_retiring_leaves_orphans(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/kitaru.db"
    first, second = open_store(url, SystemClock()), open_store(url, SystemClock())
    first.runners.register(runner("r"), lease_seconds=3600)
    create(first, execution(runner_id="r"))
    assert not second.executions.is_orphan("exec")
    first.close()
    assert second.executions.is_orphan("exec")
    assert list((tmp_path / "kitaru.db-runners").iterdir()) == []
    second.close()
