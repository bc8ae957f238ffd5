"""Leases on the database's clock, and whose executions are orphans (S6.2, S6.3)."""

from __future__ import annotations

from collections.abc import Sequence

from kitaru.core.mutations import CallRecorded, Claimed, StatusChanged, Suspended
from kitaru.core.ports import Ask, Store
from kitaru.core.rows import LimitRow
from kitaru.core.states import Status
from tests.contract.stores import SECOND, START, ManualClock, call, commit, create, execution, runner, start


def _orphans(store: Store, *, project: str = "project", stack: str = "local", limit: int = 10) -> list[str]:
    found = store.executions.orphans(project=project, stack=stack, flow_refs=None, limit=limit)
    for row in found:
        assert store.executions.is_orphan(row.execution_id)
    return [row.execution_id for row in found]


def test_a_runners_lease_begins_now_by_the_clock_of_the_database(store: Store) -> None:
    store.runners.register(runner(lease_until=7), lease_seconds=2.5)
    assert store.runners.list() == [runner(lease_until=START + 2.5 * SECOND)]
    store.runners.retire("runner")
    assert store.runners.list() == []


def test_a_heartbeat_renews_a_lease_that_has_not_run_out(store: Store, clock: ManualClock) -> None:
    store.runners.register(runner(), lease_seconds=10)
    clock.pass_(9.9)
    assert store.runners.heartbeat("runner", lease_seconds=10)
    clock.pass_(9.9)
    assert store.runners.heartbeat("runner", lease_seconds=10)
    clock.pass_(10)
    assert not store.runners.heartbeat("runner", lease_seconds=10)
    assert not store.runners.heartbeat("unknown", lease_seconds=10)


def test_s6_2_a_lease_that_has_run_out_is_not_renewed_by_waiting(store: Store, clock: ManualClock) -> None:
    start(store)
    clock.pass_(60)
    assert not store.runners.heartbeat("runner", lease_seconds=60)
    assert _orphans(store) == ["exec"]


def test_a_lost_runner_may_register_again(store: Store, clock: ManualClock) -> None:
    store.runners.register(runner(), lease_seconds=10)
    clock.pass_(11)
    store.runners.register(runner(pid=2), lease_seconds=10)
    assert store.runners.list() == [runner(pid=2, lease_until=clock.now() + 10 * SECOND)]


def test_runners_whose_lease_is_over_leave_when_another_comes(store: Store, clock: ManualClock) -> None:
    store.runners.register(runner("old"), lease_seconds=10)
    clock.pass_(11)
    store.runners.register(runner("new"), lease_seconds=10)
    assert [row.runner_id for row in store.runners.list()] == ["new"]


def test_s6_3_a_long_line_of_what_is_nobodys_hides_no_orphan(store: Store, clock: ManualClock) -> None:
    for number in range(3):
        create(store, execution(f"new-{number}", runner_id=None, created_at=number))
    start(store)
    clock.pass_(60)
    found = store.executions.orphans(project="project", stack="local", flow_refs=None, limit=2, unowned=False)
    assert [row.execution_id for row in found] == ["exec"]


def test_s6_3_orphans_are_what_a_runner_left_behind(store: Store, clock: ManualClock) -> None:
    store.runners.register(runner("alive"), lease_seconds=600)
    store.runners.register(runner("late"), lease_seconds=10)
    create(
        store,
        execution("mine", status=Status.RUNNING, runner_id="alive"),
        execution("mine-pending", runner_id="alive"),
        execution("lost", status=Status.RUNNING, runner_id="late", created_at=START + 1, tags=("t",)),
        execution("lost-pending", runner_id="late", created_at=START),
        execution("unknown", status=Status.RUNNING, runner_id="never seen", created_at=START + 2),
        execution("nobody", runner_id=None, created_at=START + 3),
        execution("parked", status=Status.WAITING),
        execution("done", status=Status.COMPLETED, runner_id="late"),
        execution("elsewhere", status=Status.RUNNING, runner_id="late", stack="k8s"),
        execution("foreign", status=Status.RUNNING, runner_id="late", project="other"),
    )
    assert _orphans(store) == ["unknown", "nobody"]
    clock.pass_(10)
    assert _orphans(store) == ["lost-pending", "lost", "unknown", "nobody"]
    assert _orphans(store, limit=1) == ["lost-pending"]
    assert _orphans(store, stack="k8s") == ["elsewhere"]
    assert _orphans(store, project="other") == ["foreign"]
    for name in ("mine", "mine-pending", "parked", "done", "no such"):
        assert not store.executions.is_orphan(name)


def test_the_executions_of_a_retired_runner_are_orphans_at_once(store: Store) -> None:
    start(store)
    assert not store.executions.is_orphan("exec")
    store.runners.retire("runner")
    assert _orphans(store) == ["exec"]


def test_a_claimed_orphan_is_none_any_more(store: Store, clock: ManualClock) -> None:
    epoch = start(store)
    clock.pass_(61)
    store.runners.register(runner("second"), lease_seconds=60)
    assert commit(store, None, Claimed("second", Status.RUNNING, epoch, 1)) is None
    assert _orphans(store) == []


def test_s6_2_until_somebody_takes_over_a_late_owner_still_writes(store: Store, clock: ManualClock) -> None:
    epoch = start(store)
    clock.pass_(61)
    assert commit(store, epoch, CallRecorded(call())) is None
    assert commit(store, epoch, StatusChanged(Status.COMPLETED, clock.now())) is None
    assert _orphans(store) == []


def _take(store: Store, runner_id: str, limit: int = 10, apart_from: Sequence[str] = ()) -> list[str]:
    taken = store.runners.take(runner_id, project="project", stack="local", apart_from=apart_from, limit=limit)
    return [row.execution_id for row in taken]


def test_s6_1_what_is_nobodys_is_taken_by_one_runner_and_stays_pending(store: Store) -> None:
    store.runners.register(runner("first"), lease_seconds=60)
    store.runners.register(runner("second"), lease_seconds=60)
    create(
        store,
        execution("old", created_at=START),
        execution("new", created_at=START + 1),
        execution("of another flow", created_at=START + 2, flow_ref="module:unloadable"),
        execution("mine already", runner_id="second"),
        execution("elsewhere", stack="k8s"),
        execution("foreign", project="other"),
    )
    assert _take(store, "first", limit=1) == ["old"]
    assert _take(store, "second", apart_from=["module:unloadable"]) == ["new"]
    assert _take(store, "first") == ["of another flow"]
    assert _take(store, "second") == []
    assert store.executions.status("old") is Status.PENDING
    assert [row.execution_id for row in store.executions.pending(runner_id="second", limit=9)] == [
        "mine already",
        "new",
    ]
    assert not store.executions.is_orphan("old")


def test_what_a_runner_had_taken_is_nobodys_again_when_it_gives_it_back_or_retires(store: Store) -> None:
    store.runners.register(runner("first"), lease_seconds=60)
    create(store, execution("one"), execution("two"))
    assert _take(store, "first") == ["one", "two"]
    store.runners.untake("other", "one")
    assert _take(store, "second") == []
    store.runners.untake("first", "one")
    assert _take(store, "second") == ["one"]
    store.runners.retire("first")
    assert _take(store, "second") == ["two"]


def test_unowned_executions_are_listed_by_flow_oldest_first(store: Store) -> None:
    create(
        store,
        execution("a", flow_ref="m:a", created_at=START + 1),
        execution("b", flow_ref="m:b", created_at=START),
        execution("c", flow_ref="m:c"),
        execution("owned", flow_ref="m:a", runner_id="somebody"),
    )
    unowned = store.executions.unowned
    rows = unowned(project="project", stack="local", flow_refs=["m:a", "m:b"], limit=9)
    assert [row.execution_id for row in rows] == ["b", "a"]
    assert unowned(project="project", stack="local", flow_refs=[], limit=9) == []


def test_a_stack_is_served_while_a_runner_of_it_holds_its_lease(store: Store, clock: ManualClock) -> None:
    store.runners.register(runner("first"), lease_seconds=10)
    assert store.runners.serves("local")
    assert not store.runners.serves("k8s")
    clock.pass_(11)
    assert not store.runners.serves("local")


def test_s5_2_what_is_woken_is_its_living_runners_to_go_on_with_else_anybodys(store: Store, clock: ManualClock) -> None:
    for name, runner_id in (("parked", "alive"), ("abandoned", "gone")):
        store.runners.register(runner(runner_id), lease_seconds=600 if runner_id == "alive" else 10)
        create(store, execution(name, status=Status.RUNNING, epoch=1, runner_id=runner_id))
        assert commit(store, 1, Suspended((), (), None), execution_id=name) is None
        create(store, execution(f"child of {name}", status=Status.RUNNING, epoch=1, parent_id=name, runner_id="alive"))
    clock.pass_(11)
    for name in ("parked", "abandoned"):
        assert commit(store, 1, StatusChanged(Status.COMPLETED, START), execution_id=f"child of {name}") is None
    assert [row.execution_id for row in store.executions.pending(runner_id="alive", limit=9)] == ["parked"]
    assert _take(store, "alive") == ["abandoned"]


def test_what_would_only_wait_under_a_limit_of_its_flow_or_stack_is_left(store: Store) -> None:
    store.limits.set(LimitRow("flow:full", 1, None, declared=False))
    store.limits.set(LimitRow("flow:roomy", 2, None, declared=False))
    for number, flow in enumerate(("full", "roomy", "free")):
        start(store, flow)
        assert store.limits.take((), joining=[Ask(flow, "", 1, 0, (f"flow:{flow}",))]) is not None
        create(store, execution(f"next-{flow}", flow=flow, created_at=START + number))
    assert _take(store, "runner") == ["next-roomy", "next-free"]
    commit(store, 1, StatusChanged(Status.COMPLETED, START, result="1"), execution_id="full")
    assert _take(store, "runner") == ["next-full"]
