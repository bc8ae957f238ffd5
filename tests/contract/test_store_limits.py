"""Named limits and the places under them, on every store."""

from __future__ import annotations

import subprocess
import sys

from kitaru.core.clock import SystemClock
from kitaru.core.mutations import CallRecorded, SlotsFreed, StatusChanged
from kitaru.core.ports import Ask, Store
from kitaru.core.rows import LimitRow
from kitaru.core.states import Status
from kitaru.store import open_store
from tests.contract.stores import START, ManualClock, call, commit, runner, start


def limit(store: Store, name: str = "api", at_once: int | None = 1, per_minute: int | None = None) -> None:
    store.limits.set(LimitRow(name, at_once, per_minute, declared=False))


def ask(call_id: str = "step", *limits: str, execution_id: str = "exec", epoch: int = 1, priority: int = 0) -> Ask:
    return Ask(execution_id, call_id, epoch, priority, limits or ("api",))


def joins(store: Store, *asks: Ask) -> list[str]:
    """The calls that get their places as soon as they come."""
    return [one.call_id for one in store.limits.take((), joining=asks).taken]


def takes(store: Store, *asks: Ask) -> list[str]:
    """The calls that get their places when they look again."""
    return [one.call_id for one in store.limits.take(asks, joining=()).taken]


def test_a_limit_is_defined_listed_replaced_and_deleted(store: Store) -> None:
    limit(store, "b", 2)
    limit(store, "a", None, 60)
    assert store.limits.list() == [LimitRow("a", None, 60, False), LimitRow("b", 2, None, False)]
    limit(store, "b", 3, 7)
    assert store.limits.list()[1] == LimitRow("b", 3, 7, False)
    assert store.limits.delete("b")
    assert not store.limits.delete("b")
    assert [row.name for row in store.limits.list()] == ["a"]


def test_a_declaration_replaces_only_a_declaration(store: Store) -> None:
    store.limits.set(LimitRow("api", 1, None, declared=True))
    store.limits.set(LimitRow("api", 2, None, declared=True))
    assert store.limits.list() == [LimitRow("api", 2, None, True)]
    store.limits.set(LimitRow("api", 9, None, declared=False))
    store.limits.set(LimitRow("api", 3, None, declared=True))
    assert store.limits.list() == [LimitRow("api", 9, None, False)]


def test_no_more_than_the_capacity_hold_a_place(store: Store) -> None:
    start(store)
    limit(store, at_once=2)
    assert joins(store, ask("a"), ask("b"), ask("c")) == ["a", "b"]
    assert takes(store, ask("c")) == []


def test_a_place_is_free_with_the_commit_of_its_call(store: Store) -> None:
    start(store)
    limit(store)
    joins(store, ask("a"), ask("b"))
    assert commit(store, 1, CallRecorded(call("a")), SlotsFreed("a", ("api",))) is None
    assert takes(store, ask("b")) == ["b"]


def test_a_place_stays_taken_where_the_commit_is_refused(store: Store) -> None:
    start(store)
    limit(store)
    joins(store, ask("a"), ask("b"))
    assert commit(store, 7, SlotsFreed("a", ("api",))) is not None
    assert takes(store, ask("b")) == []


def test_whoever_leaves_gives_its_place_back(store: Store) -> None:
    start(store)
    limit(store)
    joins(store, ask("a"), ask("b"), ask("c"))
    store.limits.leave([ask("a"), ask("b")])
    assert takes(store, ask("c")) == ["c"]


def test_the_line_goes_by_who_came_first(store: Store, clock: ManualClock) -> None:
    start(store)
    limit(store)
    joins(store, ask("holder"))
    for call_id in ("z", "y", "x"):
        clock.pass_(1)
        joins(store, ask(call_id))
    store.limits.leave([ask("holder")])
    assert takes(store, ask("x"), ask("y")) == []
    assert takes(store, ask("x"), ask("y"), ask("z")) == ["z"]


def test_calls_that_come_together_keep_their_order(store: Store) -> None:
    start(store)
    limit(store)
    joins(store, ask("holder"), ask("step_2"), ask("step_10"))
    store.limits.leave([ask("holder")])
    assert takes(store, ask("step_10"), ask("step_2")) == ["step_2"]


def test_a_higher_priority_goes_first_and_takes_nothing_away(store: Store, clock: ManualClock) -> None:
    start(store)
    start(store, "urgent")
    limit(store)
    joins(store, ask("holder"))
    joins(store, ask("early"))
    clock.pass_(5)
    urgent = ask("late", execution_id="urgent", priority=5)
    assert joins(store, urgent) == []
    store.limits.leave([ask("holder")])
    assert takes(store, ask("early"), urgent) == ["late"]


def test_a_newcomer_does_not_pass_those_who_wait(store: Store, clock: ManualClock) -> None:
    start(store)
    limit(store)
    joins(store, ask("holder"), ask("first"))
    clock.pass_(1)
    store.limits.leave([ask("holder")])
    assert joins(store, ask("newcomer")) == []


def test_places_of_a_runner_without_a_lease_are_free(store: Store, clock: ManualClock) -> None:
    start(store, "old", "dying")
    joins_old = ask("a", execution_id="old")
    limit(store)
    assert joins(store, joins_old) == ["a"]
    clock.pass_(30)
    start(store)
    assert joins(store, ask("b")) == []
    clock.pass_(31)  # a lease is 60 s
    store.runners.heartbeat("runner", lease_seconds=60)
    store.runners.register(runner(), lease_seconds=60)
    assert takes(store, ask("b")) == ["b"]


def test_a_place_in_line_of_a_dead_runner_holds_nobody_up(store: Store, clock: ManualClock) -> None:
    start(store, "old", "dying")
    limit(store)
    clock.pass_(50)
    start(store)
    joins(store, ask("holder"))
    joins(store, ask("waits", execution_id="old"))
    joins(store, ask("next"))
    clock.pass_(20)
    store.limits.leave([ask("holder")])
    assert takes(store, ask("next")) == ["next"]


def test_places_of_an_older_epoch_are_free(store: Store) -> None:
    start(store)
    limit(store)
    assert joins(store, ask("a")) == ["a"]
    assert joins(store, ask("a", epoch=2)) == []  # nobody runs it under that epoch
    assert joins(store, ask("b")) == ["b"]


def test_places_of_an_execution_that_has_ended_are_free(store: Store) -> None:
    start(store)
    start(store, "other")
    limit(store)
    joins(store, ask("a"))
    assert joins(store, ask("b", execution_id="other")) == []
    commit(store, 1, StatusChanged(Status.COMPLETED, START, result="1"))
    assert takes(store, ask("b", execution_id="other")) == ["b"]


def test_no_more_than_the_rate_in_any_minute(store: Store, clock: ManualClock) -> None:
    store_asks = [ask(f"c{number}") for number in range(5)]
    start(store)
    store.runners.register(runner(), lease_seconds=600)
    limit(store, at_once=None, per_minute=2)
    assert joins(store, store_asks[0]) == ["c0"]
    clock.pass_(40)
    assert joins(store, *store_asks[1:]) == ["c1"]
    store.limits.leave(store_asks[:2])  # the end of a call gives no rate back
    assert takes(store, *store_asks[2:]) == []
    assert store.limits.used("api") == 2
    clock.pass_(20)
    assert takes(store, *store_asks[2:]) == ["c2"]
    clock.pass_(40)
    assert takes(store, *store_asks[3:]) == ["c3"]


def test_a_used_up_rate_tells_when_it_has_room(store: Store, clock: ManualClock) -> None:
    start(store)
    limit(store, at_once=None, per_minute=1)
    joins(store, ask("a"))
    clock.pass_(10)
    admission = store.limits.take((), joining=[ask("b")])
    assert admission.next_at is not None
    assert admission.next_at - admission.now == 50_000_000


def test_several_limits_are_taken_all_or_none(store: Store) -> None:
    start(store)
    limit(store, "wide", 5)
    limit(store, "narrow", 1)
    assert joins(store, ask("a", "wide", "narrow")) == ["a"]
    assert joins(store, ask("b", "narrow", "wide")) == []
    held = [row.call_id for row in store.limits.slots(limit="wide") if row.taken_at is not None]
    assert held == ["a"]
    store.limits.leave([ask("a", "wide", "narrow")])
    assert takes(store, ask("b", "narrow", "wide")) == ["b"]


def test_an_undefined_limit_is_named_and_gives_nothing(store: Store) -> None:
    start(store)
    limit(store)
    admission = store.limits.take((), joining=[ask("a", "api", "apii")])
    assert (admission.taken, admission.unknown) == ((), ("apii",))


def test_who_holds_and_who_waits_can_be_read(store: Store, clock: ManualClock) -> None:
    start(store)
    limit(store)
    joins(store, ask("a"))
    clock.pass_(3)
    joins(store, ask("b"))
    held, waits = store.limits.slots(limit="api")
    assert (held.call_id, held.taken_at, held.host) == ("a", START, "host")
    assert (waits.call_id, waits.taken_at, waits.asked_at) == ("b", None, START + 3_000_000)
    assert store.limits.slots(execution_id="exec") == [held, waits]
    assert store.limits.slots(execution_id="other") == []


def test_sweeping_removes_only_what_does_not_count(store: Store) -> None:
    start(store)
    limit(store)
    joins(store, ask("a"), ask("b"))
    store.limits.sweep()
    assert [row.call_id for row in store.limits.slots(limit="api")] == ["a", "b"]


def test_two_processes_never_hold_more_than_the_capacity(url: str) -> None:
    store = open_store(url, SystemClock())
    limit(store, at_once=3)
    racers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.contract.processes", "slots", url, f"r{number}", "60"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    seen = [int(line) for racer in racers for line in racer.communicate(timeout=60)[0].split()]
    assert [racer.returncode for racer in racers] == [0, 0]
    assert len(seen) == 120
    assert max(seen) <= 3  # that they meet is for the machine to decide; tests/property/test_limits.py has every order
    store.close()


def test_the_places_of_a_killed_process_are_free_at_once(embedded_url: str) -> None:
    store = open_store(embedded_url, SystemClock())
    limit(store)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.contract.processes", "hold", embedded_url], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "holds\n"
        start(store)
        assert joins(store, ask("mine")) == []
        holder.kill()
        holder.wait()
        assert takes(store, ask("mine")) == ["mine"]
    store.close()
