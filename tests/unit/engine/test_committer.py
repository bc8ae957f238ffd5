"""Group commit: who is written with whom, and who is told what. The store is one that the test holds."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from kitaru.core.mutations import Commit, Conflict, Fenced, Refusal
from kitaru.core.states import Status
from kitaru.engine import committer as module
from kitaru.engine.committer import Committer, Verdict
from kitaru.errors import KitaruStoreError

PATIENCE = 30.0


class FakeStore:
    """Keeps what is committed; ``hold`` stops it inside the next commit."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.threads: list[str] = []
        self.refused: dict[str, Refusal] = {}
        self.fault: Exception | None = None
        self.entered = threading.Semaphore(0)
        self.go_on = threading.Event()
        self.go_on.set()

    def commit(self, commits: Sequence[Commit]) -> Sequence[Refusal | None]:
        self.entered.release()
        assert self.go_on.wait(PATIENCE)
        self.threads.append(threading.current_thread().name)
        self.groups.append([commit.execution_id for commit in commits])
        if self.fault is not None:
            raise self.fault
        return [self.refused.get(commit.execution_id) for commit in commits]

    def wait_entered(self) -> None:
        assert self.entered.acquire(timeout=PATIENCE)


class Collecting:
    """A sink that keeps what it is told."""

    def __init__(self, expected: int) -> None:
        self.calls: list[list[tuple[Any, Verdict]]] = []
        self._expected = expected
        self._all = threading.Event()

    def settle(self, results: Sequence[tuple[Any, Verdict]]) -> None:
        self.calls.append(list(results))
        if len(self.results) == self._expected:
            self._all.set()

    @property
    def results(self) -> list[tuple[Any, Verdict]]:
        return [result for call in self.calls for result in call]

    def wait(self) -> list[tuple[Any, Verdict]]:
        assert self._all.wait(PATIENCE)
        return self.results


def of(name: object) -> Commit:
    return Commit(str(name), 1, ())


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def committer(store: FakeStore) -> Committer:
    return Committer(store)  # type: ignore[arg-type]


def hold_it(store: FakeStore, committer: Committer) -> None:
    """Let the committer's thread be inside the store with a first commit."""
    store.go_on.clear()
    committer.enqueue(of("first"), Collecting(1), None)
    store.wait_entered()


def test_a_lone_commit_is_written_on_the_calling_thread(store: FakeStore, committer: Committer) -> None:
    committer.commit(of("a"))
    assert store.groups == [["a"]]
    assert store.threads == [threading.current_thread().name]


def test_what_queues_up_during_a_commit_is_written_in_one_group_in_order(
    store: FakeStore, committer: Committer
) -> None:
    hold_it(store, committer)
    sink = Collecting(100)
    for n in range(100):
        committer.enqueue(of(n), sink, n)
    store.go_on.set()
    assert sink.wait() == [(n, None) for n in range(100)]
    assert store.groups == [["first"], [str(n) for n in range(100)]]


def test_a_sink_is_told_of_all_its_commits_of_a_group_at_once_and_in_order(
    store: FakeStore, committer: Committer
) -> None:
    hold_it(store, committer)
    one, other = Collecting(50), Collecting(50)
    for n in range(100):
        committer.enqueue(of(n), (one, other)[n % 2], n)
    store.go_on.set()
    one.wait()
    other.wait()
    assert one.calls == [[(n, None) for n in range(0, 100, 2)]]
    assert other.calls == [[(n, None) for n in range(1, 100, 2)]]


def test_a_group_is_bounded(store: FakeStore, committer: Committer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_GROUP", 10)
    hold_it(store, committer)
    sink = Collecting(25)
    for n in range(25):
        committer.enqueue(of(n), sink, n)
    store.go_on.set()
    assert [item for item, _ in sink.wait()] == list(range(25))
    assert [len(group) for group in store.groups] == [1, 10, 10, 5]


def test_blocking_commits_that_come_while_another_writes_share_a_group(store: FakeStore, committer: Committer) -> None:
    hold_it(store, committer)
    threads = [threading.Thread(target=committer.commit, args=(of(n),)) for n in range(8)]
    for thread in threads:
        thread.start()
    queue = committer._queue
    while len(queue) < 8:
        assert not threading.Event().wait(0.001)
    store.go_on.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert [sorted(group) for group in store.groups] == [["first"], [str(n) for n in range(8)]]


def test_a_blocking_commit_takes_along_what_queued_up_before_it(store: FakeStore, committer: Committer) -> None:
    """Else a later write of a run could be on disk before an earlier one."""
    committer._thread = threading.current_thread()  # no thread of its own, so that the queue stays as it is
    sink = Collecting(3)
    for n in range(3):
        committer.enqueue(of(n), sink, n)
    committer.commit(of("own"))
    assert store.groups == [["0", "1", "2", "own"]]
    assert sink.calls == [[(0, None), (1, None), (2, None)]]


def test_a_blocking_commit_never_overtakes_the_queue_however_long_it_is(
    store: FakeStore, committer: Committer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_GROUP", 10)
    committer._thread = threading.current_thread()
    sink = Collecting(25)
    for n in range(25):
        committer.enqueue(of(n), sink, n)
    committer.commit(of("own"))
    written = [name for group in store.groups for name in group]
    assert written == [*(str(n) for n in range(25)), "own"]
    assert [item for item, _ in sink.results] == list(range(25))


def test_a_refusal_reaches_its_own_sender_and_nobody_else(store: FakeStore, committer: Committer) -> None:
    fenced, conflict = Fenced(Status.CANCELLED), Conflict(None)
    store.refused = {"1": fenced, "blocking": conflict}
    hold_it(store, committer)
    sink = Collecting(3)
    for n in range(3):
        committer.enqueue(of(n), sink, n)
    store.go_on.set()
    assert sink.wait() == [(0, None), (1, fenced), (2, None)]
    with pytest.raises(Conflict) as caught:
        committer.commit(of("blocking"))
    assert caught.value is conflict
    committer.commit(of("fine"))


def test_a_store_error_reaches_everybody_in_the_group(store: FakeStore, committer: Committer) -> None:
    hold_it(store, committer)
    sinks = [Collecting(2), Collecting(2)]
    for n in range(4):
        committer.enqueue(of(n), sinks[n % 2], n)
    errors: list[KitaruStoreError] = []

    def blocking() -> None:
        try:
            committer.commit(of("blocking"))
        except KitaruStoreError as error:
            errors.append(error)

    thread = threading.Thread(target=blocking)
    thread.start()
    while len(committer._queue) < 5:
        assert not threading.Event().wait(0.001)
    fault = KitaruStoreError("disk full")
    store.fault = fault
    store.go_on.set()
    thread.join(PATIENCE)
    assert [verdict for sink in sinks for _, verdict in sink.wait()] == [fault] * 4
    assert errors == [fault]
    store.fault = None
    committer.commit(of("afterwards"))  # the committer lives on
    assert store.groups[-1] == ["afterwards"]


def test_a_store_that_breaks_in_an_unforeseen_way_is_a_store_error_and_the_thread_lives_on(
    store: FakeStore, committer: Committer
) -> None:
    store.fault = ZeroDivisionError("a bug")
    with pytest.raises(KitaruStoreError, match=r"ZeroDivisionError\('a bug'\).*report") as caught:
        committer.commit(of("a"))
    assert caught.value.__cause__ is store.fault
    broken = Collecting(1)
    committer.enqueue(of("b"), broken, "b")
    assert isinstance(broken.wait()[0][1], KitaruStoreError)
    store.fault = None
    fine = Collecting(1)
    committer.enqueue(of("c"), fine, "c")
    assert fine.wait() == [("c", None)]


def test_many_threads_lose_nothing(store: FakeStore, committer: Committer) -> None:
    sinks = [Collecting(200) for _ in range(8)]

    def work(number: int) -> None:
        for n in range(200):
            committer.enqueue(of(f"{number}-{n}"), sinks[number], n)
            if n % 20 == 0:
                committer.commit(of(f"{number}-blocking-{n}"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert [sorted(item for item, _ in sink.wait()) for sink in sinks] == [list(range(200))] * 8
    written = [name for group in store.groups for name in group]
    assert len(written) == len(set(written)) == 8 * 210
    for number in range(8):
        mine = [name for name in written if name.startswith(f"{number}-")]
        assert mine == sorted(mine, key=lambda name: (int(name.rpartition("-")[2]), "blocking" in name))


def test_an_idle_thread_leaves_and_what_comes_later_is_written_all_the_same(
    store: FakeStore, committer: Committer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_IDLE_SECONDS", 0.0005)
    for number in range(200):  # some come just while the thread leaves
        sink = Collecting(1)
        committer.enqueue(of(number), sink, number)
        assert sink.wait() == [(number, None)]
    thread = committer._thread
    if thread is not None:
        thread.join(PATIENCE)
    assert committer._thread is None
