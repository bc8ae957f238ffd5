"""S4.4, S7.1: old executions are deleted, and blobs that no record names are removed, beside everything else."""

from __future__ import annotations

import os
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import kitaru
from kitaru import Cleaned, KitaruClient, KitaruStateError, KitaruUsageError, checkpoint, flow
from kitaru.core.mutations import CallRecorded
from kitaru.services.wiring import wiring
from kitaru.values.blob_content import is_digest
from tests.acceptance.processes import Scripts
from tests.acceptance.runs import TIMEOUT, failure_of

NOTHING = timedelta(0)
DAY = timedelta(days=1)
SIZE = 50_000


@checkpoint(cache=False)
def large(letter: str) -> bytes:
    return letter.encode() * SIZE


@checkpoint
def cached(letter: str) -> bytes:
    return letter.encode() * SIZE


@checkpoint(cache=False)
def nested(letter: str) -> list[object]:
    return [*range(9000), letter.encode() * SIZE]


@flow(cache=False)
def keeps(letter: str) -> int:
    return len(large(letter))


@flow(cache=False)
def parent(letter: str) -> int:
    return int(keeps.run(letter).wait())


def clean(older_than: timedelta | None = NOTHING, **options: Any) -> Cleaned:
    time.sleep(0.000_01)  # what has just ended is older than nothing
    return KitaruClient().clean(older_than=older_than, **options)


def blobs(home: Path) -> set[str]:
    return {path.name for path in (home / "artifacts").iterdir() if is_digest(path.name)}


def age(home: Path) -> None:
    """The blobs were put an hour and a half ago."""
    at = time.time() - 5400
    for path in (home / "artifacts").iterdir():
        if path.is_file():
            os.utime(path, (at, at))


# ── deleting ─────────────────────────────────────────────────────────────────────────────────────


def test_s7_1_a_deleted_execution_frees_its_large_values_at_the_next_cleaning(home: Path) -> None:
    first, second = keeps.run("a"), keeps.run("b")
    assert (first.wait(TIMEOUT), second.wait(TIMEOUT)) == (SIZE, SIZE)
    KitaruClient().executions.delete(first.exec_id)
    assert len(blobs(home)) == 2
    age(home)
    cleaned = clean(None)
    assert (cleaned.executions, cleaned.blobs, cleaned.bytes) == (0, 1, SIZE)
    assert KitaruClient().executions.get(second.exec_id).checkpoints[0].output == b"b" * SIZE


def test_s7_1_what_another_execution_names_too_stays(home: Path) -> None:
    first, second = keeps.run("a"), keeps.run("a")
    assert (first.wait(TIMEOUT), second.wait(TIMEOUT)) == (SIZE, SIZE)
    executions = KitaruClient().executions
    executions.delete(first.exec_id)
    age(home)
    assert clean(None).blobs == 0
    executions.delete(second.exec_id)
    assert clean(None).blobs == 1
    assert blobs(home) == set()


def test_s1_10_children_go_with_their_parent_and_not_before_it(home: Path) -> None:
    handle = parent.run("a")
    assert handle.wait(TIMEOUT) == SIZE
    executions = KitaruClient().executions
    (child,) = executions.list(parent_id=handle.exec_id)
    assert clean(flow="keeps").executions == 0
    cleaned = clean()
    assert (cleaned.executions, cleaned.kept) == (2, 0)
    assert cleaned.rows > 4
    for exec_id in (child.exec_id, handle.exec_id):
        with pytest.raises(kitaru.KitaruNotFoundError):
            executions.get(exec_id)


def test_s7_1_what_is_not_old_or_has_another_status_stays() -> None:
    @flow
    def fails() -> None:
        raise ValueError("no")

    done, failed = keeps.run("a"), fails.run()
    done.wait(TIMEOUT)
    failure_of(failed)
    assert clean(DAY).executions == 0
    assert clean(statuses=["cancelled"]).executions == 0
    assert clean(flow="another").executions == 0
    assert clean(statuses="failed").executions == 1
    assert [one.exec_id for one in KitaruClient().executions.list()] == [done.exec_id]


def test_s7_1_a_dry_run_tells_what_would_go(home: Path) -> None:
    handles = [keeps.run(letter) for letter in "aab"]
    for handle in handles:
        handle.wait(TIMEOUT)
    age(home)
    told = clean(dry_run=True)
    assert told.dry_run
    assert (told.executions, told.blobs, told.bytes) == (3, 2, 2 * SIZE)
    assert len(KitaruClient().executions.list()) == 3
    assert len(blobs(home)) == 2
    done = clean()
    assert (done.executions, done.rows, done.blobs, done.bytes) == (3, told.rows, 2, 2 * SIZE)
    assert clean() == Cleaned(
        executions=0, rows=0, kept=0, blobs=0, bytes=0, runners=0, snapshots=0, environments=0, blobs_kept=None,
        dry_run=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"older_than": timedelta(-1)}, "a timedelta is expected"),
        ({"older_than": 30}, "a timedelta is expected"),
        ({"older_than": DAY, "statuses": ["complete"]}, "Did you mean 'completed'"),
        ({"older_than": DAY, "statuses": ["running"]}, "'running' is no status of a finished execution"),
        ({"older_than": DAY, "statuses": ()}, "name at least one"),
        ({"flow": "agent"}, "older_than="),
    ],
)
def test_s9_bad_arguments_are_refused_before_anything_goes(options: dict[str, Any], message: str) -> None:
    keeps.run("a").wait(TIMEOUT)
    with pytest.raises(KitaruUsageError, match=message):
        KitaruClient().clean(**options)
    assert len(KitaruClient().executions.list()) == 1


# ── what is needed stays ─────────────────────────────────────────────────────────────────────────


@checkpoint(cache=False)
def breaks() -> None:
    raise ValueError("no")


@flow(cache=False)
def with_child(letter: str) -> int:
    size = int(keeps.run(letter).wait())
    kitaru.wait("go on")
    return size


def test_s6_4_the_original_of_a_replay_that_may_go_on_stays(home: Path) -> None:
    executions = KitaruClient().executions
    source = with_child.run("a")
    while not executions.pending_waits():
        time.sleep(0.01)
    executions.input(source.exec_id)
    assert source.wait(TIMEOUT) == SIZE
    replay = executions.replay(source.exec_id, from_="go on")
    while not executions.pending_waits():
        time.sleep(0.01)
    assert (clean().kept, clean().executions) == (1, 0)
    with pytest.raises(KitaruStateError, match=rf"{replay.exec_id} was made from it, is (running|waiting)"):
        executions.delete(source.exec_id)
    executions.input(replay.exec_id)
    assert replay.wait(TIMEOUT) == SIZE
    assert clean().executions == 3


def test_s4_4_copies_of_a_replay_keep_their_large_values(home: Path) -> None:
    source = keeps.run("a")
    source.wait(TIMEOUT)
    executions = KitaruClient().executions
    replay = executions.replay(source.exec_id)
    replay.wait(TIMEOUT)
    executions.delete(source.exec_id)
    age(home)
    assert clean(None).blobs == 0
    assert executions.get(replay.exec_id).checkpoints[0].output == b"a" * SIZE


def test_s4_4_a_replay_during_a_cleaning_keeps_what_it_copies(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cleaning has read all executions, then one is replayed and deleted, then the blobs are looked at."""
    source = keeps.run("a")
    source.wait(TIMEOUT)
    age(home)
    executions = KitaruClient().executions
    put_before = wiring().blobs.put_before
    replays: list[str] = []

    def replay_first(at: int) -> Any:
        replay = executions.replay(source.exec_id)
        replay.wait(TIMEOUT)
        executions.delete(source.exec_id)
        replays.append(replay.exec_id)
        return put_before(at)

    monkeypatch.setattr(wiring().blobs, "put_before", replay_first)
    assert clean(None).blobs == 0
    assert executions.get(replays[0]).checkpoints[0].output == b"a" * SIZE


def test_s4_4_what_a_large_value_names_stays_with_it(home: Path) -> None:
    @flow
    def agent() -> int:
        return len(nested("a"))

    handle = agent.run()
    handle.wait(TIMEOUT)
    age(home)
    assert len(blobs(home)) == 2
    assert clean(None).blobs == 0
    assert KitaruClient().executions.get(handle.exec_id).checkpoints[0].output == nested.fn("a")
    assert clean().blobs == 2


def test_s4_4_what_a_waiting_execution_has_recorded_stays(home: Path) -> None:
    @flow
    def agent() -> int:
        data = large("a")
        kitaru.wait("go on", metadata={"data": "x" * SIZE})
        return len(data)

    handle = agent.run()
    executions = KitaruClient().executions
    while not executions.pending_waits():
        time.sleep(0.01)
    age(home)
    assert clean().blobs == 0
    executions.input(handle.exec_id)
    assert handle.wait(TIMEOUT) == SIZE


def test_s3_5_a_cached_result_that_is_reused_counts_as_put_now(home: Path) -> None:
    """Between the look into the cache and the record of the call its source may be deleted, and a cleaning run."""

    @flow
    def agent() -> int:
        return len(cached("a"))

    first = agent.run()
    first.wait(TIMEOUT)
    age(home)
    store = wiring().store
    commit = store.commit
    cleanings: list[Cleaned] = []

    def clean_before_the_record(commits: Any) -> Any:
        if any(isinstance(one, CallRecorded) for entry in commits for one in entry.mutations) and not cleanings:
            cleanings.append(clean())
        return commit(commits)

    wiring().committer._store = _Committing(store, clean_before_the_record)  # type: ignore[assignment]
    second = agent.run()
    assert second.wait(TIMEOUT) == SIZE
    wiring().committer._store = store
    assert [(one.executions, one.blobs) for one in cleanings] == [(1, 0)]
    assert KitaruClient().executions.get(second.exec_id).checkpoints[0].output == b"a" * SIZE


class _Committing:
    def __init__(self, store: Any, commit: Any) -> None:
        self._store = store
        self.commit = commit

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_s4_4_what_was_put_and_not_recorded_yet_stays_while_it_is_young_or_its_run_goes_on(home: Path) -> None:
    at, go_on = threading.Event(), threading.Event()

    @checkpoint(cache=False)
    def holds() -> None:
        kitaru.log(report="x" * SIZE)  # written with the outcome of the checkpoint
        at.set()
        assert go_on.wait(TIMEOUT)

    @flow
    def agent() -> None:
        holds()

    handle = agent.run()
    assert at.wait(TIMEOUT)
    assert len(blobs(home)) == 1
    assert clean().blobs == 0
    ((path,),) = ([home / "artifacts" / name for name in blobs(home)],)
    began = KitaruClient().executions.get(handle.exec_id).started_at
    assert began is not None
    os.utime(path, (began.timestamp() - 3590,) * 2)
    assert clean().blobs == 0
    go_on.set()
    handle.wait(TIMEOUT)
    assert KitaruClient().executions.get(handle.exec_id).checkpoints[0].metadata["report"] == "x" * SIZE


# ── what nobody refers to ────────────────────────────────────────────────────────────────────────


def test_s4_4_what_a_crash_left_is_removed(home: Path) -> None:
    handle = keeps.run("a")
    handle.wait(TIMEOUT)
    recorded = blobs(home)
    wiring().values.encode(b"never recorded" * 5000, "result")
    part = home / "artifacts" / f".{'0' * 64}.1.1.part"
    part.write_bytes(b"half")
    age(home)
    cleaned = clean(None)
    assert (cleaned.blobs, cleaned.bytes) == (2, 14 * 5000 + 4)
    assert blobs(home) == recorded
    assert not part.exists()


def test_s4_4_an_artifact_store_of_two_stores_is_left_alone(home: Path, tmp_path: Path) -> None:
    keeps.run("a").wait(TIMEOUT)
    other = f"sqlite:///{tmp_path / 'other.db'}"
    script = Scripts(tmp_path / "project")
    script.write(
        "other.py",
        f"""
        import kitaru
        kitaru.configure(store={other!r})
        @kitaru.flow
        def agent() -> bytes:
            return b"b" * 50_000
        agent.run().wait()
        """,
    )
    script.run("other.py")
    age(home)
    cleaned = clean()
    assert (cleaned.executions, cleaned.blobs) == (1, 0)
    assert cleaned.blobs_kept is not None
    assert "used by 1 more store" in cleaned.blobs_kept
    assert len(blobs(home)) == 2
    own = wiring().store.retention.store_id("")
    for note in (home / "artifacts" / "users").iterdir():
        if note.name != own:
            note.unlink()
    assert clean().blobs == 2


def test_s4_4_a_blob_that_is_not_here_leaves_what_it_may_name(home: Path) -> None:
    """On another machine, say: what it names is told once it can be read."""

    @flow
    def agent() -> int:
        return len(nested("a"))

    agent.run().wait(TIMEOUT)
    whole = next(name for name in blobs(home) if (home / "artifacts" / name).read_bytes()[:1] == b"[")
    away = home / "away"
    (home / "artifacts" / whole).rename(away)
    age(home)
    clean(None)
    away.rename(home / "artifacts" / whole)
    age(home)
    clean(None)
    assert blobs(home) >= {whole}
    assert len(wiring().store.retention.owners(sorted(blobs(home)))) == len(blobs(home))


# ── beside others ────────────────────────────────────────────────────────────────────────────────

WRITER = """
import sys, kitaru

@kitaru.checkpoint(cache=False)
def large(number: int) -> bytes:
    return bytes([number]) * 20_000

@kitaru.flow
def agent(number: int) -> int:
    return len(large(number))

for number in range(int(sys.argv[1])):
    assert agent.run(number % 40).wait() == 20_000
print("done")
"""

CLEANER = """
import os, sys, time
from datetime import timedelta
from pathlib import Path
import kitaru

client = kitaru.KitaruClient()
gone = 0
while not Path(sys.argv[1]).exists():
    for path in (Path(os.environ["KITARU_HOME"]) / "artifacts").glob("?" * 64):
        try:
            if time.time() - path.stat().st_mtime > 1.5:
                os.utime(path, (1, 1))
        except FileNotFoundError:
            pass
    gone += client.clean(older_than=timedelta(seconds=1.5)).executions
print(gone)
"""


def test_s4_4_two_cleanings_beside_two_writers_lose_nothing(tmp_path: Path) -> None:
    """The writers make the same values again and again, while both cleaners delete executions that have just ended.

    The cleaners make blobs old that were put more than 1.5 s ago, so what they remove is often about to be put again.
    """
    scripts = Scripts(tmp_path / "project")
    scripts.write("writer.py", WRITER)
    scripts.write("cleaner.py", CLEANER)
    stop = tmp_path / "stop"
    with (
        scripts.started("cleaner.py", str(stop)) as one,
        scripts.started("cleaner.py", str(stop)) as two,
        scripts.started("writer.py", "120") as first,
        scripts.started("writer.py", "120") as second,
    ):
        for writer in (first, second):
            printed, errors = writer.finish()
            assert printed == ["done"], errors
        stop.touch()
        gone = [child.finish() for child in (one, two)]
    assert all(printed for printed, _ in gone), gone
    left = KitaruClient().executions.list(limit=1000)
    for execution in left:
        assert KitaruClient().executions.get(execution.exec_id).checkpoints[0].output is not None
    assert len(left) + sum(int(printed[0]) for printed, _ in gone) == 240


def test_s4_4_an_interrupted_cleaning_is_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    for letter in "abc":
        keeps.run(letter).wait(TIMEOUT)
    delete = wiring().store.executions.delete
    calls: list[str] = []

    def interrupted(execution_id: str, **options: Any) -> Any:
        calls.append(execution_id)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return delete(execution_id, **options)

    monkeypatch.setattr(wiring().store.executions, "delete", interrupted)
    with pytest.raises(KeyboardInterrupt):
        clean()
    assert len(KitaruClient().executions.list()) == 2
    assert clean().executions == 2


def test_s6_2_processes_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    scripts = Scripts(tmp_path / "project")
    scripts.write(
        "dies.py",
        """
        import os, kitaru
        @kitaru.flow
        def agent() -> None:
            os._exit(0)
        agent.run().wait()
        """,
    )
    scripts.run("dies.py")
    assert len(wiring().store.runners.list()) == 1
    assert clean(None, dry_run=True).runners == 0
    assert clean(None).runners == 1
    assert wiring().store.runners.list() == []
