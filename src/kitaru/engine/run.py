"""One execution in this process: the state that its body, its calls and the committer share.

Who owns what:

* the body's thread (in async flows the loop's thread): ``memo``, ``numbering``, ``overrides``, ``moved``,
  ``misses``, ``body_steps``
* any thread, each through one atomic operation: ``riding`` (a deque; only taken from under
  ``_order``), ``under_way`` (a dict), ``raised`` (a list that only grows)
* ``settling`` guards the outcomes of futures and what ``Submitted`` and ``Parking`` count
* ``outputs``: those that may hold something to be written; added and removed by atomic operations
* ``signal`` is set once, by whoever first learns that the body has to unwind, and only read after
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from kitaru.core.mutations import CallStarted, Commit, CopyRenamed, Fenced, HandledChanged, Mutation, Refusal
from kitaru.core.ports import Ask
from kitaru.core.replay import overrides_in
from kitaru.core.rows import CachedOutput, ExecutionRow, RecordedCall
from kitaru.core.states import CallStatus, Status
from kitaru.engine.call import Call
from kitaru.engine.committer import Sink, Verdict
from kitaru.engine.definitions import CheckpointDefinition
from kitaru.engine.identity import Numbering
from kitaru.engine.memo import Memo
from kitaru.engine.output import Output, taken
from kitaru.engine.overrides import Overrides
from kitaru.engine.parking import Parking
from kitaru.engine.shared import Shared
from kitaru.engine.signals import KitaruCancelled, LeaseLost, Signal, StoreLost
from kitaru.engine.submitted import Submitted
from kitaru.errors import FailureOrigin, KitaruContextError, KitaruStoreError, KitaruUsageError

if TYPE_CHECKING:
    import asyncio

MOST_HINTS = 64
"""Started calls that one flush shows: of a fan-out of thousands a watcher needs no more."""


class Raised(NamedTuple):
    """An exception that a call of this run has raised, and when: after how many steps of the body."""

    error: BaseException
    call_id: str
    origin: FailureOrigin
    task: asyncio.Task[Any] | None
    body_steps: int


class _NeedingTheStore:
    """See ``Run.needing_the_store``. A ``contextmanager`` would cost each call 1 us more."""

    __slots__ = ("_run",)

    def __init__(self, run: Run) -> None:
        self._run = run

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, KitaruStoreError):
            self._run.stop(StoreLost(error))
            assert self._run.signal is not None
            raise self._run.signal from None


class Run:
    """One pass through a flow's body under one epoch. A retry of the body is the next ``Run``."""

    is_dry = False

    def __init__(
        self, shared: Shared, row: ExecutionRow, memo: Memo, lease_holds: Callable[[], bool], is_async: bool
    ) -> None:
        self.run = self  # a scope has a run: the body's is itself
        self.shared = shared
        self.store = shared.store
        self.values = shared.values
        self.clock = shared.clock
        self.ids = shared.ids
        self.execution_id = row.execution_id
        self.call_id = ""  # as the other scopes have one
        self.attempt = row.attempt
        self.row = row
        self.is_replay = row.replay is not None
        self.cache = row.cache and not self.is_replay  # what a replay runs again must really run (S6.5)
        self.is_async = is_async
        self.memo = memo
        self.overrides = Overrides(overrides_in(row.replay), memo)
        taken_ids = (*memo.call_ids(), *self.overrides.call_ids())
        self.numbering = Numbering(taken_ids, memo.offered, self._rename if self.is_replay else None)
        self.moved: list[tuple[str, int]] = []
        self.misses: list[Call] = []
        self.resumed = len(memo) > 0
        self.began = self.clock.now()
        self.signal: Signal | None = None
        self._leaving: Signal | None = None  # set once, by the runner
        self.stopping = threading.Event()
        self.settling = threading.Lock()
        self.ended = False  # the body has ended: it can make no more calls
        self.failed = False  # ... with an exception: calls that have not begun are dropped (S2.5)
        self.body_task: asyncio.Task[Any] | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        self.loop_sink: Any = None  # made by engine.loop, which this module must not import
        self.raised: list[Raised] = []
        self.unasked: set[str] = set()  # failures of submitted calls that the body has not asked for
        self.limits: tuple[str, ...] = ()  # under which the execution itself holds a place
        self.body_steps = 0  # calls that the body's own task has made
        self.riding: deque[Mutation] = deque()
        self.under_way: dict[str, Call] = {}
        self.output: Output | None = None
        self.outputs: set[Output] = set()
        self.has_isolated = False  # its signal kills children; set by engine.isolation
        self._flushed: set[str] = set()
        self.settled = threading.Condition(self.settling)
        self._order = threading.Lock()
        self.submitted = Submitted(self)
        # An async body is no worker of its own: all that it does, it does in calls.
        self.parking = Parking(self, busy=0 if is_async else 1)
        self._thread = 0
        self._lease_holds = lease_holds
        self._references: dict[str, str] = {}
        self._code_digests: dict[Callable[..., Any], str] = {}
        self._on_signal: list[Callable[[], None]] = []

    # ── the body's thread ────────────────────────────────────────────────────────────────────────

    def enter(self) -> None:
        """Say that the calling thread is the body's."""
        self._thread = threading.get_ident()

    def on_its_thread(self) -> bool:
        """True on the thread of the body."""
        return threading.get_ident() == self._thread

    def check_open(self, what: str) -> None:
        """Raise ``KitaruContextError`` where the body has ended: nothing that comes now could be recorded.

        Asked before the thread is compared, as a later thread may get the id of the body's.
        """
        if self.ended:
            raise KitaruContextError(
                f"{what} is called after the body of execution {self.execution_id} has ended. "
                "Await the tasks and join the threads that a body starts before it returns."
            )

    def check_signal(self) -> None:
        """Raise the signal, if the body has to unwind; a lease that has run out is one (S6.2)."""
        self.check_owned()
        if self._leaving is not None and not self.under_way:
            self.stop(self._leaving)
            assert self.signal is not None
            raise self.signal
        self.check_lease()

    def check_lease(self) -> None:
        """Raise the signal, if the lease of this process has run out. Asked on any thread, before each attempt."""
        if not self._lease_holds():
            self.stop(LeaseLost("the lease of this process has run out"))
            assert self.signal is not None
            raise self.signal

    def check_owned(self) -> None:
        """Raise the signal, if the end of the body cannot be recorded by this run."""
        if self.signal is None and self.parking.engaged and not self.parking.reclaim():
            self.stop(LeaseLost(f"execution {self.execution_id} has been taken over"))
        if self.signal is not None:
            raise self.signal

    def check_name(self, name: str, reference: str) -> None:
        """Refuse a second function under one name: its records would be taken for the first one's."""
        known = self._references.setdefault(name, reference)
        if known != reference:
            raise KitaruUsageError(
                f"execution {self.execution_id} calls two functions named {name!r}: {known} and {reference}. "
                "Give one of them a name of its own: @checkpoint(name=...)."
            )

    def code_digest(self, definition: CheckpointDefinition) -> str:
        """The code digest of a checkpoint, taken once per run so that edited code is seen by the next.

        By function and not by name: one line of code makes many functions, each with a closure of its own.
        """
        digest = self._code_digests.get(definition.fn)
        if digest is None:
            digest = self._code_digests[definition.fn] = self.shared.code_digest(definition.fn)
        return digest

    def reused(self, recorded: RecordedCall, position: int) -> None:
        """A record stands for the body's call at this position, from now on."""
        if recorded.position != position:
            self.moved.append((recorded.call_id, position))

    def _rename(self, call_id: str, other: str) -> None:
        self.memo.rename(call_id, other)
        self.riding.append(CopyRenamed(call_id, other))

    def side_task(self) -> asyncio.Task[Any] | None:
        """The task that is running, where it is one that the body has started beside itself."""
        if self.body_task is None or not self.on_its_thread():
            return None
        import asyncio  # noqa: PLC0415  # here, because only async flows need it and it takes 30 ms to import

        task = asyncio.current_task()
        return None if task is self.body_task else task

    def step(self) -> None:
        """A call is made. One that the body itself makes is a step: what happened before it was seen by the body."""
        if self.is_async and self.side_task() is None:
            self.body_steps += 1

    def saw_failure(self, error: BaseException, call_id: str) -> None:
        """The body has been given a submitted call's failure: from now on it is handled (S3.2)."""
        self.riding.append(HandledChanged((call_id,), True))
        self.unasked.discard(call_id)
        task = self.side_task()
        if task is not None:  # which may drop it again
            origin = next((raised.origin for raised in self.raised if raised.error is error), FailureOrigin.USER_CODE)
            self.remember(error, call_id, origin, task)

    def remember(
        self, error: BaseException, call_id: str, origin: FailureOrigin, task: asyncio.Task[Any] | None = None
    ) -> None:
        """Keep which call an exception came from, so that the end of the body can tell.

        ``task`` is the task it was raised in, where that is not the body's own.
        """
        self.raised.append(Raised(error, call_id, origin, task, self.body_steps))

    # ── stopping ─────────────────────────────────────────────────────────────────────────────────

    def stop(self, signal: Signal) -> None:
        """Have the body unwind. The first signal counts."""
        with self.settling:
            listeners = self.set_signal(signal)
        for listener in listeners:
            listener()

    def set_signal(self, signal: Signal) -> list[Callable[[], None]]:
        """As ``stop``, for a caller that holds ``settling``; it calls the listeners once it has let go."""
        if self.signal is None:
            self.signal = signal
        self.stopping.set()
        self.settled.notify_all()
        self.shared.line.hint()
        listeners, self._on_signal = self._on_signal, []
        return listeners

    def leave(self, signal: Signal) -> None:
        """Have the body unwind while what it has under way still ends and is recorded. To be asked until it has.

        Calls on threads do that anyway. The calls of an async body would be cancelled with it, so it
        unwinds at a moment when nothing is under way: now, at its next call, or when it is asked again.
        """
        self._leaving = signal
        if not self.is_async or not self.under_way:
            self.stop(signal)

    def drop_pauses(self) -> None:
        """The body has failed: no pause between attempts and no place under a limit is waited for."""
        self.stopping.set()
        self.shared.line.hint()
        with self.settling:
            self.settled.notify_all()

    def on_signal(self, listener: Callable[[], None]) -> None:
        """Call ``listener``, on any thread, once the body has to unwind."""
        with self.settling:
            if self.signal is None:
                self._on_signal.append(listener)
                return
        listener()

    def needing_the_store(self) -> _NeedingTheStore:
        """Around what Kitaru itself stores or reads for the body and its calls.

        Where the store fails the body unwinds: its ``except Exception`` must not take that for a failure
        of the call and go another way, which could not be recorded either.
        """
        return _NeedingTheStore(self)

    def look_up(self, cache_key: str) -> CachedOutput | None:
        """Ask the cross-run cache (S3.5)."""
        with self.needing_the_store():
            return self.store.calls.cached(cache_key, apart_from=self.execution_id)

    def signal_for(self, verdict: Verdict) -> Signal:
        """What the body gets when a commit was not written."""
        if not isinstance(verdict, Fenced):
            return StoreLost(verdict if isinstance(verdict, KitaruStoreError) else KitaruStoreError(str(verdict)))
        if verdict.status is Status.CANCELLED:
            return KitaruCancelled(f"execution {self.execution_id} was cancelled")
        return LeaseLost(str(verdict))

    # ── writing ──────────────────────────────────────────────────────────────────────────────────

    def _commit_of(self, mutations: Sequence[Mutation]) -> Commit:
        """A commit of this execution, with what was waiting for a ride."""
        if self.output is not None:
            self.riding.extend(taken([self.output], last=False))
        if self.riding:
            riding: list[Mutation] = []
            while self.riding:
                riding.append(self.riding.popleft())
            mutations = (*riding, *mutations)
        return Commit(self.execution_id, self.row.epoch, mutations)

    def enqueue(self, mutations: Sequence[Mutation], sink: Sink, item: object) -> None:
        """Have a commit of this execution written soon."""
        # What waited for a ride must be written before anything that the body does next. So it leaves
        # `riding` and enters the committer's order in one step.
        with self._order:
            self.shared.committer.enqueue(self._commit_of(mutations), sink, item)

    def write(self, mutations: Sequence[Mutation]) -> None:
        """Commit, and return when it is on disk. Raises the signal where it was not written."""
        try:
            with self._order:
                commit = self._commit_of(mutations)
            self.shared.committer.commit(commit)
        except (Refusal, KitaruStoreError) as refused:
            self.stop(self.signal_for(refused))
            assert self.signal is not None
            raise self.signal from None

    def instead_of(self, call: Call, *, was_recorded: bool) -> tuple[Any, BaseException | None] | None:  # noqa: ARG002
        """The value or error that the body gets instead of running a call: only where it is a ``DryRun``."""
        return None

    def started(self, call: Call) -> None:
        """A call is under way: a hint, written only if it lasts."""
        self.under_way[call.call_id] = call

    def give_back(self, call: Call) -> None:
        """A call ends with nothing to record: what it holds or waits for under limits is free."""
        if call.definition.limits:
            self.shared.line.leave(Ask(self.execution_id, call.call_id, self.row.epoch, 0, call.definition.limits))

    @property
    def closed(self) -> bool:
        """True where nothing that the body says is kept any more."""
        return self.ended

    def flush_hints(self, older_than: int) -> None:
        """Show what was printed, and calls started before ``older_than``. Called by the process's timer."""
        if self.parking.engaged:  # nothing works, and a suspended execution takes no hints
            return
        talking = {output.call_id for output in list(self.outputs)}
        slow = [
            call
            for call in list(self.under_way.values())
            if (call.started_at < older_than or call.call_id in talking) and call.call_id not in self._flushed
        ][:MOST_HINTS]
        if not slow and not self.outputs:
            return
        self._flushed.update(call.call_id for call in slow)
        hints: list[Mutation] = [CallStarted(call.row(CallStatus.RUNNING, call.ended_attempts)) for call in slow]
        with self._order:  # in one step, so that what an ending attempt has left comes behind
            hints += taken(list(self.outputs), last=False)
            if hints:
                self.shared.committer.enqueue(
                    Commit(self.execution_id, self.row.epoch, hints, hint=True), self.submitted, None
                )

    def close_outputs(self) -> None:
        """Have what is left of the output written with the commit that ends this run."""
        self.riding.extend(taken(list(self.outputs), last=True))
