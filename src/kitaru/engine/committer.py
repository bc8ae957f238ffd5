"""The one door through which an engine writes: group commit (ARCHITECTURE, decision 4).

Two ways in:

* ``commit`` blocks. Where nobody else is writing it writes on the calling thread, with no hand-over,
  and takes along what has queued up before it; else it joins the queue and waits for its group.
* ``enqueue`` does not block. One thread, started when it is first needed, writes whatever has queued
  up in one transaction and tells each sender's sink about all of its commits at once.

Owned here: the queue and the thread. ``_writing`` is held by whoever is inside ``Store.commit``.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from kitaru.core.mutations import Commit, Refusal
from kitaru.core.ports import Store
from kitaru.engine.crash_points import crash_point
from kitaru.errors import KitaruStoreError

Verdict = Refusal | KitaruStoreError | None
"""What became of a commit: None where it is on disk."""

MAX_GROUP = 512
"""Commits in one transaction: bounds how long the first of them waits for the last."""

_IDLE_SECONDS = 10.0
"""After so long without work the thread ends: a process that is done with its flows keeps none."""


class Sink(Protocol):
    """Is told, on the thread that wrote, what became of the commits it sent. Must not block or raise."""

    def settle(self, results: Sequence[tuple[Any, Verdict]]) -> None:
        """``results``: the item that was handed in with each commit, and its verdict."""
        ...


class _Queued(NamedTuple):
    commit: Commit
    sink: Sink
    item: Any


class _Waiter:
    """The sink of a blocking commit that had to queue.

    Its lock is an event for one thread, which waits once: ``threading.Event`` takes ten times as long.
    """

    __slots__ = ("_settled", "verdict")

    def __init__(self) -> None:
        self._settled = threading.Lock()
        self._settled.acquire()
        self.verdict: Verdict = None

    def settle(self, results: Sequence[tuple[Any, Verdict]]) -> None:
        self.verdict = results[0][1]
        self._settled.release()

    def wait(self) -> Verdict:
        self._settled.acquire()
        return self.verdict


class Committer:
    """Writes commits to a store, shared by all executions of the process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._writing = threading.Lock()
        self._queue: deque[_Queued] = deque()
        self._arrived = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def commit(self, commit: Commit) -> None:
        """Write one commit and return when it is on disk.

        Raises:
            Refusal: The store would not write it; see the mutations.
            KitaruStoreError: The store could not write.
        """
        if self._writing.acquire(blocking=False):
            try:
                group = self._take(len(self._queue))  # all of it, as nothing may be overtaken
                verdicts = self._write([*(queued.commit for queued in group), commit])
            finally:
                self._writing.release()
            verdict = verdicts[-1]
            _settle(group, verdicts[:-1])
        else:
            waiter = _Waiter()
            self.enqueue(commit, waiter, None)
            verdict = waiter.wait()
        if verdict is not None:
            raise verdict

    def enqueue(self, commit: Commit, sink: Sink, item: object) -> None:
        """Have a commit written soon; ``sink.settle`` gets ``item`` and the verdict."""
        self._queue.append(_Queued(commit, sink, item))
        if self._thread is None:
            self._start()
        if not self._arrived.is_set():
            self._arrived.set()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="kitaru-committer", daemon=True)
                self._thread.start()

    def _loop(self) -> None:
        while self._arrived.wait(_IDLE_SECONDS):
            self._arrived.clear()
            while self._queue:
                self._write_group()
        # In this order, against `enqueue`, which queues first and asks for the thread afterwards.
        self._thread = None
        if self._queue:
            self._start()

    def _write_group(self) -> None:
        with self._writing:
            group = self._take(MAX_GROUP)
            verdicts = self._write([queued.commit for queued in group]) if group else ()
        _settle(group, verdicts)

    def _take(self, most: int) -> list[_Queued]:
        """The next group, in order. Only under ``_writing``, which makes it the order of writing too."""
        group: list[_Queued] = []
        while self._queue and len(group) < most:
            group.append(self._queue.popleft())
        return group

    def _write(self, commits: Sequence[Commit]) -> Sequence[Verdict]:
        crash_point("before_commit")
        try:
            verdicts = self._store.commit(commits)
        except KitaruStoreError as error:
            return [error] * len(commits)
        except Exception as error:  # noqa: BLE001  # the committer's thread must not die: every flow would hang
            unexpected = KitaruStoreError(
                f"the store failed unexpectedly while it wrote: {error!r}. Please report this."
            )
            unexpected.__cause__ = error
            return [unexpected] * len(commits)
        crash_point("after_commit")
        return verdicts


def _settle(group: Sequence[_Queued], verdicts: Sequence[Verdict]) -> None:
    by_sink: defaultdict[Sink, list[tuple[Any, Verdict]]] = defaultdict(list)
    for (_, sink, item), verdict in zip(group, verdicts, strict=True):
        by_sink[sink].append((item, verdict))
    for sink, results in by_sink.items():
        sink.settle(results)
