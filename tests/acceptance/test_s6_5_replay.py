"""S6.4, S6.5: a new execution from what another recorded. What is reused, what runs, and what stays as it was."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import UserDict
from pathlib import Path
from typing import Any

import pytest

import kitaru
from kitaru import (
    Execution,
    FlowHandle,
    KitaruClient,
    KitaruExecutionError,
    KitaruNotFoundError,
    KitaruStateError,
    KitaruUsageError,
    ReplayPlan,
    checkpoint,
    flow,
)
from kitaru.core.mutations import Claimed, Commit, ExecutionCreated, StatusChanged
from kitaru.core.rows import ExecutionRow
from kitaru.core.states import Status
from kitaru.services.wiring import wiring

pytestmark = pytest.mark.usefixtures("home")

PATIENCE = 30.0
RAN: list[str] = []

# What the flows see of the world outside. Not a dict: the content of one counts as code (S3.5).
WORLD: UserDict[str, Any] = UserDict()


@pytest.fixture(autouse=True)
def world() -> None:
    """What the flows below see of the world outside, and what they did to it."""
    RAN.clear()
    WORLD.clear()


@checkpoint
def fetch(url: str) -> str:
    RAN.append(f"fetch {url}")
    return WORLD.get("page", f"text of {url}")


@checkpoint
def step(number: int, text: str = "") -> int:
    RAN.append(f"step {number}")
    return number + WORLD.get("added", 0)


@checkpoint
def send(total: int) -> str:
    RAN.append(f"send {total}")
    if WORLD.get("down"):
        raise ConnectionError("the mail server is down")
    return f"sent {total}"


@flow
def report(url: str, steps: int = 3, *, title: str = "report") -> str:
    text = fetch(url)
    return f"{title}: " + send(sum(step(number, text) for number in range(steps)))


def client() -> Any:
    return KitaruClient().executions


def ran() -> list[str]:
    """What ran since it was last asked."""
    done = RAN.copy()
    RAN.clear()
    return done


def completed(handle: FlowHandle[Any]) -> Any:
    return handle.wait(timeout=PATIENCE)


def failed(handle: FlowHandle[Any]) -> FlowHandle[Any]:
    with pytest.raises(KitaruExecutionError):
        handle.wait(timeout=PATIENCE)
    return handle


def record(handle: FlowHandle[Any]) -> Execution:
    return KitaruClient().executions.get(handle.exec_id)


def source() -> FlowHandle[str]:
    handle = report.run("a.html")
    assert completed(handle) == "report: sent 3"
    ran()
    return handle


def rows_of(home: Path, execution_id: str) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that the store holds of an execution."""
    connection = sqlite3.connect(home / "kitaru.db")
    try:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        having = [
            table
            for table in tables
            if "execution_id" in [column[1] for column in connection.execute(f"PRAGMA table_info({table})")]
        ]
        return {
            table: connection.execute(f"SELECT * FROM {table} WHERE execution_id = ?", (execution_id,)).fetchall()
            for table in having
        }
    finally:
        connection.close()


# ── what runs ────────────────────────────────────────────────────────────────────────────────────


def test_s6_5_without_from_a_completed_execution_is_reused_whole() -> None:
    first = source()
    again = client().replay(first.exec_id)
    assert completed(again) == "report: sent 3"
    assert ran() == []
    assert again.exec_id != first.exec_id
    assert record(again).original_exec_id == first.exec_id


def test_s6_5_from_a_call_it_and_all_behind_it_run_again() -> None:
    again = client().replay(source().exec_id, "step_2")
    assert completed(again) == "report: sent 3"
    assert ran() == ["step 1", "step 2", "send 3"]


def test_s6_5_a_call_in_a_loop_keeps_its_id() -> None:
    first = source()
    again = client().replay(first.exec_id, "step_2")
    completed(again)
    assert [(call.call_id, call.cached_from, call.cached_from_call) for call in record(again).checkpoints] == [
        ("fetch", first.exec_id, "fetch"),
        ("step", first.exec_id, "step"),
        ("step_2", None, None),
        ("step_3", None, None),
        ("send", None, None),
    ]


def test_s6_5_what_runs_again_is_never_answered_by_the_cache_of_earlier_executions() -> None:
    first = source()
    completed(report.run("a.html"))
    assert ran() == []  # the cache would have it
    completed(client().replay(first.exec_id, "fetch"))
    assert ran() == ["fetch a.html", "step 0", "step 1", "step 2", "send 3"]


def test_s6_5_with_reuse_unchanged_only_what_depends_on_a_changed_output_runs_again() -> None:
    first = source()
    WORLD["added"] = 10
    assert completed(client().replay(first.exec_id, "step_2", reuse="unchanged")) == "report: sent 13"
    assert ran() == ["step 1", "send 13"]


def test_s6_5_with_reuse_unchanged_an_unchanged_output_changes_nothing_behind_it() -> None:
    assert completed(client().replay(source().exec_id, "step_2", reuse="unchanged")) == "report: sent 3"
    assert ran() == ["step 1"]


def test_s6_5_with_reuse_before_all_behind_runs_again_though_its_inputs_are_the_same() -> None:
    assert completed(client().replay(source().exec_id, "step_2", reuse="before")) == "report: sent 3"
    assert ran() == ["step 1", "step 2", "send 3"]


def test_s3_3_a_result_is_never_reused_for_other_inputs() -> None:
    first = source()
    WORLD["page"] = "another text"
    completed(client().replay(first.exec_id, "fetch", reuse="unchanged"))
    assert ran() == ["fetch a.html", "step 0", "step 1", "step 2"]  # send had the same total


def test_s6_5_flow_inputs_replace_those_of_the_source() -> None:
    again = client().replay(source().exec_id, steps=4)
    assert completed(again) == "report: sent 6"
    assert ran() == ["step 3", "send 6"]
    assert record(again).inputs == {"url": "a.html", "steps": 4, "title": "report"}


def test_s6_5_calls_that_the_new_body_did_not_make_are_not_listed() -> None:
    again = client().replay(source().exec_id, steps=1)
    assert completed(again) == "report: sent 0"
    # `send` was made with another total, so it is a call of its own.
    assert [call.name for call in record(again).checkpoints] == ["fetch", "step", "send"]


def test_s6_5_reuse_costs_no_attempt_and_no_time() -> None:
    again = client().replay(source().exec_id)
    completed(again)
    for call in record(again).checkpoints:
        assert call.attempts == ()
        assert call.duration is not None
        assert call.duration.total_seconds() == 0


def test_s6_5_calls_are_listed_in_the_order_of_the_new_body() -> None:
    WORLD["order"] = [0, 1, 2]

    @flow
    def body() -> list[int]:
        return [step(number) for number in WORLD["order"]]

    first = body.run()
    completed(first)
    WORLD["order"] = [2, 7, 0, 1]
    again = client().replay(first.exec_id)
    assert completed(again) == [2, 7, 0, 1]
    assert [call.output for call in record(again).checkpoints] == [2, 7, 0, 1]
    ran()
    completed(client().replay(again.exec_id, record(again).checkpoints[1].call_id))
    assert ran() == ["step 7", "step 0", "step 1"]


def test_s3_6_ids_count_the_calls_of_the_new_body_and_not_what_the_source_called() -> None:
    WORLD["order"] = [0, 1, 2]

    @flow
    def body() -> list[int]:
        return [step(number) for number in WORLD["order"]]

    first = body.run()
    completed(first)
    WORLD["order"] = [5, 6, 0]
    again = client().replay(first.exec_id)
    assert completed(again) == [5, 6, 0]
    calls = record(again).checkpoints
    # The record of 0 left its id to the first call, and was found all the same.
    assert [call.call_id for call in calls[:2]] == ["step", "step_2"]
    assert (calls[2].output, calls[2].cached_from, calls[2].cached_from_call) == (0, first.exec_id, "step")
    assert len({call.call_id for call in calls}) == 3
    drift = [(one.call_id, one.recorded_call_id, one.recorded, one.given) for one in record(again).drift]
    assert drift == [("step", "step_2", "1", "5"), ("step_2", "step_3", "2", "6")]


def test_s3_6_a_call_whose_inputs_changed_keeps_the_id_that_it_has_in_the_source() -> None:
    again = client().replay(source().exec_id, url="b.html")
    completed(again)
    assert [call.call_id for call in record(again).checkpoints] == ["fetch", "step", "step_2", "step_3", "send"]


def test_s6_4_a_failed_replay_finds_records_that_left_their_ids_when_it_is_retried() -> None:
    WORLD.update(order=[0, 1], broken=False)

    @flow
    def body() -> list[int]:
        done: list[int] = []
        for number in WORLD["order"]:
            done.append(step(number))
            if WORLD["broken"]:
                raise RuntimeError
        return done

    first = body.run()
    completed(first)
    WORLD.update(order=[5, 6, 1, 0], broken=True)
    again = failed(client().replay(first.exec_id))
    WORLD["broken"] = False
    ran()
    assert completed(client().retry(again.exec_id)) == [5, 6, 1, 0]
    assert ran() == ["step 6"]
    calls = record(again).checkpoints
    assert [call.call_id for call in calls[:2]] == ["step", "step_2"]
    assert [call.cached_from_call for call in calls] == [None, None, "step_2", "step"]


def test_s6_5_an_async_flow_is_replayed() -> None:
    @checkpoint
    async def afetch(number: int) -> int:
        RAN.append(f"afetch {number}")
        return number

    @flow
    async def body() -> int:
        return sum(await asyncio.gather(*(afetch(number) for number in range(3))))

    first = body.run()
    assert completed(first) == 3
    ran()
    assert completed(client().replay(first.exec_id, "afetch_2")) == 3
    assert sorted(ran()) == ["afetch 1", "afetch 2"]


def test_s6_5_submitted_calls_are_reused() -> None:
    @flow
    def body() -> int:
        return sum(step.map(range(4)).result())

    first = body.run()
    completed(first)
    ran()
    assert completed(client().replay(first.exec_id, "step_3")) == 6
    assert sorted(ran()) == ["step 2", "step 3"]


def test_s3_3_recorded_values_are_those_of_the_source_before_from() -> None:
    @flow
    def body() -> tuple[Any, int, Any]:
        return kitaru.uuid4(), step(1), kitaru.uuid4()

    first = body.run()
    before = completed(first)
    after = completed(client().replay(first.exec_id, "step"))
    assert after[0] == before[0]
    assert after[2] != before[2]


# ── failures ─────────────────────────────────────────────────────────────────────────────────────


def test_s6_5_a_failed_execution_goes_on_from_what_failed() -> None:
    WORLD["down"] = True
    first = failed(report.run("a.html"))
    ran()
    WORLD["down"] = False
    again = client().replay(first.exec_id)
    assert completed(again) == "report: sent 3"
    assert ran() == ["send 3"]
    assert record(first).status == "failed"


def test_s2_5_a_failure_that_the_body_handled_is_raised_again() -> None:
    seen: list[str] = []

    @flow
    def body() -> str:
        try:
            send(1)
        except ConnectionError as error:
            seen.append(str(error))
        return send(2) if WORLD.get("up") else "gave up"

    WORLD["down"] = True
    first = body.run()
    assert completed(first) == "gave up"
    WORLD.update(down=False, up=True)
    ran()
    again = client().replay(first.exec_id)
    assert completed(again) == "sent 2"
    assert ran() == ["send 2"]
    assert seen == ["the mail server is down"] * 2
    (reused, _) = record(again).checkpoints
    assert (reused.status, reused.cached_from, reused.attempts) == ("failed", first.exec_id, ())


def test_s6_5_from_a_call_whose_failure_was_handled_it_runs_again() -> None:
    @flow
    def body() -> str:
        try:
            return send(1)
        except ConnectionError:
            return "gave up"

    WORLD["down"] = True
    first = body.run()
    assert completed(first) == "gave up"
    WORLD["down"] = False
    assert completed(client().replay(first.exec_id, "send")) == "sent 1"


def test_s6_4_a_failed_replay_is_retried_with_what_it_was_offered() -> None:
    WORLD["broken"] = False

    @flow
    def body() -> int:
        total = step(0)
        if WORLD["broken"]:
            raise RuntimeError
        return total + step(1)

    first = body.run()
    completed(first)
    WORLD["broken"] = True
    again = failed(client().replay(first.exec_id))
    WORLD["broken"] = False
    ran()
    assert completed(client().retry(again.exec_id)) == 1
    assert ran() == []


def test_s1_7_a_replay_has_the_retries_of_its_source_and_reuses_in_each_run() -> None:
    tries: list[int] = []

    @flow(retries=1)
    def body() -> int:
        tries.append(step(1))
        if len(tries) in (1, 3):
            raise RuntimeError
        return len(tries)

    first = body.run()
    assert completed(first) == 2
    assert completed(client().replay(first.exec_id)) == 4
    assert ran() == ["step 1"]


def test_s3_3_a_replay_may_differ_where_a_resumed_execution_may_not() -> None:
    careful = step.with_options(on_drift="fail")

    @flow
    def body(number: int) -> int:
        return careful(number)

    first = body.run(1)
    completed(first)
    again = client().replay(first.exec_id, number=2)
    assert completed(again) == 2
    (drift,) = record(again).drift
    assert (drift.input, drift.recorded, drift.given) == ("number", "1", "2")


# ── the source, and what the replay takes from it ────────────────────────────────────────────────


def test_s6_4_the_source_is_never_changed(home: Path) -> None:
    good = source()
    WORLD["down"] = True
    for first in (good, failed(report.run("b.html", 2))):
        before = rows_of(home, first.exec_id)
        assert before["calls"]
        WORLD["down"] = False
        completed(client().replay(first.exec_id, "fetch", url="c.html"))
        completed(client().replay(first.exec_id, overrides={"step": {"output": 5}}))
        WORLD["down"] = True
        failed(client().replay(first.exec_id, "send"))
        assert rows_of(home, first.exec_id) == before


def test_s6_5_the_options_are_those_of_the_source() -> None:
    image = {"base_image": "python:3.12", "environment": {"A": "1"}}
    first = report.run("a.html", retries=2, cache=False, image=image, tags=["nightly", "eu"])
    completed(first)
    again = client().replay(first.exec_id)
    completed(again)
    before, after = record(first), record(again)
    for name in ("flow", "stack", "retries", "cache", "image", "tags", "inputs"):
        assert getattr(after, name) == getattr(before, name), name
    assert after.parent_id is None


def test_s6_5_replays_are_listed_by_their_source() -> None:
    first = source()
    replays = [client().replay(first.exec_id) for _ in range(2)]
    for handle in replays:
        completed(handle)
    listed = client().list(original_exec_id=first.exec_id)
    assert {one.exec_id for one in listed} == {handle.exec_id for handle in replays}


def test_s6_5_a_replay_of_a_replay_reuses_what_that_one_has() -> None:
    first = source()
    WORLD["added"] = 10
    second = client().replay(first.exec_id, "step_3")
    assert completed(second) == "report: sent 13"
    ran()
    third = client().replay(second.exec_id, "send")
    assert completed(third) == "report: sent 13"
    assert ran() == ["send 13"]
    assert record(third).original_exec_id == second.exec_id
    assert {call.cached_from for call in record(third).checkpoints} == {second.exec_id, None}


def test_s6_5_a_replay_outlives_its_source() -> None:
    first = source()
    again = client().replay(first.exec_id)
    completed(again)
    client().delete(first.exec_id)
    assert [call.output for call in record(again).checkpoints] == ["text of a.html", 0, 1, 2, "sent 3"]
    assert completed(client().replay(again.exec_id)) == "report: sent 3"
    assert ran() == []


def test_s6_5_copies_are_no_part_of_the_cross_run_cache() -> None:
    first = source()
    completed(client().replay(first.exec_id))
    third = report.run("a.html")
    completed(third)
    assert {call.cached_from for call in record(third).checkpoints} == {first.exec_id}


def test_s7_3_what_reused_calls_saved_can_be_loaded() -> None:
    @checkpoint
    def draft() -> int:
        kitaru.save("draft", "a draft")
        kitaru.log(cost=3)
        return 1

    @checkpoint
    def polish() -> int:
        kitaru.save("polished", "a polished draft")
        return 1

    @flow
    def body(polished: bool) -> str:
        draft()
        if polished:
            polish()
        return kitaru.load(kitaru.current_execution_id(), "draft")

    first = body.run(True)
    completed(first)
    again = client().replay(first.exec_id, polished=False)
    assert completed(again) == "a draft"
    assert [one.name for one in KitaruClient().artifacts.list(again.exec_id)] == ["draft"]
    assert record(again).checkpoints[0].metadata == {}  # what it cost was paid once


# ── child flows ──────────────────────────────────────────────────────────────────────────────────


@flow
def child(number: int) -> int:
    RAN.append(f"child {number}")
    return step(number)


@flow
def parent() -> int:
    return child.run(1).wait() + child.run(2).wait()


def test_s1_10_a_reused_child_is_the_one_of_the_source() -> None:
    first = parent.run()
    assert completed(first) == 3
    ran()
    again = client().replay(first.exec_id, "child_2")
    assert completed(again) == 3
    assert ran() == ["child 2", "step 2"]  # the child that runs again has nothing from the cache either
    before, after = ([call.child_exec_id for call in record(one).checkpoints] for one in (first, again))
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_s1_10_a_child_that_failed_runs_anew_and_the_failed_one_stays() -> None:
    @flow
    def fragile() -> str:
        return send(1)

    @flow
    def body() -> str:
        return fragile.run().wait()

    WORLD["down"] = True
    first = failed(body.run())
    WORLD["down"] = False
    assert completed(client().replay(first.exec_id)) == "sent 1"
    (call,) = record(first).checkpoints
    assert client().get(call.child_exec_id).status == "failed"


def test_s1_10_the_handled_failure_of_a_child_is_that_of_the_source() -> None:
    @flow
    def fragile() -> str:
        return send(1)

    @flow
    def body() -> str:
        try:
            return fragile.run().wait()
        except KitaruExecutionError:
            return "gave up"

    WORLD["down"] = True
    first = body.run()
    assert completed(first) == "gave up"
    WORLD["down"] = False
    ran()
    again = client().replay(first.exec_id)
    assert completed(again) == "gave up"
    assert ran() == []
    (before,), (after,) = record(first).checkpoints, record(again).checkpoints
    assert (after.status, after.child_exec_id, after.cached_from) == ("failed", before.child_exec_id, first.exec_id)


# ── is_replay ────────────────────────────────────────────────────────────────────────────────────


def test_s6_7_is_replay_is_true_in_the_body_and_the_checkpoints_of_a_replay() -> None:
    @checkpoint
    def ask() -> bool:
        return kitaru.is_replay()

    @flow
    def body() -> list[bool]:
        return [kitaru.is_replay(), ask(), ask.submit().result()]

    first = body.run(cache=False)
    assert completed(first) == [False] * 3
    assert completed(client().replay(first.exec_id, "ask")) == [True] * 3
    assert completed(client().replay(first.exec_id)) == [True, False, False]  # those two are reused


def test_s6_7_is_replay_is_true_in_the_child_flows_that_a_replay_starts() -> None:
    @flow
    def grandchild() -> bool:
        return kitaru.is_replay()

    @flow
    def middle() -> list[bool]:
        return [kitaru.is_replay(), grandchild.run().wait()]

    @flow
    def body() -> list[bool]:
        return middle.run().wait()

    first = body.run()
    assert completed(first) == [False, False]
    assert completed(client().replay(first.exec_id, "middle")) == [True, True]
    assert completed(client().replay(first.exec_id)) == [False, False]


def test_s6_7_is_replay_has_no_meaning_outside_a_flow() -> None:
    with pytest.raises(kitaru.KitaruContextError, match="is_replay"):
        kitaru.is_replay()


# ── the plan ─────────────────────────────────────────────────────────────────────────────────────


def test_s6_5_a_dry_run_records_and_runs_nothing() -> None:
    first = source()
    plan = client().replay(first.exec_id, "step_3", dry_run=True)
    assert isinstance(plan, ReplayPlan)
    assert [(call.call_id, call.name, call.action.value) for call in plan.calls] == [
        ("fetch", "fetch", "reuse"),
        ("step", "step", "reuse"),
        ("step_2", "step", "reuse"),
        ("step_3", "step", "rerun"),
        ("send", "send", "rerun"),
    ]
    assert len(client().list()) == 1
    assert ran() == []


def test_s6_5_a_plan_prints_as_a_table() -> None:
    first = source()
    plan = client().replay(first.exec_id, "send", {"fetch": {"output": "x"}}, dry_run=True)
    assert str(plan).splitlines() == [
        f"replay of {first.exec_id}, flow report",
        "call    action    reason",
        "fetch   override  its output is given",
        "step    reuse     recorded; reused while its inputs are the same",
        "step_2  reuse     recorded; reused while its inputs are the same",
        "step_3  reuse     recorded; reused while its inputs are the same",
        "send    rerun     the replay starts here",
    ]


def test_s6_5_a_plan_of_an_execution_without_calls_says_so() -> None:
    @flow
    def empty() -> None:
        pass

    handle = empty.run()
    completed(handle)
    assert str(client().replay(handle.exec_id, dry_run=True)).endswith("no call is recorded")


# ── starting, and refusals ───────────────────────────────────────────────────────────────────────


def test_s6_4a_an_execution_that_is_not_at_rest_is_refused_with_its_status() -> None:
    first = source()
    row = wiring().store.executions.get(first.exec_id)
    assert row is not None
    for status in (Status.PENDING, Status.RUNNING):
        _insert(row._replace(execution_id=f"e-{status}", status=status, epoch=1, runner_id=None))
        with pytest.raises(KitaruStateError, match=f"execution e-{status} is {status} and cannot be replayed"):
            client().replay(f"e-{status}")
    assert len(client().list()) == 3


def test_s6_4_a_waiting_or_cancelled_execution_can_be_replayed() -> None:
    first = source()
    row = wiring().store.executions.get(first.exec_id)
    assert row is not None
    runner = wiring().runner.begin()
    for status in (Status.WAITING, Status.CANCELLED):
        name = f"e-{status}"
        _insert(row._replace(execution_id=name, status=Status.PENDING, epoch=0, runner_id=None), first.exec_id)
        end = StatusChanged(status, wiring().clock.now())
        _commit(name, None, Claimed(runner, Status.PENDING, 0, 1))
        _commit(name, 1, end)
        assert completed(client().replay(name)) == "report: sent 3"
        assert ran() == []
        assert client().get(name).status == status


def _insert(row: ExecutionRow, copied_from: str | None = None) -> None:
    copied = () if copied_from is None else tuple(call.call_id for call in wiring().store.calls.of(copied_from))
    _commit(row.execution_id, None, ExecutionCreated(row._replace(original_id=copied_from), copied))


def _commit(execution_id: str, epoch: int | None, mutation: Any) -> None:
    assert list(wiring().store.commit([Commit(execution_id, epoch, (mutation,))])) == [None]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"from_": "sendd"}, "from_='sendd': the execution has no such call; did you mean 'send'"),
        ({"reuse": "all"}, "reuse='all': 'before' or 'unchanged'"),
        ({"overrides": {"sennd": {"output": 1}}}, "did you mean 'send'"),
        ({"overrides": {"send": {"output": 1, "input": {"total": 2}}}}, "does not run"),
        ({"execution_id": "not an id"}, "execution_id='not an id'"),
        ({"link": "b.html"}, "flow report has no input 'link'; it has url, steps, title"),
    ],
)
def test_s6_5_a_wrong_argument_is_refused_before_anything_is_recorded(arguments: dict[str, Any], message: str) -> None:
    first = source()
    with pytest.raises(KitaruUsageError, match=message):
        client().replay(first.exec_id, **arguments)
    assert len(client().list()) == 1
    assert ran() == []


def test_an_unknown_execution_is_refused() -> None:
    with pytest.raises(KitaruNotFoundError, match="no execution 'nothing'"):
        client().replay("nothing")


def test_s6_5_an_input_of_a_flow_with_any_keywords() -> None:
    @flow
    def body(url: str, **options: int) -> dict[str, int]:
        return options

    first = body.run("a", depth=1)
    assert completed(first) == {"depth": 1}
    assert completed(client().replay(first.exec_id, width=2)) == {"depth": 1, "width": 2}


def test_s1_2_a_replay_with_an_id_of_its_own_is_started_once() -> None:
    first = source()
    handles = [client().replay(first.exec_id, "send", execution_id="again-1") for _ in range(2)]
    assert [completed(handle) for handle in handles] == ["report: sent 3"] * 2
    assert ran() == ["send 3"]
    for other in ({"from_": "step"}, {"from_": "send", "steps": 2}, {"overrides": {"send": {"output": "x"}}}):
        with pytest.raises(KitaruUsageError, match="execution_id='again-1' is taken.*replay|is taken.*inputs"):
            client().replay(first.exec_id, execution_id="again-1", **other)
    with pytest.raises(KitaruUsageError, match="is taken"):
        client().replay(first.exec_id, execution_id=first.exec_id)
