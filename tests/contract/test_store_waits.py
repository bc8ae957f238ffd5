"""Waits in the store, and every order in which asking, answering, suspending and claiming can come (S5.2)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest

from kitaru.core.event import EventKind
from kitaru.core.failure import Failure
from kitaru.core.mutations import (
    AnswerRefused,
    CallStarted,
    Claimed,
    Commit,
    Conflict,
    Fenced,
    Mutation,
    Refusal,
    StatusChanged,
    Suspended,
    WaitAnswered,
    WaitOpened,
    WaitsClosed,
)
from kitaru.core.ports import Store
from kitaru.core.rows import WaitRow
from kitaru.core.states import CallKind, CallStatus, Status, WaitStatus
from kitaru.errors import FailureOrigin
from tests.contract.stores import SECOND, START, ManualClock, call, commit, create, execution, refusal, runner, start


def opened(wait_id: str = "w", name: str = "w", **fields: Any) -> WaitOpened:
    row = WaitRow(wait_id=wait_id, name=name, status=WaitStatus.OPEN, opened_at=START)._replace(**fields)
    of_call = call(
        wait_id, name=name, kind=CallKind.WAIT, status=CallStatus.RUNNING, attempt=0, ended_at=None, output=None,
        input_digest=wait_id, due_at=row.expires_at,
    )  # fmt: skip
    return WaitOpened(row, of_call)


def answered(wait_id: str = "w", answer: str = '"yes"', **fields: Any) -> WaitAnswered:
    return WaitAnswered(wait_id, WaitStatus.ANSWERED, START + 5, answer=answer, by="ada", via="python")._replace(
        **fields
    )


def suspended(*wait_ids: str, due_at: int | None = None, children: tuple[str, ...] = ()) -> Suspended:
    return Suspended(wait_ids, children, due_at)


def waits(store: Store) -> dict[str, WaitRow]:
    return {row.wait_id: row for row in store.waits.of("exec")}


# ── one wait ─────────────────────────────────────────────────────────────────────────────────────


def test_s5_1_a_wait_is_read_back_as_it_was_given(store: Store) -> None:
    epoch = start(store)
    asked = opened(
        question="Which?", schema='{"type": "string"}', metadata='{"a": 1}', expires_at=START + 9, default='"no"'
    )
    assert commit(store, epoch, asked) is None
    assert waits(store) == {"w": asked.row}
    assert store.waits.open(flow=None, since=0, limit=10) == [("exec", asked.row)]
    (recorded,) = store.calls.memo("exec")
    assert (recorded.call_id, recorded.status, recorded.due_at) == ("w", CallStatus.RUNNING, START + 9)


def test_open_waits_are_filtered_and_come_oldest_first(store: Store) -> None:
    for number, name in enumerate(["c", "a", "b"]):
        epoch = start(store, name)
        assert commit(store, epoch, opened(opened_at=START + number), execution_id=name) is None
    assert commit(store, None, answered(), execution_id="a") is None
    found = store.waits.open(flow=None, since=0, limit=10)
    assert [execution_id for execution_id, _ in found] == ["c", "b"]
    assert [id_ for id_, _ in store.waits.open(flow=None, since=START + 1, limit=10)] == ["b"]
    assert [id_ for id_, _ in store.waits.open(flow="flow", since=0, limit=1)] == ["c"]
    assert store.waits.open(flow="other", since=0, limit=10) == []


def test_s5_5_the_first_answer_counts(store: Store) -> None:
    epoch = start(store)
    assert commit(store, epoch, opened()) is None
    assert commit(store, None, answered()) is None
    for late in (answered(answer='"no"', by="bob"), answered(to=WaitStatus.ABORTED), answered(to=WaitStatus.EXPIRED)):
        assert refusal(commit(store, None, late)) == (Conflict, Status.RUNNING)
    found = waits(store)["w"]
    assert (found.status, found.answer, found.by, found.via, found.answered_at) == (
        WaitStatus.ANSWERED, '"yes"', "ada", "python", START + 5,
    )  # fmt: skip
    (recorded,) = store.calls.memo("exec")
    assert (recorded.status, recorded.output) == (CallStatus.COMPLETED, '"yes"')


def test_an_answer_to_what_was_not_asked_is_a_conflict(store: Store) -> None:
    start(store)
    assert refusal(commit(store, None, answered())) == (Conflict, Status.RUNNING)
    assert refusal(commit(store, None, answered(), execution_id="nobody")) == (Conflict, None)


def test_s5_6_an_abort_is_a_failure_that_the_body_sees(store: Store) -> None:
    epoch = start(store)
    failure = Failure("kitaru.errors:KitaruWaitAbortedError", "aborted", FailureOrigin.USER_CODE)
    assert commit(store, epoch, opened()) is None
    assert commit(store, None, answered(to=WaitStatus.ABORTED, answer=None, failure=failure)) is None
    (recorded,) = store.calls.memo("exec")
    assert (recorded.status, recorded.handled, recorded.failure) == (CallStatus.FAILED, True, failure)


def test_s6_4_a_wait_that_was_aborted_can_be_asked_again(store: Store) -> None:
    epoch = start(store)
    assert commit(store, epoch, opened()) is None
    assert commit(store, None, answered(to=WaitStatus.ABORTED)) is None
    assert commit(store, epoch, opened(opened_at=START + 7)) is None
    assert waits(store) == {"w": opened(opened_at=START + 7).row}
    assert commit(store, None, answered()) is None


def test_s5_7_closed_waits_cannot_be_answered_and_an_answer_is_not_closed(store: Store) -> None:
    epoch = start(store)
    assert commit(store, epoch, opened("a"), opened("b")) is None
    assert commit(store, None, answered("a")) is None
    assert commit(store, epoch, WaitsClosed(("a", "b"))) is None
    assert {id_: row.status for id_, row in waits(store).items()} == {"a": WaitStatus.ANSWERED, "b": WaitStatus.CLOSED}
    assert refusal(commit(store, None, answered("b"))) == (Conflict, Status.RUNNING)


@pytest.mark.parametrize("end", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
def test_the_end_of_an_execution_closes_its_waits(store: Store, end: Status) -> None:
    epoch = start(store)
    assert commit(store, epoch, opened()) is None
    assert commit(store, None, StatusChanged(end, START, from_statuses=(Status.RUNNING,))) is None
    assert waits(store)["w"].status is WaitStatus.CLOSED
    assert refusal(commit(store, None, answered())) == (Conflict, end)
    assert store.waits.open(flow=None, since=0, limit=10) == []


# ── suspending ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("end", [Status.COMPLETED, Status.CANCELLED])
def test_an_end_that_shares_the_transaction_of_the_question_closes_it(store: Store, end: Status) -> None:
    epoch = start(store)
    by = epoch if end is Status.COMPLETED else None  # whoever cancels does not own it
    asking, ending = Commit("exec", epoch, [opened()]), Commit("exec", by, [StatusChanged(end, START + 2)])
    assert list(store.commit([asking, ending])) == [None, None]
    assert waits(store)["w"].status is WaitStatus.CLOSED
    assert store.waits.open(flow=None, since=0, limit=5) == []


def test_s5_2_a_suspended_execution_is_woken_by_its_answer_and_stays_with_its_runner(store: Store) -> None:
    epoch = start(store)
    assert commit(store, epoch, opened()) is None
    assert commit(store, epoch, suspended("w")) is None
    assert store.executions.status("exec") is Status.WAITING
    assert refusal(commit(store, epoch, CallStarted(call()))) == (Fenced, Status.WAITING)
    assert store.executions.pending(runner_id="runner", limit=10) == []
    assert commit(store, None, answered()) is None
    assert [row.execution_id for row in store.executions.pending(runner_id="runner", limit=10)] == ["exec"]
    assert commit(store, None, Claimed("runner", Status.PENDING, epoch, 1)) is None


def test_s5_2_a_suspension_is_refused_where_the_answer_has_come(store: Store) -> None:
    epoch = start(store)
    assert commit(store, epoch, opened("a"), opened("b")) is None
    assert commit(store, None, answered("b")) is None
    assert refusal(commit(store, epoch, suspended("a", "b"))) == (Conflict, Status.RUNNING)
    assert commit(store, epoch, suspended("a")) is None


def test_s5_8_a_suspension_is_refused_where_its_time_has_come(store: Store, clock: ManualClock) -> None:
    epoch = start(store)
    assert refusal(commit(store, epoch, suspended(due_at=clock.now()))) == (Conflict, Status.RUNNING)
    assert commit(store, epoch, suspended(due_at=clock.now() + 1)) is None


@pytest.mark.parametrize("of_child", Status)
def test_s1_10_a_suspension_is_refused_where_the_child_does_not_wait(store: Store, of_child: Status) -> None:
    epoch = start(store)
    create(store, execution("child", parent_id="exec", status=of_child))
    answer = commit(store, epoch, suspended(children=("child",)))
    assert (answer is None) == (of_child is Status.WAITING)


@pytest.mark.parametrize("end", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
def test_s1_10_the_end_of_a_child_wakes_its_parent(store: Store, end: Status) -> None:
    epoch = start(store)
    create(store, execution("child", parent_id="exec", status=Status.WAITING, epoch=1, runner_id="runner"))
    assert commit(store, epoch, suspended(children=("child",))) is None
    if end is not Status.CANCELLED:
        assert commit(store, None, Claimed("runner", Status.WAITING, 1, 1), execution_id="child") is None
        assert store.executions.status("exec") is Status.WAITING
    before = (Status.RUNNING, Status.WAITING)
    assert commit(store, None, StatusChanged(end, START, from_statuses=before), execution_id="child") is None
    assert store.executions.status("exec") is Status.PENDING


def test_s5_8_the_first_of_all_timers_is_told(store: Store, clock: ManualClock) -> None:
    def first(project: str = "project", stack: str = "local") -> int | None:
        return store.executions.next_due(project=project, stack=stack)

    assert first() is None
    for execution_id, seconds in (("later", 30), ("sooner", 20), ("never", None)):
        epoch = start(store, execution_id)
        due_at = None if seconds is None else clock.now() + seconds * SECOND
        assert commit(store, epoch, suspended(due_at=due_at), execution_id=execution_id) is None
    assert first() == START + 20 * SECOND
    assert first(project="another") is first(stack="another") is None
    moved = StatusChanged(Status.CANCELLED, clock.now(), from_statuses=(Status.WAITING,))
    assert commit(store, None, moved, execution_id="sooner") is None
    assert first() == START + 30 * SECOND


def test_s5_8_what_is_due_is_found_by_its_runner_and_by_others_once_that_is_gone(
    store: Store, clock: ManualClock
) -> None:
    epoch = start(store)
    store.runners.register(runner("other"), lease_seconds=1000)
    assert commit(store, epoch, suspended(due_at=clock.now() + 30 * SECOND)) is None

    def due(runner_id: str) -> list[str]:
        rows = store.executions.due(runner_id=runner_id, project="project", stack="local", limit=10)
        return [row.execution_id for row in rows]

    def is_orphan() -> bool:
        return store.executions.is_orphan("exec")

    assert due("runner") == due("other") == []
    clock.pass_(30)
    assert (due("runner"), due("other"), is_orphan()) == (["exec"], [], False)
    clock.pass_(60)  # the lease of the runner runs out
    assert (due("other"), is_orphan()) == (["exec"], True)
    assert store.executions.due(runner_id="other", project="another", stack="local", limit=10) == []
    assert commit(store, None, Claimed("other", Status.WAITING, epoch, 1)) is None
    assert (due("other"), is_orphan()) == ([], False)


def test_s6_2_an_execution_that_was_claimed_meanwhile_cannot_be_suspended(store: Store, clock: ManualClock) -> None:
    epoch = start(store)
    assert commit(store, epoch, opened()) is None
    clock.pass_(61)
    store.runners.register(runner("other"), lease_seconds=60)
    assert commit(store, None, Claimed("other", Status.RUNNING, epoch, 1)) is None
    assert isinstance(commit(store, epoch, suspended("w")), Fenced)
    assert store.executions.status("exec") is Status.RUNNING


# ── every order ──────────────────────────────────────────────────────────────────────────────────


class Owner:
    """What a runner does with a body that asks one question, step by step.

    It asks, looks for the answer, suspends where there was none, and then looks, again and again, for what
    it may claim. Between any two of these another one may come. It is what the engine does, without its threads.
    """

    def __init__(self, store: Store, runner_id: str) -> None:
        self.store = store
        self.runner_id = runner_id
        self.epoch: int | None = None
        self.looked = False
        self.done = False

    def _write(self, *mutations: Mutation) -> Refusal | None:
        answer = commit(self.store, self.epoch, *mutations)
        if isinstance(answer, Fenced):
            self.epoch = None
        return answer

    def step(self) -> None:
        if self.epoch is None:
            self._claim()
        elif "w" not in waits(self.store):
            self._write(opened())
        elif self.looked:
            self.looked = False
            if self._write(suspended("w")) is None:
                self.epoch = None
        elif waits(self.store)["w"].status is WaitStatus.OPEN:
            self.looked = True
        else:
            answer = waits(self.store)["w"].answer
            self.done |= self._write(StatusChanged(Status.COMPLETED, START, result=answer)) is None
            self.epoch = None

    def _claim(self) -> None:
        row = self.store.executions.get("exec")
        if row is None or row.status is not Status.PENDING:
            return
        if commit(self.store, None, Claimed(self.runner_id, row.status, row.epoch, 1)) is None:
            self.epoch = row.epoch + 1


def schedules(owner: int, other: int, answers: int) -> Iterator[str]:
    """All orders of so many steps of the owner (O), of a second runner (S) and of answers (A)."""
    total = owner + other + answers
    for of_answers in combinations(range(total), answers):
        rest = [place for place in range(total) if place not in of_answers]
        for of_other in combinations(rest, other):
            yield "".join("A" if n in of_answers else "S" if n in of_other else "O" for n in range(total))


def test_s5_2_in_every_order_of_asking_answering_suspending_and_claiming_the_answer_arrives(store: Store) -> None:
    for order in (*schedules(5, 2, 1), *schedules(4, 1, 2)):
        _play(store, order)
        store.executions.delete("exec")


def _play(store: Store, order: str) -> None:
    for runner_id in ("owner", "second"):
        store.runners.register(runner(runner_id), lease_seconds=60)
    create(store, execution(runner_id="owner"))
    owner, second = Owner(store, "owner"), Owner(store, "second")
    given: list[str] = []
    unanswered = order.count("A")

    def answer_it() -> None:
        nonlocal unanswered
        text = f'"{unanswered}"'
        if commit(store, None, answered(answer=text)) is None:
            given.append(text)
        elif "w" not in waits(store):
            return  # not asked yet: whoever answers tries again
        unanswered -= 1

    for step in order:
        {"O": owner.step, "S": second.step, "A": answer_it}[step]()
    for _ in range(20):  # then everybody goes on until nothing is left to do
        answer_it()
        owner.step()
        second.step()
    row = store.executions.get("exec")
    assert row is not None
    assert row.status is Status.COMPLETED, order
    assert [row.result] == given, order  # the one answer that was accepted is the one that the body got
    assert owner.done != second.done, order


# ── answers that were none ───────────────────────────────────────────────────────────────────────


def test_s5_1_an_answer_that_the_body_refuses_opens_the_wait_again(store: Store) -> None:
    epoch = start(store)
    assert commit(store, epoch, opened(answer_type="module:Type")) is None
    refused = AnswerRefused("w", START + 7, "odd")
    assert refusal(commit(store, epoch, refused)) == (Conflict, Status.RUNNING)
    assert commit(store, None, answered()) is None
    assert commit(store, epoch, refused) is None
    wait = waits(store)["w"]
    assert wait == opened(answer_type="module:Type").row
    (recorded,) = store.calls.memo("exec")
    assert (recorded.status, recorded.output) == (CallStatus.RUNNING, None)
    (event,) = [one for one in store.events.after("exec", 0, limit=100) if one.kind is EventKind.ANSWER_REFUSED]
    assert (event.call_id, event.at, event.detail) == ("w", START + 7, '{"message": "odd"}')
    assert refusal(commit(store, epoch, refused)) == (Conflict, Status.RUNNING)
    assert commit(store, None, answered(answer='"now"')) is None
    assert waits(store)["w"].answer == '"now"'


@pytest.mark.parametrize("to", [WaitStatus.ABORTED, WaitStatus.EXPIRED])
def test_s5_1_only_an_answer_can_be_refused(store: Store, to: WaitStatus) -> None:
    epoch = start(store)
    assert commit(store, epoch, opened()) is None
    assert commit(store, None, answered(to=to)) is None
    assert refusal(commit(store, epoch, AnswerRefused("w", START, "odd"))) == (Conflict, Status.RUNNING)
    assert waits(store)["w"].status is to


def test_s5_1_only_the_owner_refuses(store: Store) -> None:
    epoch = start(store)
    assert commit(store, epoch, opened()) is None
    assert commit(store, None, answered()) is None
    assert isinstance(commit(store, epoch + 1, AnswerRefused("w", START, "odd")), Fenced)
    assert "without an epoch" in str(commit(store, None, AnswerRefused("w", START, "odd")))
