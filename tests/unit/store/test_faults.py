"""What goes wrong while a store is in use."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kitaru.core.clock import SystemClock
from kitaru.core.mutations import Conflict
from kitaru.errors import KitaruStoreError
from kitaru.store import open_store, sqlite
from tests.contract.stores import create, execution, runner

CLOCK = SystemClock()


def _run(script: str, *arguments: str) -> str:
    """Run a script in a process of its own, and give what it printed."""
    result = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_store_that_another_process_holds_locked_is_an_error_after_the_timeout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    path = tmp_path / "kitaru.db"
    store = open_store(f"sqlite:///{path}", CLOCK)
    create(store, execution())
    hold = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE');"
        "print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"

    with pytest.raises(KitaruStoreError, match=r"locked by another process, and stayed so for 0\.05 s") as caught:
        create(store, execution("second"))

    assert str(path) in str(caught.value)
    assert store.executions.get("exec") == execution()  # reading goes on meanwhile
    holder.communicate()
    create(store, execution("second"))
    store.close()


def test_a_disk_that_reports_errors_is_named_and_the_store_goes_on_after_it(tmp_path: Path) -> None:
    # A limit on the size of files makes the kernel refuse writes with an error that is not "disk full".
    pytest.importorskip("resource", reason="no limits on file sizes on this system")
    script = """
import resource, sys
from kitaru.core.clock import SystemClock
from kitaru.errors import KitaruStoreError
from kitaru.store import open_store
from tests.contract.stores import create, execution
store = open_store(sys.argv[1], SystemClock())
create(store, execution("first"))
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
try:
    create(store, *[execution(f"e{i}", inputs="x" * 100_000) for i in range(20)])
except KitaruStoreError as error:
    print(error)
print(store.executions.find("", limit=9))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
create(store, *[execution(f"e{i}", inputs="x" * 100_000) for i in range(20)])
print(len(store.executions.find("", limit=99)))
"""
    message, found, count = _run(script, f"sqlite:///{tmp_path}/kitaru.db").splitlines()
    assert "the disk reported an error" in message
    assert str(tmp_path) in message
    assert found == "['first']"
    assert count == "21"


def test_a_store_whose_file_was_removed_is_not_silently_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "kitaru.db"
    store = open_store(f"sqlite:///{path}", CLOCK)
    for file in tmp_path.glob("kitaru.db*"):
        file.unlink()
    with pytest.raises(KitaruStoreError, match="cannot be opened"):
        store.executions.get("exec")
    assert not path.exists()
    store.close()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///{}/kitaru.db"])
def test_a_closed_store_says_that_it_is_closed(tmp_path: Path, url: str) -> None:
    store = open_store(url.format(tmp_path), CLOCK)
    create(store, execution())
    store.executions.get("exec")
    store.close()
    store.close()
    with pytest.raises(KitaruStoreError, match="has been closed"):
        store.executions.get("exec")
    with pytest.raises(KitaruStoreError, match="has been closed"):
        create(store, execution("second"))


def test_a_closed_store_leaves_one_file(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/kitaru.db", CLOCK)
    create(store, execution())
    stop = store.changes(lambda: None)
    store.executions.get("exec")
    store.runners.register(runner(), lease_seconds=9)
    store.runners.retire("runner")
    store.close()
    stop()
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["kitaru.db"]
    assert list((tmp_path / "kitaru.db-runners").iterdir()) == []


def test_an_interrupted_write_leaves_no_transaction_open(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/kitaru.db", CLOCK)
    database = store._database

    def interrupted() -> None:
        with database.write() as writer:
            writer.execute("INSERT INTO settings VALUES ('a', 'b')")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    create(store, execution())
    assert database.read("SELECT * FROM settings", {}) == []
    store.close()


def test_a_connection_that_cannot_even_roll_back_is_replaced(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/kitaru.db", CLOCK)
    database = store._database

    def broken() -> None:
        with database.write() as writer:
            database._writer.close()
            writer.execute("SELECT 1")

    with pytest.raises(KitaruStoreError):
        broken()
    with pytest.raises(Conflict):
        store.executions.delete("exec")
    create(store, execution())
    store.close()


def test_readers_of_many_threads_share_a_few_connections(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/kitaru.db", CLOCK)
    create(store, execution())
    threads = [threading.Thread(target=lambda: store.executions.get("exec")) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= len(store._database._idle) <= 8
    store.close()


def test_readers_cannot_write(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/kitaru.db", CLOCK)
    with pytest.raises(KitaruStoreError, match="cannot be written"):
        store._database.read("DELETE FROM executions", {})
    store.close()


# ── forks ────────────────────────────────────────────────────────────────────────────────────────

FORK = """
import os, sys, threading, warnings
warnings.simplefilter("ignore")
from kitaru.core.clock import SystemClock
from kitaru.core.ports import ExecutionFilter
from kitaru.errors import KitaruStoreError
from kitaru.store import open_store
from tests.contract.stores import create, execution, runner
store = open_store(sys.argv[1], SystemClock())
create(store, execution("parent"))
store.executions.get("parent")
stop = store.changes(lambda: None)
store.runners.register(runner("r"), lease_seconds=60)
create(store, execution("mine", runner_id="r"))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_has_connections_of_its_own_even_while_the_parent_writes(tmp_path: Path) -> None:
    script = FORK
    script += """
# Threads that write and read all the time, while the process forks again and again.
stopped = threading.Event()
def write(name):
    number = 0
    while not stopped.is_set():
        create(store, execution(f"{name}{number}"))
        store.executions.list(ExecutionFilter(), limit=5, after=None)
        number += 1
threads = [threading.Thread(target=write, args=(name,)) for name in "xyz"]
for thread in threads:
    thread.start()
for number in range(10):
    child = os.fork()
    if child == 0:
        assert store.executions.get("parent") is not None
        create(store, execution(f"nested{number}"))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
stopped.set()
for thread in threads:
    thread.join()
assert len(store.executions.find("nested", limit=99)) == 10
"""
    script += """
child = os.fork()
if child == 0:
    create(store, execution("child"))
    heard = threading.Event()
    end = store.changes(heard.set)
    assert heard.wait(10)
    end()
    store.close()
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
create(store, execution("after"))
print([store.executions.status(name) is not None for name in ("after", "child", "mine", "parent")])
print(store.executions.is_orphan("mine"))
"""
    found, orphan = _run(script, f"sqlite:///{tmp_path}/kitaru.db").splitlines()
    assert found == "[True, True, True, True]"
    assert orphan == "False"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_at_the_moment_of_a_fork_no_connection_is_open(tmp_path: Path) -> None:
    script = (
        FORK
        + """
database = store._database
held = database._take_reader()  # a thread in the middle of a statement
given_back = []
def give_back():
    given_back.append(True)
    database._give_back(held, keep=True)
threading.Timer(0.1, give_back).start()
child = os.fork()
if child == 0:
    clean = (database._writer, database._observer, database._idle, database._in_use) == (None, None, [], 0)
    os._exit(0 if clean and given_back else 9)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), store.executions.status("parent"))
"""
    )
    assert _run(script, f"sqlite:///{tmp_path}/kitaru.db") == "0 pending\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_does_not_keep_its_dead_parents_runner_alive(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/kitaru.db"
    script = (
        FORK
        + "pid = os.fork()\nif pid == 0:\n    os.close(1); sys.stdin.read(); os._exit(0)\nos.kill(os.getpid(), 9)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert parent.wait(60) == -9
    store = open_store(url, CLOCK)
    assert store.executions.is_orphan("mine")
    store.close()
    parent.communicate()  # ends the child


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_store_in_memory_says_that_it_does_not_survive_a_fork() -> None:
    script = (
        FORK
        + """
child = os.fork()
if child == 0:
    try:
        store.executions.get("parent")
    except KitaruStoreError as error:
        os._exit(0 if "in memory" in str(error) else 8)
    os._exit(9)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), store.executions.status("parent"))
"""
    )
    assert _run(script, "sqlite://") == "0 pending\n"


def test_no_other_module_of_kitaru_knows_sqlite(tmp_path: Path) -> None:
    source = Path(sqlite.__file__).parent.parent
    users = {path.parent.name for path in source.rglob("*.py") if "import sqlite3" in path.read_text(encoding="utf-8")}
    assert users == {"store"}
    assert sqlite3.threadsafety == 3  # connections may move between threads
