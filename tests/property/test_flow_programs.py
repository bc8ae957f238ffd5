"""Any small program gives the same as a durable flow as in plain Python, however often it is killed (S3).

A kill is a store that takes no more commits: what the process still does cannot be recorded. The next life
is a new runner on the same store. ``HYPOTHESIS_PROFILE=thorough`` tries ten times as many programs.
"""

from __future__ import annotations

import os
import random
import uuid
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from kitaru import FlowHandle, KitaruClient, KitaruExecutionError
from kitaru.core.execution import Execution
from kitaru.core.ids import SystemIds
from kitaru.core.ports import ExecutionFilter, Store
from kitaru.core.states import CallKind, CallStatus, Status
from kitaru.engine.identity import Identity, idempotency_key
from kitaru.errors import FailureOrigin, KitaruStoreError
from kitaru.services.settings import read_settings
from kitaru.services.wiring import Wiring, install, reset, wiring
from kitaru.testing import memory_store
from tests.faults.stores import FailingStore
from tests.property.flow_programs import (
    FOR_GOOD,
    Drawn,
    Plain,
    Program,
    World,
    async_program,
    interpret,
    new_world,
    sync_program,
)

EXECUTION_ID = "program"
FLOWS = {"sync": sync_program, "async": async_program}
EXAMPLES = 600 if os.environ.get("HYPOTHESIS_PROFILE") == "thorough" else 60
PATIENCE = 10
MOST_RETRIES = 100

# ── programs ─────────────────────────────────────────────────────────────────────────────────────

NUMBERS = st.integers(0, 3)
INPUTS = st.lists(st.tuples(NUMBERS).map(list), min_size=1, max_size=4)
REFUSAL: st.SearchStrategy[list[Any]] = st.tuples(st.just("call"), st.just("refuse"), NUMBERS).map(list)

SIMPLE: st.SearchStrategy[list[Any]] = st.one_of(
    st.tuples(st.just("call"), st.just("step"), NUMBERS),
    st.tuples(st.just("chain")),
    st.tuples(st.just("call"), st.just("retried"), NUMBERS, st.integers(1, 2)),
    st.tuples(st.just("call"), st.just("unsteady"), NUMBERS, st.integers(1, 2)),
    st.tuples(st.just("try"), NUMBERS),
    st.tuples(st.just("all"), st.just("step"), INPUTS),
    st.tuples(
        st.just("all"), st.just("unsteady"), st.lists(st.tuples(NUMBERS, st.just(1)).map(list), min_size=1, max_size=3)
    ),
    st.tuples(st.just("outcomes"), st.just("odd_refused"), INPUTS),
    st.tuples(st.just("draw"), st.sampled_from(["now", "uuid4", "random"])),
    st.tuples(st.just("log"), NUMBERS),
).map(list)


def _nest(steps: st.SearchStrategy[list[Any]]) -> st.SearchStrategy[list[Any]]:
    block = st.lists(steps, min_size=1, max_size=3)
    return st.one_of(
        st.tuples(st.just("loop"), st.integers(1, 2), block),
        st.tuples(st.just("branch"), block, block),
        st.tuples(st.just("coin"), block, block),
        st.tuples(st.just("child"), block),
        st.tuples(st.just("try_child"), st.tuples(block, REFUSAL).map(lambda parts: [*parts[0], parts[1]])),
    ).map(list)


STEPS = st.recursive(SIMPLE, _nest, max_leaves=6)
PROGRAMS: st.SearchStrategy[Program] = st.tuples(
    st.lists(STEPS, min_size=1, max_size=5), st.lists(REFUSAL, max_size=1), st.booleans()
).map(lambda parts: [*parts[0], *(parts[1] if parts[2] else [])])


class Lives(NamedTuple):
    """After how many commits each life ends, and how the next one goes on: by ``run`` or ``resume``."""

    commits: list[int]
    again: list[str]


LIVES = st.lists(st.tuples(st.integers(0, 12), st.sampled_from(["run", "resume"])), max_size=4).map(
    lambda lives: Lives([commits for commits, _ in lives], [again for _, again in lives])
)

# ── running them ─────────────────────────────────────────────────────────────────────────────────


class LifeIds(SystemIds):
    """Chance that differs from life to life: what was drawn and not recorded is seen to be drawn anew."""

    def __init__(self, life: int) -> None:
        self._random = random.Random(life)

    def random(self) -> float:
        return self._random.random()

    def uuid4(self) -> uuid.UUID:
        return uuid.UUID(int=self._random.getrandbits(128), version=4)


class Recorded(NamedTuple):
    """What one life has left: successes with their call ids, and the keys of failures that were seen."""

    successes: Mapping[tuple[str, str, str, int], tuple[str, str | None]]
    succeeded: frozenset[str]
    handled: frozenset[str]


def _live(store: Store, kind: str, program: Program, again: str) -> None:
    """Go on with the program until it is finished, or this life has ended."""
    try:
        for _ in range(MOST_RETRIES):
            try:
                _go_on(store, kind, program, again).wait(PATIENCE)
            except KitaruExecutionError as error:
                if error.failure_origin is not FailureOrigin.STORE and not isinstance(error.__cause__, FOR_GOOD):
                    continue  # a failure that passes away: retry
            return
        raise AssertionError(f"{program} needs more than {MOST_RETRIES} retries")
    except KitaruStoreError:
        return
    finally:
        for active in list(wiring().runner._active.values()):
            assert active.done.wait(PATIENCE)


def _go_on(store: Store, kind: str, program: Program, again: str) -> FlowHandle[list[Any]]:
    status = store.executions.status(EXECUTION_ID)
    executions = KitaruClient().executions
    if status is Status.FAILED:
        return executions.retry(EXECUTION_ID)
    if status in (Status.RUNNING, Status.PENDING) and again == "resume":
        return executions.resume(EXECUTION_ID)
    return FLOWS[kind].run(program, execution_id=EXECUTION_ID, retries=2)


def _recorded(store: Store) -> Recorded:
    successes: dict[tuple[str, str, str, int], tuple[str, str | None]] = {}
    succeeded: set[str] = set()
    handled: set[str] = set()
    for row in store.executions.list(ExecutionFilter(), limit=1000, after=None):
        for record in store.calls.memo(row.execution_id):
            identity = Identity(record.name, record.input_digest, record.occurrence)
            if record.status is CallStatus.COMPLETED:
                successes[row.execution_id, *identity] = (record.call_id, record.output)
                succeeded.add(idempotency_key(row.execution_id, identity))
            elif record.handled:
                handled.add(idempotency_key(row.execution_id, identity))
    return Recorded(successes, frozenset(succeeded), frozenset(handled))


def _drawn(store: Store, execution_id: str) -> Drawn:
    """What an execution and its children have recorded of time and chance."""
    values: dict[str, deque[Any]] = {"now": deque(), "uuid4": deque(), "random": deque()}
    children: deque[Drawn] = deque()
    for row in store.calls.of(execution_id):
        if row.kind is CallKind.VALUE:
            assert row.output is not None
            values[row.name.removeprefix("kitaru.")].append(wiring().values.decode(row.output))
        elif row.kind is CallKind.FLOW:
            assert row.child_id is not None
            children.append(_drawn(store, row.child_id))
    return Drawn(values, children)


# ── what must hold ───────────────────────────────────────────────────────────────────────────────


def _check_outcome(store: Store, program: Program) -> Counter[tuple[Any, ...]]:
    """The same result, or the same failure, as in plain Python; the calls that plain Python makes."""
    plain = Plain(_drawn(store, EXECUTION_ID), Counter())
    expected = _in_plain_python(program, plain)
    end: Execution = KitaruClient().executions.get(EXECUTION_ID)
    if isinstance(expected, Exception):
        assert end.status is Status.FAILED
        assert end.failure is not None
        assert end.failure.type.rpartition(":")[2] == type(expected).__name__
        assert end.failure.message == str(expected)
    else:
        assert end.status is Status.COMPLETED
        assert end.result == expected
    assert end.metadata.get("seen") == plain.logged
    return plain.calls


def _in_plain_python(program: Program, plain: Plain) -> list[Any] | Exception:
    try:
        return interpret(program, plain)
    except FOR_GOOD as error:
        return error


def _check_effects(world: World, calls: Counter[tuple[Any, ...]], end: Recorded, kills: int) -> None:
    successes: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    call_of: dict[str, tuple[Any, ...]] = {}
    for entry in world.entries:
        call_of[entry.key] = entry.call
        (successes if entry.succeeded else failures)[entry.key] += 1
    assert Counter(call_of.values()) == calls  # each call of the model, and no other
    for key, call in call_of.items():
        name, first, *rest = call
        assert successes[key] <= 1 + kills
        if name == "refuse" or (name == "odd_refused" and first % 2):
            assert successes[key] == 0
            if key in end.handled:
                assert 1 <= failures[key] <= 1 + kills
        else:
            assert successes[key] >= 1
            assert failures[key] == (rest[0] if rest else 0)


def _check_reuse(world: World, recorded: list[Recorded]) -> None:
    """S3.2, S3.6: what a life had recorded, no later one did again, and it kept its call id."""
    end = recorded[-1]
    for life, before in enumerate(recorded):
        assert before.successes.items() <= end.successes.items()
        final = before.succeeded | (before.handled & end.handled)
        assert [entry for entry in world.entries if entry.life > life and entry.key in final] == []


def _check_program(kind: str, program: Program, lives: Lives) -> None:
    world = new_world()
    store = memory_store()
    recorded: list[Recorded] = []
    try:
        for life, limit in enumerate([*lives.commits, None]):
            world.life = life
            failing = FailingStore(store, lambda number, limit=limit: limit is not None and number > limit)
            install(Wiring(read_settings({}), store=failing, ids=LifeIds(life)))
            _live(store, kind, program, lives.again[life - 1] if life else "run")
            recorded.append(_recorded(store))
        rows = store.executions.list(ExecutionFilter(), limit=1000, after=None)
        assert all(row.status.finished for row in rows)
        calls = _check_outcome(store, program)
        _check_effects(world, calls, recorded[-1], len(lives.commits))
        _check_reuse(world, recorded)
        event(f"{len(rows)} executions")
    finally:
        reset()
        store.close()


def _examples(part: float) -> Any:
    return settings(
        max_examples=int(EXAMPLES * part),
        # The home is per test and not per example; each example has a store of its own in memory.
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@pytest.mark.parametrize("kind", FLOWS)
@_examples(1)
@given(program=PROGRAMS)
def test_s3_2_a_flow_gives_what_plain_python_gives_and_does_each_call_once(kind: str, program: Program) -> None:
    _check_program(kind, program, Lives([], []))


@pytest.mark.parametrize("kind", FLOWS)
@_examples(3)
@given(program=PROGRAMS, lives=LIVES)
def test_s3_2_a_flow_that_is_killed_and_resumed_gives_the_same(kind: str, program: Program, lives: Lives) -> None:
    _check_program(kind, program, lives)
