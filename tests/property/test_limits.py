"""Random calls, executions and deaths under limits: the places that count are never more than the limit allows."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from kitaru.core.mutations import Claimed, Commit, ExecutionCreated, SlotsFreed, StatusChanged
from kitaru.core.ports import Ask
from kitaru.core.rows import LimitRow
from kitaru.core.states import Status
from kitaru.testing import memory_store
from tests.contract.stores import START, ManualClock, execution, runner

AT_ONCE = {"one": 1, "three": 3, "rate": None}
PER_MINUTE = 4
LEASE = 30

limits = strategies.sampled_from([("one",), ("three",), ("rate",), ("one", "three"), ("three", "rate")])
numbers = strategies.integers(0, 3)


class Limits(RuleBasedStateMachine):
    """Runners 0 to 3, each with one execution that it runs under an epoch of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.store = memory_store(self.clock)
        for name, at_once in AT_ONCE.items():
            rate = PER_MINUTE if name == "rate" else None
            self.store.limits.set(LimitRow(name, at_once, rate, declared=False))
        self.epochs = [0] * 4
        self.calls = 0
        self.waiting: list[Ask] = []
        self.held: list[Ask] = []
        self.taken_at: defaultdict[str, list[int]] = defaultdict(list)
        for number in range(4):
            self._live(number)
            self.store.commit([Commit(f"e{number}", None, [ExecutionCreated(execution(f"e{number}"))])])
            self._claim(number, Status.PENDING)

    def teardown(self) -> None:
        self.store.close()

    def _live(self, number: int) -> None:
        self.store.runners.register(runner(f"r{number}"), lease_seconds=LEASE)

    def _claim(self, number: int, before: Status) -> None:
        claimed = Claimed(f"r{number}", before, self.epochs[number], 1)
        assert self.store.commit([Commit(f"e{number}", None, [claimed])]) == [None]
        self.epochs[number] += 1

    def _drop(self, execution_id: str) -> None:
        self.waiting = [ask for ask in self.waiting if ask.execution_id != execution_id]
        self.held = [ask for ask in self.held if ask.execution_id != execution_id]

    def _note(self, taken: tuple[Ask, ...]) -> None:
        for ask in taken:
            if ask in self.waiting:
                self.waiting.remove(ask)
            self.held.append(ask)
            for name in ask.limits:
                self.taken_at[name].append(self.clock.now())

    @rule(number=numbers, names=limits, priority=strategies.integers(-1, 1))
    def joins(self, number: int, names: tuple[str, ...], priority: int) -> None:
        self.calls += 1
        self.clock.pass_(0.000001)  # no two come at the same time
        ask = Ask(f"e{number}", f"c{self.calls}", self.epochs[number], priority, names)
        self.waiting.append(ask)
        self._note(self.store.limits.take((), joining=[ask]).taken)

    @rule(number=numbers)
    def looks(self, number: int) -> None:
        mine = [ask for ask in self.waiting if ask.execution_id == f"e{number}"]
        self._note(self.store.limits.take(mine, joining=()).taken)

    @rule(data=strategies.data())
    def ends(self, data: strategies.DataObject) -> None:
        if self.held:
            ask = data.draw(strategies.sampled_from(self.held))
            freed = SlotsFreed(ask.call_id, ask.limits)
            assert self.store.commit([Commit(ask.execution_id, ask.epoch, [freed])]) == [None]
            self.held.remove(ask)

    @rule(data=strategies.data())
    def gives_up(self, data: strategies.DataObject) -> None:
        if self.waiting:
            ask = data.draw(strategies.sampled_from(self.waiting))
            self.store.limits.leave([ask])
            self.waiting.remove(ask)

    @rule(number=numbers)
    def dies_and_is_taken_over(self, number: int) -> None:
        self.store.runners.retire(f"r{number}")
        self._drop(f"e{number}")
        self._live(number)
        self._claim(number, Status.RUNNING)

    @rule(number=numbers)
    def is_handed_back_and_goes_on(self, number: int) -> None:
        back = StatusChanged(Status.PENDING, START)
        assert self.store.commit([Commit(f"e{number}", self.epochs[number], [back])]) == [None]
        self._drop(f"e{number}")
        self._claim(number, Status.PENDING)

    @rule(number=numbers)
    def a_late_word_of_an_older_epoch_changes_nothing(self, number: int) -> None:
        if self.epochs[number] > 1:
            for ask in self.held + self.waiting:
                if ask.execution_id == f"e{number}":
                    self.store.limits.leave([ask._replace(epoch=ask.epoch - 1)])

    @rule(seconds=strategies.integers(1, 40))
    def time_passes(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.pass_(1)
            for number in range(4):
                assert self.store.runners.heartbeat(f"r{number}", lease_seconds=LEASE)

    @rule()
    def sweeps(self) -> None:
        self.store.limits.sweep()

    @invariant()
    def the_store_counts_what_is_held_and_no_more_than_allowed(self) -> None:
        for name, at_once in AT_ONCE.items():
            slots = self.store.limits.slots(limit=name)
            for rows, asks in (
                ([row for row in slots if row.taken_at is not None], self.held),
                ([row for row in slots if row.taken_at is None], self.waiting),
            ):
                assert sorted(row.call_id for row in rows) == sorted(a.call_id for a in asks if name in a.limits)
            held = [row for row in slots if row.taken_at is not None]
            assert at_once is None or len(held) <= at_once

    @invariant()
    def no_minute_has_more_than_the_rate(self) -> None:
        now = self.clock.now()
        assert len([at for at in self.taken_at["rate"] if at > now - 60_000_000]) <= PER_MINUTE

    @rule()
    def everybody_looks_and_no_place_stays_free_for_who_is_first(self) -> None:
        self._note(self.store.limits.take(self.waiting, joining=()).taken)
        slots = {name: self.store.limits.slots(limit=name) for name in ("one", "three")}
        held = {name: sum(row.taken_at is not None for row in slots[name]) for name in slots}
        lines = {name: [row.call_id for row in slots[name] if row.taken_at is None] for name in slots}
        for ask in self.waiting:
            if "rate" not in ask.limits and all(lines[name][0] == ask.call_id for name in ask.limits):
                assert any(held[name] == AT_ONCE[name] for name in ask.limits), ask


Limits.TestCase.settings = settings(max_examples=40, stateful_step_count=25)
test_the_places_that_count_are_never_more_than_the_limit = Limits.TestCase
