"""Which stores can be opened, and what is said of those that cannot (S9: what, where, what to do)."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kitaru.core.clock import SystemClock
from kitaru.core.mutations import Commit, ExecutionCreated
from kitaru.core.ports import Store
from kitaru.errors import KitaruStoreError, KitaruUsageError
from kitaru.store import open_store
from kitaru.store.migrate import migrations
from tests.contract.stores import create, execution

CLOCK = SystemClock()


def _open(path: Path) -> Store:
    return open_store(f"sqlite:///{path}", CLOCK)


def _refused(path: Path) -> str:
    """The message with which the store is refused; whatever is at the path must be as it was."""
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(KitaruStoreError) as caught:
        _open(path)
    message = str(caught.value)
    assert str(path) in message
    assert before is None or path.read_bytes() == before
    return message


# ── URLs ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_store_is_made_with_its_folder_where_it_is_absent(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "ki tärü%20.db"
    store = _open(path)
    create(store, execution())
    store.close()
    assert path.is_file()
    again = _open(path)
    assert again.executions.get("exec") == execution()
    again.close()


@pytest.mark.parametrize("url", ["mysql://me:s3cret@host/db", "postgresql:/me:s3cret@host/db", "me:s3cret@host/db"])
def test_what_is_no_url_of_a_store_is_told_without_its_password(url: str) -> None:
    with pytest.raises(KitaruUsageError, match=r"The store '\.\.\.@host/db' is not known\. Possible are sqlite:///"):
        open_store(url, CLOCK)


def test_a_relative_path_counts_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("sqlite:///kitaru.db", CLOCK)
    assert (tmp_path / "kitaru.db").is_file()
    monkeypatch.chdir("/")  # it is the same store, wherever the process goes
    assert store.executions.get("exec") is None
    store.close()


def test_two_stores_in_memory_know_nothing_of_each_other() -> None:
    one, two = open_store("sqlite://", CLOCK), open_store("sqlite://", CLOCK)
    create(one, execution())
    assert two.executions.get("exec") is None
    one.close()
    two.close()


@pytest.mark.parametrize(
    "url",
    [
        "mysql://x",
        "kitaru.db",
        "",
        "sqlite:",
        "sqlite://kitaru.db",
        "sqlite:///",
        "sqlite:///?x",
    ],
)
def test_an_unknown_url_is_refused_with_what_is_possible(url: str) -> None:
    with pytest.raises(KitaruUsageError, match="sqlite:///path"):
        open_store(url, CLOCK)


def test_an_unknown_option_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KitaruUsageError, match="synchronous=normal"):
        open_store(f"sqlite:///{tmp_path}/kitaru.db?synchronous=off", CLOCK)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("query", "level"), [("", 2), ("?synchronous=full", 2), ("?synchronous=normal", 1)])
def test_every_commit_is_synced_unless_normal_is_chosen(tmp_path: Path, query: str, level: int) -> None:
    store = open_store(f"sqlite:///{tmp_path}/kitaru.db{query}", CLOCK)
    with store._database.write() as writer:
        assert writer.fetch("PRAGMA synchronous") == [(level,)]
        assert writer.fetch("PRAGMA journal_mode") == [("wal",)]
    store.close()


def test_a_new_store_that_another_process_is_just_making_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "kitaru.db"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    done = threading.Timer(0.05, other.execute, ["COMMIT"])
    done.start()
    _open(path).close()
    done.join()
    other.close()


# ── files that are no store ──────────────────────────────────────────────────────────────────────


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary, " * 200)
    assert "no SQLite database" in _refused(path)


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    assert "another program" in _refused(path)


def test_a_store_of_a_newer_kitaru_is_refused_with_both_versions(tmp_path: Path) -> None:
    path = tmp_path / "kitaru.db"
    _open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 4711")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    message = _refused(path)
    assert "4711" in message
    assert f"up to {migrations()[-1][0]}" in message
    assert "Upgrade" in message


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "is a folder" in _refused(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be made" in _refused(tmp_path / "file" / "kitaru.db")


def test_a_damaged_store_is_an_error_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "kitaru.db"
    store = _open(path)
    create(store, *[execution(f"e{number}", inputs="x" * 500) for number in range(200)])
    store.close()
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)  # the first page is whole, so it looks like a store
    path.write_bytes(data)
    with pytest.raises(KitaruStoreError, match=r"is damaged .* restore a backup") as caught:
        _open(path).executions.get("e1")
    assert str(path) in str(caught.value)


def test_a_cut_store_is_an_error_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "kitaru.db"
    store = _open(path)
    create(store, *[execution(f"e{number}", inputs="x" * 500) for number in range(200)])
    store.close()
    path.write_bytes(path.read_bytes()[: 4096 * 3])
    with pytest.raises(KitaruStoreError, match="is damaged"):
        _open(path).executions.get("e1")


# ── stores that cannot be written ────────────────────────────────────────────────────────────────


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mount a small file system in memory, with these options; or change the options of the one mounted."""
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    folder = tmp_path / "mounted"
    folder.mkdir()

    def go(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            pytest.skip("this machine lets nobody mount a file system")
        return folder

    yield go
    subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)


def test_a_read_only_file_system_is_an_error_and_what_is_there_stays(mount: Callable[..., Path]) -> None:
    path = mount("size=8m") / "kitaru.db"
    store = _open(path)
    create(store, execution())
    store.close()
    mount("remount,ro")
    for attempt in (lambda: _open(path), lambda: _open(path.parent / "new.db")):
        with pytest.raises(KitaruStoreError, match=r"cannot be (written|opened)") as caught:
            create(attempt(), execution("second"))
        assert str(path.parent) in str(caught.value)
    mount("remount,rw")
    store = _open(path)
    assert store.executions.get("exec") == execution()
    store.close()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write to every file")
def test_a_read_only_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "kitaru.db"
    _open(path).close()
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(KitaruStoreError, match=r"cannot be (written|opened)"):
            create(_open(path), execution())
    finally:
        tmp_path.chmod(0o755)


def test_a_full_disk_refuses_the_whole_commit_and_the_store_goes_on(mount: Callable[..., Path]) -> None:
    folder = mount("size=4m")
    store = _open(folder / "kitaru.db")
    create(store, execution("first"))
    ballast = folder / "ballast"
    with pytest.raises(OSError, match="No space left"):
        ballast.write_bytes(bytes(8_000_000))
    group = [
        Commit(f"e{number}", None, [ExecutionCreated(execution(f"e{number}", inputs="x" * 9000))])
        for number in range(30)
    ]

    with pytest.raises(KitaruStoreError, match="the disk is full") as caught:
        store.commit(group)

    assert str(folder) in str(caught.value)
    assert store.executions.find("", limit=100) == ["first"]
    assert store.executions.get("first") == execution("first")
    ballast.unlink()
    assert store.commit(group) == [None] * 30
    assert len(store.executions.find("", limit=100)) == 31
    store.close()
