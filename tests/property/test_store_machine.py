"""Several runners at one store, in any order: one owner per epoch, nothing lost, nothing left lying (S6.1, S6.2).

Hypothesis makes the orders: start, claim, heartbeat, lose a lease, commit as the owner or as a zombie of an
earlier epoch, wait, answer, suspend, cancel, crash, retire, take, hand back, finish, retry, delete. The store has to
answer each commit as the model does, and to hold what the model holds. ``HYPOTHESIS_PROFILE=thorough`` tries
more and longer ones.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from kitaru.core.event import EventKind
from kitaru.core.mutations import (
    AttemptFailed,
    CallRecorded,
    Claimed,
    Commit,
    ExecutionCreated,
    Mutation,
    Refusal,
    StatusChanged,
    Suspended,
    WaitAnswered,
    WaitOpened,
)
from kitaru.core.rows import AttemptRow, WaitRow
from kitaru.core.states import TRANSITIONS, CallKind, CallStatus, Status, WaitStatus
from tests.contract.stores import BACKENDS, SECOND, call, execution, runner
from tests.postgres import needs_postgres
from tests.property.machine_stores import Stores
from tests.property.store_model import Model, Runner

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
LEASE = 15
LIMIT = 1000
HERE = {"project": "project", "stack": "local"}
UNFINISHED = (Status.PENDING, Status.RUNNING, Status.WAITING)


def _told(refusal: Refusal | None) -> tuple[Any, Any] | None:
    return None if refusal is None else (type(refusal), getattr(refusal, "status", None))


class Machine(RuleBasedStateMachine):
    backend = "memory"

    def __init__(self) -> None:
        super().__init__()
        self.stores = Stores(self.backend)
        self.store = self.stores.store
        self.model = Model()
        self.model.now = self.stores.clock.now()
        self.runners: list[str] = []  # that ever were, the dead ones too: zombies go on writing
        self.ids: list[str] = []
        self.numbers = 0

    def teardown(self) -> None:
        self.stores.close()

    def _number(self) -> int:
        self.numbers += 1
        return self.numbers

    # ── runners ──────────────────────────────────────────────────────────────────────────────────

    @precondition(lambda self: len(self.runners) < 6)
    @rule()
    def register(self) -> None:
        runner_id = f"runner-{self._number()}"
        self.stores.of(runner_id).runners.register(runner(runner_id), lease_seconds=LEASE)
        self.runners.append(runner_id)
        self.model.runners[runner_id] = Runner(self.model.now + LEASE * SECOND)

    def _a_runner(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(self.runners), "runner")

    @precondition(lambda self: self.runners)
    @rule(data=st.data())
    def heartbeat(self, data: st.DataObject) -> None:
        runner_id = self._a_runner(data)
        known = self.model.runners.get(runner_id)
        if known is not None and known.dead:
            return  # a process that is dead sends none; one that only stood still does
        holds = known is not None and known.lease_until > self.model.now
        assert self.stores.of(runner_id).runners.heartbeat(runner_id, lease_seconds=LEASE) is holds
        if holds and known is not None:
            known.lease_until = self.model.now + LEASE * SECOND

    @rule(seconds=st.sampled_from([1, 5, LEASE - 1, LEASE, LEASE + 1]))
    def time_passes(self, seconds: int) -> None:
        self.stores.clock.pass_(seconds)
        self.model.now += seconds * SECOND

    @precondition(lambda self: any(not one.dead for one in self.model.runners.values()))
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        """A process ends without a word. Where nothing shows that, it is one that has been stopped."""
        runner_id = data.draw(st.sampled_from([one for one, row in self.model.runners.items() if not row.dead]))
        self.stores.kill(runner_id)
        self.model.runners[runner_id].dead = self.stores.shows_death

    @precondition(lambda self: any(not one.dead for one in self.model.runners.values()))
    @rule(data=st.data())
    def retire(self, data: st.DataObject) -> None:
        runner_id = data.draw(st.sampled_from([one for one, row in self.model.runners.items() if not row.dead]))
        self.stores.of(runner_id).runners.retire(runner_id)
        self.model.retire(runner_id)

    @precondition(lambda self: self.runners)
    @rule(data=st.data(), limit=st.integers(1, 3))
    def take(self, data: st.DataObject, limit: int) -> None:
        """A worker takes what is nobody's, the oldest first: nobody else gets the same."""
        runner_id = self._a_runner(data)
        unowned = sorted(self._unowned(), key=self.ids.index)
        store = self.stores.of(runner_id) if self._alive(runner_id) else self.store
        taken = [row.execution_id for row in store.runners.take(runner_id, **HERE, apart_from=(), limit=limit)]
        assert sorted(taken) == sorted(unowned[:limit])
        for execution_id in taken:
            self.model.executions[execution_id].runner_id = runner_id

    def _alive(self, runner_id: str) -> bool:
        known = self.model.runners.get(runner_id)
        return known is not None and not known.dead

    def _unowned(self) -> list[str]:
        pending = [one for one, found in self.model.executions.items() if found.status is Status.PENDING]
        return [one for one in pending if self.model.executions[one].runner_id is None]

    # ── commits ──────────────────────────────────────────────────────────────────────────────────

    def _commit(self, *commits: Commit) -> None:
        """The store answers as the model does, one by one, whatever shares the transaction."""
        expected = [_told(self.model.commit(one)) for one in commits]
        assert [_told(answer) for answer in self.store.commit(commits)] == expected

    @precondition(lambda self: self.runners)
    @rule(data=st.data(), how=st.sampled_from(["running", "pending", "for anybody"]), with_parent=st.booleans())
    def start(self, data: st.DataObject, how: str, with_parent: bool) -> None:
        execution_id = f"exec-{self._number():04}"
        row = execution(execution_id, created_at=self.model.now, parent_id=None)
        if with_parent and self.ids:
            row = row._replace(parent_id=data.draw(st.sampled_from(self.ids), "parent"))
        if how != "for anybody":
            row = row._replace(runner_id=self._a_runner(data))
        if how == "running":
            row = row._replace(status=Status.RUNNING, epoch=1, started_at=self.model.now)
        self.ids.append(execution_id)
        self._commit(Commit(execution_id, None, [ExecutionCreated(row)]))

    @precondition(lambda self: self.ids)
    @rule(data=st.data())
    def claim(self, data: st.DataObject) -> None:
        self._commit(self._without_epoch(data, self._claim))

    @precondition(lambda self: self.ids)
    @rule(data=st.data())
    def steer(self, data: st.DataObject) -> None:
        """From outside: a cancellation, a second start."""
        self._commit(self._without_epoch(data, data.draw(st.sampled_from([self._cancel, self._again]))))

    @precondition(lambda self: any(one.waits for one in self.model.executions.values()))
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        asked = [execution_id for execution_id, one in self.model.executions.items() if one.waits]
        execution_id = data.draw(st.sampled_from(asked), "execution")
        self._commit(Commit(execution_id, None, [self._answer(data, execution_id)]))

    @precondition(lambda self: self.ids)
    @rule(data=st.data())
    def work(self, data: st.DataObject) -> None:
        self._commit(self._of_owner(data, self._call))

    @precondition(lambda self: self.ids)
    @rule(data=st.data())
    def ask_and_suspend(self, data: st.DataObject) -> None:
        self._commit(self._of_owner(data, self._wait))
        self._commit(self._of_owner(data, self._suspend))

    @precondition(lambda self: self.ids)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        self._commit(self._of_owner(data, self._end))

    @precondition(lambda self: self.ids)
    @rule(data=st.data(), count=st.integers(2, 4))
    def several_in_one_transaction(self, data: st.DataObject, count: int) -> None:
        """Of one or several runners, which know only what was true before the first of them."""
        self._commit(*[self._any_commit(data) for _ in range(count)])

    def _any_commit(self, data: st.DataObject) -> Commit:
        without = [self._claim, self._answer, self._cancel, self._again]
        if data.draw(st.booleans(), "from outside"):
            return self._without_epoch(data, data.draw(st.sampled_from(without)))
        return self._of_owner(data, data.draw(st.sampled_from([self._call, self._wait, self._suspend, self._end])))

    def _an_execution(self, data: st.DataObject) -> str:
        unfinished = [one for one in self.ids if self._status(one) in UNFINISHED]
        return data.draw(st.sampled_from(unfinished or self.ids) | st.sampled_from(self.ids), "execution")

    def _without_epoch(self, data: st.DataObject, make: Callable[[st.DataObject, str], Mutation]) -> Commit:
        execution_id = self._an_execution(data)
        return Commit(execution_id, None, [make(data, execution_id)])

    def _of_owner(self, data: st.DataObject, make: Callable[[st.DataObject, str], list[Mutation]]) -> Commit:
        """Of the owner, or of one that was it before: what is at stake is whom the store takes it from."""
        execution_id = self._an_execution(data)
        known = self.model.executions[execution_id]
        epoch = known.epoch + data.draw(st.sampled_from([0, 0, 0, 0, -1, 1]), "of another epoch")
        mutations = make(data, execution_id)
        if make != self._suspend and data.draw(st.booleans(), "together"):
            mutations = [CallRecorded(call(f"step-{self._number()}")), *mutations]
        return Commit(execution_id, max(0, epoch), mutations)

    def _status(self, execution_id: str) -> Status | None:
        found = self.model.executions.get(execution_id)
        return found.status if found else None

    def _again(self, data: st.DataObject, execution_id: str) -> Mutation:
        return ExecutionCreated(execution(execution_id, created_at=self.model.now))

    def _claim(self, data: st.DataObject, execution_id: str) -> Mutation:
        """By what a runner has read: now, or a claim ago."""
        found = self.model.executions.get(execution_id)
        status, epoch = (found.status, found.epoch) if found else (Status.PENDING, 0)
        stale = data.draw(st.sampled_from([0, 0, 0, 1]), "stale")
        status = data.draw(st.sampled_from([status, status, status, *Status]), "from")
        return Claimed(self._a_runner(data), status, max(0, epoch - stale), 1)

    def _a_wait(self, data: st.DataObject, execution_id: str) -> str:
        found = self.model.executions.get(execution_id)
        return data.draw(st.sampled_from(sorted(found.waits)) if found and found.waits else st.just("none"), "wait")

    def _answer(self, data: st.DataObject, execution_id: str) -> Mutation:
        answer = WaitAnswered(self._a_wait(data, execution_id), WaitStatus.ANSWERED, self.model.now)
        return answer._replace(answer=str(self._number()))

    def _cancel(self, data: st.DataObject, execution_id: str) -> Mutation:
        return StatusChanged(
            Status.CANCELLED, self.model.now, from_statuses=UNFINISHED, cascade=data.draw(st.booleans())
        )

    def _call(self, data: st.DataObject, execution_id: str) -> list[Mutation]:
        call_id = f"step-{data.draw(st.integers(1, 4), 'call')}"
        row = call(call_id, output=str(self._number()))
        if data.draw(st.booleans(), "succeeds"):
            return [CallRecorded(row)]
        number = self._number()
        failed = row._replace(status=CallStatus.FAILED, output=None, attempt=number)
        attempt = AttemptRow(call_id, number, CallStatus.FAILED, self.model.now, self.model.now, None)
        return [AttemptFailed(attempt), CallRecorded(failed)]

    def _wait(self, data: st.DataObject, execution_id: str) -> list[Mutation]:
        wait_id = f"wait-{self._number()}"
        asked = call(wait_id, kind=CallKind.WAIT, status=CallStatus.RUNNING, output=None, ended_at=None)
        return [WaitOpened(WaitRow(wait_id, wait_id, WaitStatus.OPEN, self.model.now), asked)]

    def _suspend(self, data: st.DataObject, execution_id: str) -> list[Mutation]:
        """As the engine does: at a wait that is its own, a child, or a timer, so at one of them at least."""
        found = self.model.executions.get(execution_id)
        waits = data.draw(st.sets(st.sampled_from(sorted(found.waits)))) if found and found.waits else set()
        own = sorted(self.model.children(execution_id))
        children = data.draw(st.sets(st.sampled_from(own))) if own else set()
        due = data.draw(st.sampled_from([None, 0, 3]), "due")
        if not waits and not children and due is None:
            due = 3
        due_at = None if due is None else self.model.now + due * SECOND
        return [Suspended(tuple(sorted(waits)), tuple(sorted(children)), due_at)]

    def _end(self, data: st.DataObject, execution_id: str) -> list[Mutation]:
        to = data.draw(st.sampled_from([Status.COMPLETED, Status.FAILED, Status.PENDING]), "to")
        result = str(self._number()) if to is Status.COMPLETED else None
        released = to is Status.PENDING and data.draw(st.booleans(), "released")
        return [StatusChanged(to, self.model.now, result=result, released=released)]

    @precondition(lambda self: self.ids)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        execution_id = data.draw(st.sampled_from(self.ids), "execution")
        refusal = self.model.deletion(execution_id)
        with contextlib.nullcontext() if refusal is None else pytest.raises(refusal):
            self.store.executions.delete(execution_id)
        if refusal is None:
            # Their ids are not used again here: an id that comes back begins with the epochs of the one before.
            for one in (execution_id, *self.model.descendants(execution_id)):
                self.ids.remove(one)
            self.model.delete(execution_id)

    # ── what must hold ───────────────────────────────────────────────────────────────────────────

    @invariant()
    def the_store_holds_what_the_model_holds(self) -> None:
        for execution_id in self.ids:
            expected = self.model.executions[execution_id]
            row = self.store.executions.get(execution_id)
            assert row is not None
            assert (row.status, row.epoch, row.runner_id) == (expected.status, expected.epoch, expected.runner_id)
            assert row.result == expected.result
            calls = {one.call_id: (one.status, one.output) for one in self.store.calls.memo(execution_id)}
            assert calls == expected.calls
            attempts = {(one.call_id, one.number) for one in self.store.calls.attempts(execution_id)}
            assert attempts == expected.attempts
            waits = {one.wait_id: (one.status, one.answer) for one in self.store.waits.of(execution_id)}
            assert waits == expected.waits

    @invariant()
    def every_move_is_in_the_table(self) -> None:
        for execution_id in self.ids:
            moves = self._moves(execution_id)
            assert moves[0] is Status.PENDING
            for before, after in itertools.pairwise(moves):
                assert after in TRANSITIONS[before], f"{execution_id}: {moves}"

    def _moves(self, execution_id: str) -> Sequence[Status]:
        of_kind = {EventKind.CREATED: Status.PENDING} | {
            kind: Status(kind) for kind in EventKind if kind in list(Status)
        }
        events = self.store.events.after(execution_id, 0, limit=LIMIT)
        return [of_kind[event.kind] for event in events if not event.call_id and event.kind in of_kind]

    @invariant()
    def an_open_wait_belongs_to_an_execution_that_can_use_the_answer(self) -> None:
        for execution_id, wait in self.store.waits.open(flow=None, since=0, limit=LIMIT):
            assert self._status(execution_id) in UNFINISHED, f"{wait.wait_id} of {execution_id}"

    @invariant()
    def each_unfinished_execution_is_listed_where_it_goes_on(self) -> None:
        executions = self.store.executions
        orphans = {row.execution_id for row in executions.orphans(**HERE, flow_refs=None, limit=LIMIT)}
        unowned = {row.execution_id for row in executions.unowned(**HERE, flow_refs=["module:flow"], limit=LIMIT)}
        assert unowned == set(self._unowned())
        for execution_id in self.ids:
            found = self.model.executions[execution_id]
            left = found.status in (Status.PENDING, Status.RUNNING) and not self.model.lives(found.runner_id)
            assert (execution_id in orphans) is left
            is_due = found.status is Status.WAITING and found.due_at is not None and found.due_at <= self.model.now
            left_to_wake = is_due and not self.model.lives(found.runner_id)
            assert executions.is_orphan(execution_id) is (left or left_to_wake)
            if found.status is Status.PENDING and found.runner_id is not None:
                assert execution_id in self._pending(found.runner_id)
            elif found.status is Status.WAITING:
                self._check_wake_condition(execution_id)

    def _pending(self, runner_id: str) -> set[str]:
        return {row.execution_id for row in self.store.executions.pending(runner_id=runner_id, limit=LIMIT)}

    def _check_wake_condition(self, execution_id: str) -> None:
        found = self.model.executions[execution_id]
        parked = found.waits_for
        assert parked is not None
        assert all(found.waits[one][0] is WaitStatus.OPEN for one in parked.wait_ids)
        assert all(self._status(one) in UNFINISHED for one in parked.child_ids)
        is_due = found.due_at is not None and found.due_at <= self.model.now
        for runner_id in (*self.runners, "somebody else"):
            due = self.store.executions.due(runner_id=runner_id, **HERE, limit=LIMIT)
            whose = runner_id == found.runner_id or not self.model.lives(found.runner_id)
            assert (execution_id in {row.execution_id for row in due}) is (is_due and whose)


@pytest.mark.parametrize("backend", BACKENDS)
def test_s6_2_runners_in_any_order_share_a_store_as_the_model_says(backend: str) -> None:
    needs_postgres(backend)
    machine = type(f"Machine_{backend}", (Machine,), {"backend": backend})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=400 if THOROUGH else 10 if backend == "postgres" else 40,
            stateful_step_count=100 if THOROUGH else 50,
            phases=[Phase.generate, Phase.shrink] if THOROUGH else [Phase.generate],  # to shrink takes minutes
            suppress_health_check=list(HealthCheck),
        ),
    )
