"""Kills a flow at each of its commits and lets it go on, to show that it does nothing twice.

A kill is a store that takes no more commits: what the process still does cannot be recorded, and the next
life, a new runner on the same store, knows only what was. A child process that really dies was rejected:
it needs a flow in a module of its own and a fifth of a second per kill, and shows no more of the *flow*.
Kitaru's own tests kill processes.
"""

from __future__ import annotations

import tempfile
import threading
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence, Set
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from kitaru.client.handle import FlowHandle
from kitaru.core.clock import Microseconds
from kitaru.core.mutations import CallRecorded, Commit, Refusal
from kitaru.core.ports import ExecutionFilter, Store
from kitaru.core.states import CallKind, CallStatus, Status
from kitaru.engine.call import CallScope
from kitaru.engine.context import current
from kitaru.errors import KitaruExecutionError, KitaruStoreError, KitaruUsageError
from kitaru.sdk.flow import Flow
from kitaru.services.wiring import wiring
from kitaru.testing.answers import Answers, answer_waits
from kitaru.testing.clock import SkippingClock
from kitaru.testing.fresh import install_store, leave
from kitaru.testing.memory import memory_store

R = TypeVar("R")

_EXECUTION_ID = "crash-everywhere"
_LOOK_SECONDS = 0.02
_MOST_KILLS = 10_000

_CallKey = tuple[str, str]
"""The ids of an execution and of a call in it."""


class Effect(NamedTuple):
    """Something that a flow did to the world. ``call`` is None where its body did it."""

    call: _CallKey | None
    what: Hashable


class Effects:
    """What a flow does to the world, told by the flow: ``effects.add(("mail", to))`` where it sends a mail.

    Entries are added from any thread, to the life of the process that is going on.
    """

    def __init__(self) -> None:
        self.lives: list[list[Effect]] = [[]]

    def add(self, what: Hashable) -> None:
        """Something was done, by the checkpoint that runs right now."""
        scope = current.get()
        call = (scope.run.execution_id, scope.call_id) if isinstance(scope, CallScope) else None
        self.lives[-1].append(Effect(call, what))

    def counts(self) -> Counter[Hashable]:
        """How often each thing was done in the last run, over all its lives."""
        return Counter(effect.what for life in self.lives for effect in life)


def crash_everywhere(
    flow: Flow[..., R],
    inputs: Mapping[str, Any],
    *,
    effects: Effects | None = None,
    answers: Answers | None = None,
    timeout: float = 30.0,
) -> int:
    """Run a flow once in peace, then killed right before and right after each of its commits; resume, and compare.

    Each run has a new store in memory and a ``SkippingClock``. The flow has to give the same each time: a
    result with a time or a random number in it is never the same.

    Args:
        flow: The flow.
        inputs: Its arguments, by name.
        effects: What the flow told of its effects. It is emptied first. With it, no call that was recorded
            when the process died may have had an effect afterwards, and each effect of the run in peace
            has to be there, and no other.
        answers: Answers of the flow's waits, as in ``answer_waits``.
        timeout: Seconds of the machine for one run.

    Returns:
        The number of kills.

    Raises:
        AssertionError: A run that was killed and resumed had another result, or did something twice.
        KitaruExecutionError: The flow fails.
        TimeoutError: A run was not finished in time: most likely a wait has no answer.
    """
    if not isinstance(flow, Flow):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without a type checker
        raise KitaruUsageError(f"crash_everywhere({flow!r}): a @flow is expected.")
    case = _Case(flow, inputs, effects or Effects(), answers or {}, timeout)
    peaceful = case.run(None)
    for kill in range(_MOST_KILLS):
        commit, written = kill // 2 + 1, kill % 2 == 1
        run = case.run(commit, written=written)
        if not run.died:
            return kill
        _compare(run, peaceful, f"killed {'after' if written else 'before'} commit {commit}")
    raise AssertionError(f"the flow makes more than {_MOST_KILLS // 2} commits: try it with smaller inputs.")


class _Run(NamedTuple):
    """One run: its result, whether it was killed, what was recorded then, and what was recorded after that."""

    result: Any
    died: bool
    lives: Sequence[Sequence[Effect]]
    recorded: frozenset[_CallKey]
    recorded_later: frozenset[_CallKey]


class _Case(NamedTuple):
    """What is run again and again."""

    flow: Flow[..., Any]
    inputs: Mapping[str, Any]
    effects: Effects
    answers: Answers
    timeout: float

    def run(self, last: int | None, *, written: bool = False) -> _Run:
        """One run, killed at the commit of this number, from 1; None for the one that lives in peace."""
        clock = SkippingClock()
        store = memory_store(clock)
        self.effects.lives[:] = [[]]
        with tempfile.TemporaryDirectory(prefix="kitaru-") as artifacts:
            try:
                mortal = _MortalStore(store, last, written=written)
                process = install_store(mortal, clock, artifacts)
                result = self._first_life(mortal)
                leave()
                process.runner.drain()  # what it still does, it does before the next life
                recorded = _successes(store)
                second = _MortalStore(store, None, written=False)
                if mortal.dead.is_set():
                    self.effects.lives.append([])
                    install_store(second, clock, artifacts)
                    with answer_waits(self.answers):
                        for at in _timers(store):  # the life that set them could not tell the clock any more
                            clock.idle_until(at)
                        result = self._wait(self._start(), second)
                lives = tuple(map(tuple, self.effects.lives))
                return _Run(result, mortal.dead.is_set(), lives, recorded, frozenset(second.recorded))
            finally:
                leave()
                store.close()

    def _start(self) -> FlowHandle[Any]:
        return self.flow.run(**self.inputs, execution_id=_EXECUTION_ID)

    def _first_life(self, store: _MortalStore) -> Any:
        try:
            with answer_waits(self.answers):
                return self._wait(self._start(), store)
        except (KitaruStoreError, KitaruExecutionError):
            if not store.dead.is_set():
                raise
        return None

    def _wait(self, handle: FlowHandle[Any], store: _MortalStore) -> Any:
        """The result, or None where the process dies first: nobody would wake up an execution that is parked."""
        process = wiring()
        deadline = process.clock.monotonic() + self.timeout
        while not store.dead.is_set():
            with suppress(TimeoutError):
                return handle.wait(_LOOK_SECONDS)
            with suppress(KitaruStoreError):  # it has just died
                process.runner.sweep()  # a flow that its child has woken; the long lease makes the sweeps rare
            if process.clock.monotonic() > deadline:
                names = {wait.name for _, wait in store.waits.open(flow=None, since=0, limit=5)}
                open_ = "".join(
                    f" Its wait {name!r} is open: give answers={{{name!r}: ...}}." for name in sorted(names)
                )
                raise TimeoutError(f"flow {self.flow.name} was not finished within {self.timeout:g} s.{open_}")
        return None


class _MortalStore:
    """A store that dies at a commit, and takes no other. ``close`` leaves the real one open for the next life.

    Args:
        store: The real one.
        last: The number of the commit, from 1; None lives on.
        written: That commit is written, and only its answer is lost: the process dies right after it.
    """

    def __init__(self, store: Store, last: int | None, *, written: bool) -> None:
        self.executions = store.executions
        self.calls = store.calls
        self.artifacts = store.artifacts
        self.waits = store.waits
        self.events = store.events
        self.logs = store.logs
        self.statistics = store.statistics
        self.retention = store.retention
        self.runners = store.runners
        self.limits = store.limits
        self.stacks = store.stacks
        self.deployments = store.deployments
        self.secrets = store.secrets
        self.changes = store.changes
        self.now = store.now
        self.dead = threading.Event()
        self.recorded: set[_CallKey] = set()  # calls whose outcome was to be written, here or in vain
        self._store = store
        self._last = last
        self._written = written
        self._number = 0  # only changed inside of `commit`, which the committer calls one at a time

    def commit(self, commits: Sequence[Commit]) -> Sequence[Refusal | None]:
        for commit in commits:
            recorded = (one.row.call_id for one in commit.mutations if isinstance(one, CallRecorded))
            self.recorded.update((commit.execution_id, call_id) for call_id in recorded)
        self._number += 1
        if self._last is None or self._number < self._last:
            return self._store.commit(commits)
        if self._number == self._last and self._written:
            self._store.commit(commits)
        self.dead.set()
        raise KitaruStoreError("crash_everywhere has killed this process here.")

    def close(self) -> None:
        pass


def _successes(store: Store) -> frozenset[_CallKey]:
    return frozenset(
        (row.execution_id, call.call_id)
        for row in store.executions.list(ExecutionFilter(), limit=1000, after=None)
        for call in store.calls.of(row.execution_id)
        if call.status is CallStatus.COMPLETED and call.kind is not CallKind.FLOW
    )


def _timers(store: Store) -> list[Microseconds]:
    """When each waiting execution is to go on by itself."""
    waiting = store.executions.list(ExecutionFilter(statuses=(Status.WAITING,)), limit=1000, after=None)
    timers = ([call.due_at for call in store.calls.of(row.execution_id) if call.due_at] for row in waiting)
    return [min(due) for due in timers if due]


def _compare(run: _Run, peaceful: _Run, when: str) -> None:
    assert run.result == peaceful.result, f"{when}, the flow gave {run.result!r} and not {peaceful.result!r}."
    twice = run.recorded & run.recorded_later
    assert not twice, f"{when}, the flow made calls again that were recorded: {_listed(twice)}."
    for effect in run.lives[-1]:
        assert effect.call not in run.recorded, (
            f"{when}, the flow did {effect.what!r} again, although its call {effect.call} was recorded."
        )
    done, expected = ({effect.what for life in one.lives for effect in life} for one in (run, peaceful))
    assert done == expected, (
        f"{when}, the flow did {_listed(done - expected)} as well, and did not do {_listed(expected - done)}."
    )


def _listed(effects: Set[Hashable]) -> str:
    return ", ".join(sorted(map(repr, effects))) or "nothing"
