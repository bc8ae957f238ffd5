"""What is laid out for versions goes once nobody needs it, and not before."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kitaru.deployments.laid_out import locked, note, remove_unneeded

OLD = 5400


def lay_out(root: Path, name: str, *users: str) -> Path:
    folder = root / name
    (folder / "tree").mkdir(parents=True)
    for user in users:
        with locked(folder):
            note(folder, user)
    return folder


def age(root: Path) -> None:
    """All of it was made and noted an hour and a half ago."""
    at = time.time() - OLD
    for path in root.rglob("*"):
        os.utime(path, (at, at))


def clean(root: Path, *needed: str, mine: str = "a.", dry_run: bool = False) -> int:
    return remove_unneeded(root, mine=mine, needed=needed, before=time.time() - 3600, dry_run=dry_run)


def names(root: Path) -> set[str]:
    return {path.name for path in root.iterdir()}


def test_what_its_only_store_needs_no_more_goes_with_its_lock(tmp_path: Path) -> None:
    lay_out(tmp_path, "1", "a.x")
    lay_out(tmp_path, "2", "a.y")
    age(tmp_path)
    assert clean(tmp_path, "a.x", dry_run=True) == 1
    assert names(tmp_path) == {"1", "1.lock", "2", "2.lock"}
    assert clean(tmp_path, "a.x") == 1
    assert names(tmp_path) == {"1", "1.lock"}
    assert clean(tmp_path, "a.x") == 0
    assert clean(tmp_path / "none") == 0


def test_what_another_store_has_noted_stays_until_that_store_needs_it_no_more(tmp_path: Path) -> None:
    lay_out(tmp_path, "1", "a.x", "b.x")
    age(tmp_path)
    assert clean(tmp_path, dry_run=True) == 0
    assert names(tmp_path / "1" / "users") == {"a.x", "b.x"}
    assert clean(tmp_path) == 0
    assert names(tmp_path / "1" / "users") == {"b.x"}
    assert clean(tmp_path, mine="b.") == 1


def test_what_was_noted_a_moment_ago_stays(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, "1", "a.x")
    age(tmp_path)
    note(folder, "a.x")
    assert clean(tmp_path) == 0


def test_what_no_note_was_made_of_goes_once_it_is_old(tmp_path: Path) -> None:
    lay_out(tmp_path, "1")
    (tmp_path / ".2.77.part").mkdir()
    assert clean(tmp_path) == 0
    assert names(tmp_path) == {"1", "1.lock", ".2.77.part"}
    age(tmp_path)
    assert clean(tmp_path) == 1
    assert names(tmp_path) == set()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such locks")
def test_what_a_process_runs_in_stays_until_that_ends(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, "1", "a.x")
    age(tmp_path)
    code = (
        "import sys; from pathlib import Path; from kitaru.deployments.laid_out import hold\n"
        "hold(Path(sys.argv[1])); print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert clean(tmp_path) == 0
        assert folder.exists()
        process.communicate()
    assert clean(tmp_path) == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such locks")
def test_what_somebody_is_at_is_not_waited_for(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, "1", "a.x")
    age(tmp_path)
    with locked(folder):
        assert clean(tmp_path) == 0
    assert clean(tmp_path) == 1


def test_one_at_a_time_has_the_lock_though_its_file_comes_and_goes(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        for _ in range(200):
            with locked(tmp_path / "folder"):
                inside.append(number)
                time.sleep(0)
                most.append(len(inside))
                inside.remove(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1}
    assert names(tmp_path) == set()


def test_makers_beside_cleanings_never_lose_what_they_have_just_noted(tmp_path: Path) -> None:
    """Each folder is old at once here, so the cleanings remove what they may, under the lock, all the time."""
    ended = threading.Event()
    lost: list[str] = []

    def make(number: int) -> None:
        for turn in range(60):
            folder = tmp_path / "shared"
            with locked(folder):
                folder.mkdir(exist_ok=True)
                note(folder, f"{number}.{turn}")
                if not folder.exists():
                    lost.append(f"{number}.{turn}")

    def clean_always() -> None:
        while not ended.is_set():
            remove_unneeded(tmp_path, mine="", needed=(), before=time.time() + 60, dry_run=False)

    makers = [threading.Thread(target=make, args=(number,)) for number in range(3)]
    cleaners = [threading.Thread(target=clean_always) for _ in range(2)]
    for thread in [*makers, *cleaners]:
        thread.start()
    for thread in makers:
        thread.join()
    ended.set()
    for thread in cleaners:
        thread.join()
    assert lost == []
    remove_unneeded(tmp_path, mine="", needed=(), before=time.time() + 60, dry_run=False)
    assert names(tmp_path) == set()
